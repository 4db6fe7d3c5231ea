"""A real gateway before simulated servers learns how long they take, and tells what it expects."""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import Running
from written import system

ENOUGH = 100


def ask(gate: Running, **headers: str) -> str:
    """The id of a request whose stream has been read to its end."""
    body = json.dumps({"model": "base", "prompt": "Hello " * 50, "max_tokens": 10, "stream": True}).encode()
    request = urllib.request.Request(
        f"http://{gate.address}:8080/v1/completions", body, {"content-type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()
        return str(answer.headers["x-request-id"])


def counted(gate: Running, family: str) -> float:
    with urllib.request.urlopen(f"http://{gate.address}:9090/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(family + "{"))


def test_what_it_expects_is_told_and_counts_after_a_hundred_answers(tmp_path: Path) -> None:
    args = ("--sim-speed", "4", "--profile", "predicted-latency", "--metrics", "9090")
    gate = Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args)
    gate.command[-1] = f"{gate.address}:9090"
    with gate:
        first = json.loads(gate.run("explain", ask(gate), "-o", "json").stdout)["decisions"][-1]
        assert {one["predicted"]["sure"] for one in first["candidates"]} == {False}
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(lambda _: ask(gate), range(ENOUGH)))
        number = ask(gate, **{"x-slo-ttft-ms": "60000", "x-llm-d-slo-tpot-ms": "0.001"})
        last = json.loads(gate.run("explain", number, "-o", "json").stdout)["decisions"][-1]
        for one in last["candidates"]:
            told = one["predicted"]
            assert told["sure"]
            assert 5 < told["ttft_ms"] < 1000  # a step of the simulated engine takes 14 ms at this speed
            assert 5 < told["tpot_ms"] < 100
            assert told["ttft_headroom_ms"] == pytest.approx(60_000 - told["ttft_ms"])
            assert told["tpot_headroom_ms"] < 0
        text = gate.run("explain", number).stdout
        assert "predicted" in next(line for line in text.splitlines() if line.startswith("took"))
        assert counted(gate, "headgate_prediction_observations_total") == 2 * (ENOUGH + 2)
        assert counted(gate, "headgate_slo_requests_total") == 2
        assert counted(gate, "headgate_slo_violations_total") == 1
        try:
            ask(gate, **{"x-slo-ttft-ms": "soon"})
            status = 200
        except urllib.error.HTTPError as error:
            status, told = error.code, json.load(error)
        assert status == 400
        assert "x-slo-ttft-ms must be a positive number" in told["error"]["message"]
