"""`headgate up`, as a user types it: real processes, real sockets, a real client."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI
from planes import PLANES, flags
from running import Running
from steady import ask
from written import GATEWAY, adapters, deployment, system, write


@pytest.fixture(scope="module", params=PLANES)
def gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("up")
    args = ("--sim-speed", "0", *flags(request.param))
    with Running(directory, system(directory / "manifests", replicas=2), args=args) as running:
        yield running


@pytest.fixture
def client(gate: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"http://{gate.address}:8080/v1", api_key="none", max_retries=0, timeout=10) as found:
        yield found


def test_the_openai_client_talks_to_the_base_model_and_to_an_adapter(client: OpenAI) -> None:
    for model in ("base", "food-review"):
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
        assert answer.model == model
        assert answer.choices[0].message.content


def test_the_openai_client_streams(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="food-review",
            messages=[{"role": "user", "content": "Hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_models_are_listed_with_their_parents(client: OpenAI) -> None:
    assert {model.id: getattr(model, "parent", None) for model in client.models.list()} == {
        "base": None,
        "food-review": "base",
    }
    assert client.models.retrieve("food-review").id == "food-review"


def test_a_model_that_nobody_serves_is_refused_naming_those_that_are(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "Hello"}])
    assert refused.value.code == "model_not_found"
    assert "Served here: base, food-review." in str(refused.value)


def test_the_table_shows_gateways_routes_pools_endpoints_models_and_adapters(gate: Running) -> None:
    shown = "\n".join(gate.output)
    for heading in ("GATEWAYS", "ROUTES", "POOLS", "ENDPOINTS", "MODELS", "ADAPTERS"):
        assert heading in shown
    assert f"http://{gate.address}:8080" in shown


def test_get_says_what_runs(gate: Running) -> None:
    endpoints = gate.get("endpoints")
    assert [endpoint["state"] for endpoint in endpoints] == ["ready", "ready"]
    assert {row["adapter"] for row in gate.get("adapters")} == {"food-review"}
    assert gate.get("gateways")[0]["url"] == f"http://{gate.address}:8080"
    assert gate.run("get", "routes").stdout.startswith("ROUTE")
    assert json.loads(gate.run("get", "routes", "-o", "json").stdout) == gate.get("routes")
    assert gate.run("get", "-o", "yaml").returncode == 0


def test_explain_tells_who_was_considered_and_why_the_winner_won(gate: Running) -> None:
    request = urllib.request.Request(
        f"http://{gate.address}:8080/v1/completions",
        json.dumps({"model": "food-review", "prompt": "Hi"}).encode(),
        {"content-type": "application/json", "x-request-id": "explain-me"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["x-request-id"] == "explain-me"
    told = json.loads(gate.run("explain", "explain-me", "-o", "json").stdout)
    decision = told["decisions"][0]
    assert len(decision["candidates"]) == 2
    assert decision["chosen"] in {candidate["endpoint"] for candidate in decision["candidates"]}
    for candidate in decision["candidates"]:
        assert set(candidate["scores"]) == {
            "queue-scorer",
            "kv-cache-utilization-scorer",
            "prefix-cache-scorer",
            "lora-affinity-scorer",
        }
        points = sum(score["points"] for score in candidate["scores"].values())
        assert candidate["total"] == pytest.approx(points)
    text = gate.run("explain", "explain-me").stdout
    assert decision["chosen"] in text
    assert "lora-affinity-scorer" in text
    unknown = gate.run("explain", "no-such-request")
    assert unknown.returncode == 1
    assert "no request 'no-such-request'" in unknown.stderr


def test_an_edit_is_in_force_within_two_seconds_and_an_adapter_within_five(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    with Running(tmp_path, manifests, args=("--sim-speed", "0")) as gate:
        write(manifests, adapters=adapters("food-review", "cad-fabricator"))
        began = time.monotonic()
        gate.until(lambda: _good(gate, "cad-fabricator"), 10)
        assert time.monotonic() - began < 5
        write(manifests, gateway=GATEWAY.replace("port: 80", "port: 81"))
        began = time.monotonic()
        gate.until(lambda: _status(f"http://{gate.address}:8081/v1/models") == 200, 10)
        assert time.monotonic() - began < 2
        assert _status(f"http://{gate.address}:8080/v1/models") is None


def test_a_broken_edit_disturbs_nothing_and_is_told_with_its_line(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    with Running(tmp_path, manifests, args=("--sim-speed", "0")) as gate:
        servers = gate.servers()
        write(manifests, gateway=GATEWAY.replace("port: 80", "port: 80000"), pool="selector: [")
        gate.until(lambda: gate.said("gateway.yaml:7:") and gate.said("pool.yaml:"))
        assert _good(gate, "base")
        write(manifests, gateway=GATEWAY)
        assert _good(gate, "base")
        assert gate.servers() == servers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_nothing_left(tmp_path: Path, number: signal.Signals) -> None:
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2)) as gate:
        assert len(gate.servers()) == 2
        began = time.monotonic()
        assert gate.stop(number) == 0
        assert time.monotonic() - began < 10
        assert not gate.left()


def test_what_runs_may_finish_and_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    with Running(tmp_path, system(tmp_path / "manifests")) as gate:

        async def stop_while_it_streams(signals: int) -> str:
            stream = asyncio.create_task(ask(gate.address, 8080, "base", True, "Tell me a story.", tokens=60))
            await asyncio.sleep(0)
            gate_busy = asyncio.get_running_loop().run_in_executor(
                None, gate.until, lambda: any(row["in_flight"] for row in gate.get("endpoints"))
            )
            await gate_busy
            for _ in range(signals):
                gate.process.send_signal(signal.SIGINT)
            return await stream

        assert asyncio.run(stop_while_it_streams(1)) == "good"
        assert gate.process.wait(20) == 0
    with Running(tmp_path, system(tmp_path / "manifests")) as gate:
        began = time.monotonic()
        gate.process.send_signal(signal.SIGINT)
        gate.process.send_signal(signal.SIGINT)
        gate.process.wait(5)
        assert time.monotonic() - began < 3


def test_it_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    running = Running(tmp_path, system(tmp_path / "manifests", replicas=3))
    process = subprocess.Popen(running.command, env=running.environment, stderr=subprocess.PIPE, text=True)
    running.process = process
    assert process.stderr is not None
    for line in process.stderr:
        if "Starting" in line:
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert "Traceback" not in process.stderr.read()
    assert not running.left()


def test_two_gateways_that_want_one_port_get_addresses_of_their_own(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    write(manifests, second=GATEWAY.replace("name: gw", "name: second"))
    with Running(tmp_path, manifests, args=("--sim-speed", "0")) as gate:
        urls = {str(row["gateway"]): str(row["url"]) for row in gate.get("gateways")}
        first, second = urls["default/gw"], urls["default/second"]
        assert first == f"http://{gate.address}:8080"
        assert second != first
        assert _status(f"{second}/v1/models") == 404  # no route is attached to it


def test_what_can_not_be_had_is_said_in_a_line(tmp_path: Path) -> None:
    empty = subprocess.run(
        [sys.executable, "-m", "headgate", "up", str(tmp_path / "nowhere"), "--name", "x"],
        env={"PATH": "/usr/bin:/bin", "HEADGATE_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert empty.returncode == 1
    assert "no such file or directory" in empty.stderr
    assert "Traceback" not in empty.stderr
    manifests = system(tmp_path / "manifests")
    with Running(tmp_path / "one", manifests, args=("--sim-speed", "0")) as gate:
        again = subprocess.run(gate.command, env=gate.environment, capture_output=True, text=True, timeout=20)
        assert again.returncode == 1
        assert "already running" in again.stderr
        other = subprocess.run(
            [*gate.command, "--name", "other"], env=gate.environment, capture_output=True, text=True, timeout=20
        )
        assert other.returncode == 1
        assert f"{gate.address}:8080" in other.stderr
        assert "Traceback" not in other.stderr


def test_check_says_every_mistake_and_exits_with_1(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    command = [sys.executable, "-m", "headgate", "check", str(manifests)]
    good = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (good.returncode, good.stdout) == (0, "")
    write(manifests, vllm=deployment(1).replace("replicas: 1", "replicas: -1"), gateway=GATEWAY.replace("80}", "zero}"))
    bad = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert bad.returncode == 1
    assert "vllm.yaml:5: spec.replicas:" in bad.stdout
    assert "gateway.yaml:7: spec.listeners[0].port:" in bad.stdout


def _good(gate: Running, model: str) -> bool:
    return asyncio.run(ask(gate.address, 8080, model, False, "Hello")) == "good"


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
