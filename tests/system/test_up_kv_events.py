"""Pools that go by KV events: real sockets, simulated servers, `headgate up`."""

import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import outside
from running import Running
from written import GATEWAY, POOL, ROUTE, write

CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: precise-prefix-cache-producer
  parameters: {kvEventsConfig: {podDiscoveryConfig: PODS}}
- type: prefix-cache-scorer
  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}
- type: active-request-scorer
schedulingProfiles:
- name: precise
  plugins: [{pluginRef: prefix-cache-scorer, weight: 3}, {pluginRef: active-request-scorer}]
"""
REPLAY = "{replaySocketPort: 5558}"
_EARLY = "what was sent: no event yet"
EVENTS = {
    "enable_kv_cache_events": True,
    "publisher": "zmq",
    "topic": "kv@pod@base",
    "endpoint": "tcp://*:5557",
    "replay_endpoint": "tcp://*:5558",
}
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: vllm}
spec:
  replicas: 2
  selector: {matchLabels: {app: vllm}}
  template:
    metadata: {labels: {app: vllm}}
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.32.0
        command: [python3, -m, vllm.entrypoints.openai.api_server]
        args: [--model, base, --port, "8000", --max-model-len, "2048", --num-gpu-blocks-override, "200",
               --kv-events-config, 'EVENTS']
        env: [{name: VLLM_SERVER_DEV_MODE, value: "1"}]
        ports: [{name: http, containerPort: 8000}]
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
"""
PROMPT = "All of this is known. " * 200  # 4.4 KB, 70 blocks


def config(pods: str) -> str:
    """`pods` is the podDiscoveryConfig."""
    return CONFIG.replace("PODS", pods)


def post(where: str, path: str, body: dict[str, object]) -> str:
    request = urllib.request.Request(
        f"http://{where}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["x-request-id"] or ""


def said(text: str) -> dict[str, object]:
    return {"model": "base", "messages": [{"role": "user", "content": text}], "max_tokens": 1}


class Gate(outside.Gate):
    """`headgate up` of two simulated servers."""

    def __init__(self, state: Path, events: dict[str, object], config: str, workers: str = "1") -> None:
        directory = state / "manifests"
        pods = DEPLOYMENT.replace("EVENTS", json.dumps(events))
        write(directory, gateway=GATEWAY, route=ROUTE, pool=POOL, vllm=pods, picker=config)
        Running.__init__(self, state, directory, args=("--sim-speed", "0", "--workers", workers))

    def ask(self, text: str) -> dict[str, Any]:
        """The decision of a request that is made now; its candidates by address."""
        number = post(f"{self.address}:8080", "/v1/chat/completions", said(text))
        told: dict[str, Any] = json.loads(self.admin(f"/explain/{number}"))["decisions"][-1]
        told["candidates"] = {one["address"]: one for one in told["candidates"]}
        return told

    def known_by(self) -> set[object]:
        """What the endpoints' prefixes are known by."""
        return {row["prefix"] for row in json.loads(self.admin("/get/endpoints"))}


def share(told: dict[str, Any], address: str) -> float:
    """Of a decision, the prefix score of an endpoint."""
    found: float = told["candidates"][address]["scores"]["prefix-cache-scorer"]["score"]
    return found


def fill(address: str, count: int) -> None:
    """The cache of one server, past the gateway."""
    for number in range(count):
        post(address, "/v1/chat/completions", said(f"{number} something else. " * 200))


def test_a_request_does_not_follow_a_prefix_that_was_evicted(tmp_path: Path) -> None:
    with Gate(tmp_path, EVENTS, config(REPLAY)) as gate:
        gate.until(lambda: gate.known_by() == {"KV events"})
        first = gate.ask(PROMPT)["address"]
        # Until what it holds is known by its events, and nothing is taken on trust any more.
        gate.until(lambda: gate.metrics()["headgate_learned_prompts_total"] == 1)
        gate.until(lambda: gate.metrics()["headgate_prefixes_on_trust"] == 0)
        for _ in range(5):
            told = gate.ask(PROMPT)
            assert told["address"] == first
            assert share(told, first) > 0.9
            assert {one["prefix"] for one in told["candidates"].values()} == {"by KV events"}
        heard = gate.metrics()["headgate_endpoint_kv_events_total"]
        fill(first, 5)
        gate.until(lambda: gate.metrics()["headgate_endpoint_kv_events_total"] > heard + 5)
        told = gate.ask(PROMPT)
        assert share(told, first) < 0.1
        assert told["tied"] == 2
        number = json.loads(gate.admin("/requests"))[0]["id"]
        assert "prefixes  by KV events: default/" in gate.run("explain", number).stdout


def test_what_was_sent_past_the_gateway_is_found(tmp_path: Path) -> None:
    with Gate(tmp_path, EVENTS, config(REPLAY)) as gate:
        gate.until(lambda: gate.known_by() == {"KV events"})
        first = gate.ask(PROMPT)["address"]  # so its blocks are learned
        other = next(row["address"] for row in gate.get("endpoints") if row["address"] != first)
        assert isinstance(other, str)
        gate.until(lambda: gate.metrics()["headgate_prefixes_on_trust"] == 0)
        post(other, "/v1/chat/completions", said(PROMPT))
        post(first, "/reset_prefix_cache", {})
        gate.until(lambda: gate.metrics()["headgate_endpoint_kv_events_total"] >= 3)
        told = gate.ask(PROMPT)
        assert told["address"] == other
        assert share(told, first) == 0.0
        assert share(told, other) > 0.9


def test_without_events_it_goes_by_what_was_sent_and_says_so(tmp_path: Path) -> None:
    with Gate(tmp_path, {"enable_kv_cache_events": False}, config("{}")) as gate:
        first = gate.ask(PROMPT)["address"]
        told = gate.ask(PROMPT)
        assert told["address"] == first
        assert share(told, first) > 0.9
        assert told["candidates"][first]["prefix"] == "by what was sent: no connection"
        assert gate.known_by() == {"what was sent: no connection"}


def test_a_server_that_restarts_is_followed_anew(tmp_path: Path) -> None:
    with Gate(tmp_path, EVENTS, config("{}")) as gate:
        gate.until(lambda: gate.known_by() == {"what was sent: no event yet"})
        first = gate.ask(PROMPT)["address"]
        gate.until(lambda: "KV events" in gate.known_by())
        os.kill(gate.servers()[first.partition(":")[0]], signal.SIGKILL)
        gate.until(lambda: gate.known_by() == {_EARLY} and gate.metrics()["headgate_endpoint_ready"] == 2, 30)
        told = gate.ask(PROMPT)
        assert share(told, first) == 0.0


def test_several_workers_go_by_what_was_sent_and_say_so(tmp_path: Path) -> None:
    with Gate(tmp_path, EVENTS, config(REPLAY), workers="2") as gate:
        gate.until(lambda: gate.known_by() == {"what was sent: that takes --workers 1"})
        assert gate.said("Pool default/pool is to go by KV events, but goes by what was sent where: that takes")
        assert gate.ask(PROMPT)["chosen"]
