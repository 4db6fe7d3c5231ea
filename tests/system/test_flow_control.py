"""Requests queue at a full pool, over real sockets: who is urgent hardly waits, and what may be shed is.

HEADGATE_OVERLOAD_S sets how long there are three times as many requests as can be served; the minute of the claim is
`HEADGATE_OVERLOAD_S=60 make test`.
"""

import asyncio
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from outside import Connection, Gate, manifests, servers
from running import Running
from written import GATEWAY, POOL, ROUTE, deployment, write

SECONDS = float(os.environ.get("HEADGATE_OVERLOAD_S", "3"))
TOKENS = 20
AT_ONCE = 4  # requests that run at a server
MIX = ("sheddable", "standard", "critical", "sheddable", "standard", "sheddable")
REASONS = {"rejected-saturated", "rejected-ttl-expired"}

_OBJECTIVE = """\
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceObjective
metadata: {{name: {name}}}
spec: {{priority: {priority}, poolRef: {{name: pool}}}}
"""
OBJECTIVES = {
    name: _OBJECTIVE.format(name=name, priority=priority)
    for name, priority in (("critical", 10), ("standard", 0), ("sheddable", -10))
}
_PICKER = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [{gate}]
plugins:
- type: queue-scorer
- {{type: concurrency-detector, parameters: {{maxConcurrency: {most}}}}}
- {{type: round-robin-fairness-policy}}
flowControl:
  saturationDetector: {{pluginRef: concurrency-detector}}
  defaultPriorityBand: {{fairnessPolicyRef: round-robin-fairness-policy}}
{flow}
"""


def picker(flow: str = "", gate: str = "flowControl", most: int = 1) -> str:
    return _PICKER.format(flow=f"  {flow}" if flow else "", gate=gate, most=most)


class Asked:
    """One request over a connection of its own: how it went, and how long that took."""

    def __init__(self, host: str, objective: str, tokens: int = TOKENS, **headers: str) -> None:
        body = json.dumps({"model": "base", "prompt": "Hello", "max_tokens": tokens, "ignore_eos": True}).encode()
        own = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._request = (
            f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
            f"x-llm-d-inference-objective: {objective}\r\n{own}content-length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._host = host
        self.objective = objective

    async def go(self) -> "Asked":
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(self._host, 8080)
        writer.write(self._request)
        head, _, self.body = (await reader.read(-1)).partition(b"\r\n\r\n")
        writer.close()
        lines = head.decode().split("\r\n")
        self.took = time.monotonic() - began
        self.status = int(lines[0].split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return self


def nobody_waits(gate: Running) -> bool:
    rows = gate.get("queues")
    in_flight = sum(int(str(row["in_flight"])) for row in gate.get("endpoints"))
    return bool(rows) and not in_flight and not any(row["waiting"] for row in rows)


def test_with_three_times_as_many_requests_as_can_be_served_who_is_urgent_hardly_waits(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    vllm = _plain(2, f', --max-num-seqs, "{AT_ONCE}"')
    write(directory, gateway=GATEWAY, route=ROUTE, pool=POOL, vllm=vllm, **OBJECTIVES)
    args = ("--flow-control", "--sim-speed", "5")
    with Running(tmp_path, directory, args=args) as gate:
        alone = min(asyncio.run(_one_by_one(gate.address)))
        rate = 3 * 2 * AT_ONCE / alone
        asked = asyncio.run(_overload(gate.address, rate))
        gate.until(lambda: nobody_waits(gate))
        log = tmp_path / "default" / "access.log"
        gate.until(lambda: len(log.read_text().splitlines()) >= len(asked))
    by: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by[one.objective].append(one)
    statuses = {name: Counter(one.status for one in ones) for name, ones in by.items()}
    assert set(statuses["critical"]) == {200}, statuses
    assert set(statuses["sheddable"]) <= {200, 429}, statuses
    assert statuses["sheddable"][429] > len(by["sheddable"]) / 3, statuses
    shed = [one for one in asked if one.status == 429]
    assert {one.headers["x-llm-d-request-dropped-reason"] for one in shed} <= REASONS
    assert all(1 <= int(one.headers["retry-after"]) <= 60 for one in shed)
    assert all(json.loads(one.body)["error"]["type"] == "rate_limit_error" for one in shed)
    critical = sorted(one.took for one in by["critical"])
    standard = sorted(one.took for one in by["standard"] if one.status == 200)
    # Those that run, and five a server that wait there, are before it; of those in the queue nobody is.
    assert critical[len(critical) * 9 // 10] < 6 * alone, (alone, critical)
    assert critical[len(critical) // 2] < standard[len(standard) // 2], (critical, standard)


async def _one_by_one(host: str) -> list[float]:
    """What a request takes where nobody else is."""
    return [(await Asked(host, "critical").go()).took for _ in range(3)]


async def _overload(host: str, rate: float) -> list[Asked]:
    began, tasks = time.monotonic(), []
    while (now := time.monotonic()) < began + SECONDS:
        objective = MIX[len(tasks) % len(MIX)]
        headers = {"x_llm_d_inference_ttl": "500ms"} if objective == "sheddable" else {}
        tasks.append(asyncio.create_task(Asked(host, objective, **headers).go()))
        await asyncio.sleep(max(0.0, began + len(tasks) / rate - now))
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_waits_goes_in_the_order_of_priorities_and_of_flows_or_hears_at_the_end(
    tmp_path: Path, workers: int
) -> None:
    with servers(1) as behind:
        paths = manifests(tmp_path / "manifests", behind, picker=picker(), **OBJECTIVES)
        with Gate(tmp_path, paths, workers, "--grace", "1") as gate:
            asyncio.run(_in_order(gate, workers))


async def _in_order(gate: Gate, workers: int) -> None:
    def waiting() -> list[tuple[int, str]]:
        rows = json.loads(gate.admin("/get/queues"))
        return [(row["priority"], row["flow"]) for row in rows for _ in range(row["waiting"])]

    first = await Connection(gate.address).open()
    assert await first.stream()
    order: list[str] = []

    async def ask(name: str, objective: str, flow: str) -> None:
        asked = await Asked(gate.address, objective, x_llm_d_inference_fairness_id=flow).go()
        order.append(name if asked.status == 200 else f"{name} {asked.status}")

    tasks = []
    for number, (name, objective, flow) in enumerate(
        (
            ("late", "sheddable", "a"),
            ("a1", "standard", "a"),
            ("a2", "standard", "a"),
            ("b1", "standard", "b"),
            ("urgent", "critical", "a"),
        )
    ):
        tasks.append(asyncio.create_task(ask(name, objective, flow)))
        await _until(lambda number=number: len(waiting()) == number + 1)
    assert sorted(set(waiting())) == [(-10, "a"), (0, "a"), (0, "b"), (10, "a")]
    first.writer.close()  # the stream is over, and with it what the server does
    await asyncio.gather(*tasks)
    assert sorted(order) == ["a1", "a2", "b1", "late", "urgent"]
    if workers == 1:
        assert order == ["urgent", "a1", "b1", "a2", "late"]
    second = await Connection(gate.address).open()
    assert await second.stream()
    last = asyncio.create_task(Asked(gate.address, "standard").go())
    await _until(lambda: len(waiting()) == 1)
    gate.process.terminate()
    told = await last
    assert told.status == 503
    assert told.headers["x-llm-d-request-dropped-reason"] == "rejected-shutting-down"


def test_a_config_that_is_edited_counts_for_who_waits_already(tmp_path: Path) -> None:
    with servers(1) as behind:
        paths = manifests(tmp_path / "manifests", behind, picker=picker(), **OBJECTIVES)
        with Gate(tmp_path, paths, 1) as gate:
            asyncio.run(_edited(gate, paths))


async def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.01)


async def _edited(gate: Gate, paths: Path) -> None:
    first = await Connection(gate.address).open()
    await first.stream()
    tasks = [asyncio.create_task(Asked(gate.address, "standard").go()) for _ in range(3)]
    await _until(lambda: gate.metrics()["headgate_flow_control_queue_size"] == 3)
    write(paths, picker=picker("maxRequests: 2"))
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    (shed,) = done
    assert shed.result().status == 429
    assert shed.result().headers["x-llm-d-request-dropped-reason"] == "evicted-queue-pressure"
    write(paths, picker=picker(gate="flowControl=false"))
    for one in await asyncio.gather(*left):
        assert one.status == 200
    assert gate.metrics()["headgate_flow_control_queue_size"] == 0
    write(paths, picker=picker(most=2))
    await _until(lambda: gate.metrics()["headgate_flow_control_pool_saturation"] == 0.5)
    assert (await Asked(gate.address, "standard").go()).status == 200
    first.writer.close()


def test_what_may_be_shed_is_evicted_where_somebody_urgent_waits(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    config = picker("enableEviction: true")
    write(directory, gateway=GATEWAY, route=ROUTE, pool=POOL, vllm=_plain(), picker=config, **OBJECTIVES)
    with Running(tmp_path, directory) as gate:

        async def drive() -> None:
            evicted = asyncio.create_task(Asked(gate.address, "sheddable", 5000).go())
            await _until(lambda: any(row["in_flight"] for row in gate.get("endpoints")))
            urgent = await Asked(gate.address, "critical").go()
            assert urgent.status == 200
            told = await evicted
            assert told.status == 429
            assert told.headers["x-llm-d-request-dropped-reason"] == "evicted"
            assert int(told.headers["retry-after"]) >= 1

        asyncio.run(drive())
        gate.until(lambda: nobody_waits(gate))


def _plain(replicas: int = 1, more: str = "") -> str:
    """Servers without anything beside them."""
    head, _, rest = deployment(replicas, more).partition("      initContainers:")
    return head + "      containers:" + rest.split("      containers:")[1].split("      volumes:")[0]
