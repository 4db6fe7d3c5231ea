"""`headgate sim` as a process: its clock, its signals, its flags, real clients."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from simulators import COMMAND, Running, running

QUESTION = {"messages": [{"role": "user", "content": "What is the meaning of life?"}]}


def ask(simulator: Running, path: str, body: Any = None, timeout: float = 30.0) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(simulator.host, simulator.port, timeout=timeout)
    with contextlib.closing(connection):
        text = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, text, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def metric(simulator: Running, name: str) -> float:
    page = ask(simulator, "/metrics")[1].decode()
    found = re.search(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    assert found, name
    return float(found[1])


def refuses(simulator: Running) -> bool:
    """Whether it takes no new connections."""
    try:
        ask(simulator, "/health")
    except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
        return True
    return False


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_the_openai_client_talks_to_it() -> None:
    flags = ("--model", "llama", "--enable-lora", "--lora-modules", "food-review=org/food", "--speed", "100")
    with running(*flags) as simulator:
        client = openai.OpenAI(base_url=f"http://{simulator.host}:{simulator.port}/v1", api_key="none")
        assert [model.id for model in client.models.list()] == ["llama", "food-review"]
        messages: Any = QUESTION["messages"]
        whole = client.chat.completions.create(model="food-review", messages=messages)
        assert whole.choices[0].finish_reason == "stop"
        stream = client.chat.completions.create(
            model="food-review", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert told == whole.choices[0].message.content
        assert chunks[-1].usage is not None
        assert whole.usage is not None
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
        spoken = client.responses.create(model="llama", input="Hello there")
        assert spoken.output_text
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(model="nobody", messages=messages)
        text = client.completions.create(model="llama", prompt="Once upon a time", max_tokens=5)
        assert text.usage is not None
        assert text.usage.completion_tokens == 5


def test_it_takes_the_time_of_its_card_divided_by_the_speed() -> None:
    with running("--speed", "10") as simulator:
        began = time.monotonic()
        status, body = ask(simulator, "/v1/chat/completions", {**QUESTION, "max_tokens": 40, "ignore_eos": True})
        took = time.monotonic() - began
        assert status == 200
        assert json.loads(body)["usage"]["completion_tokens"] == 40
        # 40 steps of 54 ms, at ten times the speed; an upper bound only against a clock that does not move
        assert 0.2 < took < 2.0
        assert metric(simulator, "vllm:e2e_request_latency_seconds_sum") == pytest.approx(0.22, rel=0.25)
        assert metric(simulator, "vllm:inter_token_latency_seconds_count") == 39


def test_at_speed_zero_the_accounts_are_kept_all_the_same() -> None:
    with running("--speed", "0", "--model", "llama") as simulator:
        long = {"messages": [{"role": "user", "content": "tell me about rivers " * 50}], "max_tokens": 8}
        for _ in range(3):
            assert ask(simulator, "/v1/chat/completions", long)[0] == 200
        assert metric(simulator, "vllm:generation_tokens_total") == 24
        assert metric(simulator, "vllm:prefix_cache_hits_total") > 400
        assert metric(simulator, "vllm:request_success_total") == 0  # the first reason on the page is `stop`
        assert metric(simulator, "vllm:request_prompt_tokens_count") == 3
        assert metric(simulator, "vllm:kv_cache_usage_perc") == 0


def test_the_load_is_seen_while_requests_run_and_wait() -> None:
    flags = ("--speed", "5", "--max-num-seqs", "2", "--model", "llama", "--max-model-len", "1000",
             "--num-gpu-blocks-override", "100")  # fmt: skip
    with running(*flags) as simulator, concurrent.futures.ThreadPoolExecutor(5) as pool:
        body = {**QUESTION, "max_tokens": 100, "ignore_eos": True}
        asked = [pool.submit(ask, simulator, "/v1/chat/completions", body) for _ in range(5)]
        kinds = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        until(lambda: [metric(simulator, kind) for kind in kinds] == [2, 3])
        assert 0 < metric(simulator, "vllm:kv_cache_usage_perc") < 1
        assert all(future.result()[0] == 200 for future in asked)
        assert metric(simulator, "vllm:num_requests_waiting") == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(stream: bool) -> None:
    with running("--speed", "1") as simulator:
        connection = http.client.HTTPConnection(simulator.host, simulator.port, timeout=10)
        body = {**QUESTION, "max_tokens": 5000, "ignore_eos": True, "stream": stream}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        until(lambda: metric(simulator, "vllm:num_requests_running") == 1)
        connection.close()
        until(lambda: metric(simulator, "vllm:num_requests_running") == 0)
        assert metric(simulator, "vllm:kv_cache_usage_perc") == 0


def test_adapters_in_use_are_told() -> None:
    flags = (
        "--speed",
        "2",
        "--enable-lora",
        "--max-loras",
        "2",
        "--lora-modules",
        "a=org/a",
        '{"name":"b","path":"org/b"}',
    )
    with running(*flags) as simulator, concurrent.futures.ThreadPoolExecutor(2) as pool:
        body = {**QUESTION, "max_tokens": 60, "ignore_eos": True}
        asked = [pool.submit(ask, simulator, "/v1/chat/completions", {**body, "model": name}) for name in ("a", "b")]
        busy = re.compile(r'running_lora_adapters="(a,b|b,a)"')
        until(lambda: busy.search(ask(simulator, "/metrics")[1].decode()))
        assert all(future.result()[0] == 200 for future in asked)
        page = ask(simulator, "/metrics")[1].decode()
        series = re.findall(r'running_lora_adapters="([^"]*)".* (\S+)\n', page)
        assert max(series, key=lambda entry: float(entry[1]))[0] == ""


def test_adapters_are_loaded_only_where_updating_is_allowed(tmp_path: Path) -> None:
    call = {"lora_name": "a", "lora_path": str(tmp_path)}
    with running("--enable-lora", "--speed", "0") as simulator:
        assert ask(simulator, "/v1/load_lora_adapter", call) == (404, b'{"detail":"Not Found"}')
    with running("--enable-lora", "--speed", "0", environment={"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}) as simulator:
        assert ask(simulator, "/v1/load_lora_adapter", call)[0] == 200
        assert ask(simulator, "/v1/load_lora_adapter", {"lora_name": "b", "lora_path": "org/b"})[0] == 200
        assert ask(simulator, "/v1/load_lora_adapter", {"lora_name": "c", "lora_path": str(tmp_path / "c")})[0] == 404
        listed = json.loads(ask(simulator, "/v1/models")[1])["data"]
        assert [card["id"] for card in listed][1:] == ["a", "b"]


def test_the_flags_of_the_inference_extensions_simulator_manifest_serve_its_adapter() -> None:
    flags = ("--model", "meta-llama/Llama-3.1-8B-Instruct", "--max-loras", "2", "--speed", "0",
             "--lora-modules", '{"name": "food-review-1"}')  # fmt: skip
    with running(*flags) as simulator:
        listed = json.loads(ask(simulator, "/v1/models")[1])["data"]
        assert [(card["id"], card["root"]) for card in listed][1:] == [("food-review-1", "food-review-1")]
        status, body = ask(simulator, "/v1/chat/completions", {**QUESTION, "model": "food-review-1"})
        assert (status, json.loads(body)["model"]) == (200, "food-review-1")
        assert 'vllm:lora_requests_info{max_lora="2",' in ask(simulator, "/metrics")[1].decode()


def test_sigterm_lets_what_runs_finish_and_takes_nothing_new() -> None:
    with running("--speed", "5") as simulator, concurrent.futures.ThreadPoolExecutor(1) as pool:
        body = {**QUESTION, "max_tokens": 60, "ignore_eos": True, "stream": True}
        asked = pool.submit(ask, simulator, "/v1/chat/completions", body)
        until(lambda: metric(simulator, "vllm:num_requests_running") == 1)
        simulator.process.send_signal(signal.SIGTERM)

        until(lambda: refuses(simulator))
        assert asked.result()[1].endswith(b"data: [DONE]\n\n")
        assert simulator.process.wait(10) == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with running("--speed", "0.01") as simulator, concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, simulator, "/v1/chat/completions", QUESTION)
        until(lambda: metric(simulator, "vllm:num_requests_running") == 1)
        simulator.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(simulator))
        assert simulator.process.poll() is None
        assert simulator.stop() == 1
        assert isinstance(asked.exception(), (ConnectionError, http.client.HTTPException))


def test_unknown_flags_are_named_in_one_warning() -> None:
    with running("--swap-space", "4", "--disable-log-requests", "--model", "llama") as simulator:
        assert simulator.said[0] == (
            "headgate sim: warning: these flags change nothing here: --swap-space, --disable-log-requests"
        )
        assert ask(simulator, "/health") == (200, b"")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max-model-len", "0"], "--max-model-len must be at least 1, got 0"),
        (["--speed", "-1"], "--speed must be 0 (no waiting) or more, got -1"),
        (["--enable-lora", "--lora-modules", "nonsense"], "'nonsense' is neither NAME=PATH nor a JSON object"),
        (["--enable-lora", "--lora-modules", '{"name": 5'], "is neither NAME=PATH nor a JSON object"),
        (["--enable-lora", "--lora-modules", "[1]"], "is neither NAME=PATH nor a JSON object"),
        (["--lora-modules", '{"path": "org/a"}'], "is neither NAME=PATH nor a JSON object with a name"),
        (["--lora-modules", '{"name": ""}'], "is neither NAME=PATH nor a JSON object with a name"),
        (["--lora-modules", '{"name": null}'], "is neither NAME=PATH nor a JSON object with a name"),
        (["--port", "x"], "invalid int value: 'x'"),
        (["--host", "203.0.113.1", "--port", "1"], "can't listen on 203.0.113.1:1"),
    ],
)
def test_flags_that_cannot_be_are_told_in_a_line(flags: list[str], said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", COMMAND, *flags], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_teaches() -> None:
    wide = {**os.environ, "COLUMNS": "120"}
    command = [sys.executable, "-c", COMMAND, "--help"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, env=wide).stdout
    for word in ("--served-model-name", "--max-loras", "--speed", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "examples:",
                 "(implied by --lora-modules)"):  # fmt: skip
        assert word in told


def test_it_listens_only_after_its_startup_delay() -> None:
    began = time.monotonic()
    with running("--startup-delay", "0.5", "--speed", "0") as simulator:
        assert time.monotonic() - began > 0.5
        assert ask(simulator, "/health")[0] == 200
