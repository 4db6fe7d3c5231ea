"""`headgate up --engine vllm`: two real vLLM servers behind the gateway, and the `openai` client in front of it."""

import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI
from running import Running
from served import write_adapters, write_system

PATIENCE = 300.0  # seconds: two servers start at once, on two cores that others use too
LONG = 900  # tokens
HELLO: Any = [{"role": "user", "content": "What is the meaning of life?"}]
SCORERS = {"queue-scorer", "kv-cache-utilization-scorer", "prefix-cache-scorer", "lora-affinity-scorer"}


@pytest.fixture(scope="module")
def manifests(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_system(tmp_path_factory.mktemp("gateway") / "manifests", models, "food-review")


@pytest.fixture(scope="module")
def gate(manifests: Path, engine_python: Path) -> Iterator[Running]:
    """Two servers, ready, with their adapter."""
    running = Running(manifests.parent, manifests, args=("--engine", "vllm", "--wait", "60"))
    running.environment["HEADGATE_VLLM_PYTHON"] = str(engine_python)
    running.patience = PATIENCE
    with running:
        running.until(lambda: holders(running, "food-review") == 2, PATIENCE)
        yield running


@pytest.fixture(scope="module")
def client(gate: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"http://{gate.address}:8080/v1", api_key="none", max_retries=0, timeout=120) as found:
        yield found


def holders(gate: Running, adapter: str) -> int:
    """How many endpoints are known to have it."""
    rows = [row for row in gate.get("adapters") if row["adapter"] == adapter]
    return len(str(rows[0]["endpoints"]).split(", ")) if rows else 0


def test_both_servers_are_ready_at_addresses_of_their_own(gate: Running) -> None:
    rows = gate.get("endpoints")
    assert [row["state"] for row in rows] == ["ready", "ready"]
    assert len({row["address"] for row in rows}) == 2
    assert all(str(row["address"]).endswith(":8000") for row in rows)


@pytest.mark.parametrize("model", ["tiny-llama", "food-review", "reviews"])
def test_chat_answers_by_the_name_that_was_asked_for(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO, max_tokens=12)
    assert answer.model == model
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage is not None
    assert 1 <= answer.usage.completion_tokens <= 12
    assert answer.usage.prompt_tokens > 10


@pytest.mark.parametrize("model", ["tiny-llama", "food-review", "reviews"])
def test_completions_answer_by_the_name_that_was_asked_for(client: OpenAI, model: str) -> None:
    answer = client.completions.create(
        model=model, prompt="The soup was", max_tokens=8, extra_body={"ignore_eos": True}
    )
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


@pytest.mark.parametrize("model", ["tiny-llama", "food-review", "reviews"])
def test_chat_streams_with_usage_and_every_chunk_bears_the_name_that_was_asked_for(client: OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=HELLO,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
    )
    assert {chunk.model for chunk in chunks} == {model}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 24


def test_a_stream_whose_client_did_not_ask_for_usage_has_none(client: OpenAI) -> None:
    chunks = list(client.completions.create(model="reviews", prompt="The bread", max_tokens=8, stream=True))
    assert {chunk.model for chunk in chunks} == {"reviews"}
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_models_are_listed_with_their_parents_and_by_the_name_of_the_inference_model(client: OpenAI) -> None:
    listed = {model.id: getattr(model, "parent", None) for model in client.models.list()}
    assert listed == {"tiny-llama": None, "food-review": "tiny-llama", "reviews": "tiny-llama"}
    assert client.models.retrieve("food-review").id == "food-review"


def test_a_model_that_nobody_serves_is_refused_with_the_names_of_those_that_are(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert refused.value.code == "model_not_found"
    assert "food-review" in str(refused.value)


@contextmanager
def streaming(client: OpenAI, model: str, count: int) -> Iterator[None]:
    """So many long streams at once; each must come through to its last token."""
    lengths: list[int] = []

    def ask(number: int) -> None:
        stream = client.completions.create(
            model=model,
            prompt=f"{number} spoons on the table",
            max_tokens=LONG,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
        lengths.extend(chunk.usage.completion_tokens for chunk in stream if chunk.usage)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(PATIENCE)
    assert lengths == [LONG] * count


def test_loads_are_those_of_the_servers_own_metrics(gate: Running, client: OpenAI) -> None:
    busy: dict[str, dict[str, Any]] = {}  # endpoint → how it was when it had work

    def both_had_work() -> bool:
        for row in gate.get("endpoints"):
            if row["running"] and row["adapters"]:
                busy[str(row["endpoint"])] = row
        return len(busy) == 2

    with streaming(client, "food-review", 8):
        gate.until(both_had_work, PATIENCE)
        assert sum(metric(row["address"], "vllm:num_requests_running") for row in busy.values()) > 0
    for row in busy.values():
        assert row["adapters"] == ["food-review"]
        assert 1 <= row["running"] <= 8
        assert 0 < row["kv_usage"] < 0.1

    def idle() -> bool:
        rows = gate.get("endpoints")
        numbers = {row[name] for row in rows for name in ("running", "waiting", "in_flight", "kv_usage")}
        return numbers == {0} and not any(row["adapters"] for row in rows)

    gate.until(idle, 60)


def metric(hostport: str, name: str) -> float:
    with urllib.request.urlopen(f"http://{hostport}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))


def test_a_real_server_gives_the_part_of_its_metrics_that_is_asked_for(gate: Running) -> None:
    name = "vllm:num_requests_running"
    for row in gate.get("endpoints"):
        url = f"http://{row['address']}/metrics/?name%5B%5D={name}&name%5B%5D=nothing"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        assert [line.split(" ")[:3] for line in lines[:2]] == [["#", "HELP", name], ["#", "TYPE", name]]
        assert [line.partition("{")[0] for line in lines[2:]] == [name]


def test_explain_tells_what_the_choice_was_made_of(gate: Running, client: OpenAI) -> None:
    asked = client.chat.completions.with_raw_response.create(model="reviews", messages=HELLO, max_tokens=4)
    told = json.loads(gate.run("explain", asked.headers["x-request-id"], "-o", "json").stdout)
    decision = told["decisions"][0]
    assert {candidate["endpoint"] for candidate in decision["candidates"]} == {
        row["endpoint"] for row in gate.get("endpoints")
    }
    assert all(set(candidate["scores"]) == SCORERS for candidate in decision["candidates"])
    assert decision["chosen"] in gate.run("explain", asked.headers["x-request-id"]).stdout


def test_an_adapter_that_is_added_to_the_config_map_is_loaded_on_both_servers(
    gate: Running, client: OpenAI, manifests: Path, models: Path
) -> None:
    with pytest.raises(NotFoundError):
        client.completions.create(model="travel-notes", prompt="The train", max_tokens=4)
    write_adapters(manifests, models, "food-review", "travel-notes")
    gate.until(lambda: gate.said("The change is in force"))
    answer = client.completions.create(model="travel-notes", prompt="The train", max_tokens=4)
    assert answer.model == "travel-notes"
    gate.until(lambda: holders(gate, "travel-notes") == 2, 60)
    for row in gate.get("endpoints"):
        with urllib.request.urlopen(f"http://{row['address']}/v1/models", timeout=30) as answer:
            assert {model["id"] for model in json.load(answer)["data"]} == {"tiny-llama", "food-review", "travel-notes"}


def test_sigterm_ends_it_and_leaves_nothing_behind(gate: Running, manifests: Path) -> None:
    assert len(of(manifests.parent)) > 4  # each server is several processes
    assert gate.stop(patience=60) == 0
    deadline = time.monotonic() + 10
    while left := of(manifests.parent):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not gate.left()


def of(state: Path) -> dict[int, str]:
    """The processes that work in this directory, whatever they call themselves, other than Headgate itself."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd").startswith(f"{state}/"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return found
