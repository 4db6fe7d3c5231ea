"""`headgate gateway --workers 2`: one gateway to everybody, also when one of its processes is killed."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from outside import Connection, Gate, Servers, manifests, servers, worker_of
from running import ROOT
from written import GATEWAY, ROUTE, ROUTE_EDITED, write

_PROMISED = """\
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: promised}
spec: {modelName: promised, poolRef: {name: pool}, targetModels: [{name: late, weight: 1}]}
"""
_TWO_PORTS = GATEWAY + "  - {name: second, protocol: HTTP, port: 81}\n"


@pytest.fixture
def behind() -> Iterator[Servers]:
    with servers() as found:
        yield found


@pytest.fixture
def gate(tmp_path: Path, behind: Servers) -> Iterator[Gate]:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind, model=_PROMISED), 2) as found:
        yield found


async def _both(gate: Gate, begin: Callable[[Connection], Awaitable[str]], least: int) -> dict[str, list[Connection]]:
    """Connections on which something has begun, by worker: at least so many at each of two."""
    found: dict[str, list[Connection]] = {}
    deadline = time.monotonic() + 10
    while len(found) < 2 or min(map(len, found.values())) < least:
        assert time.monotonic() < deadline, "the kernel gives all connections to one worker"
        connection = await Connection(gate.address).open()
        found.setdefault(worker_of(await begin(connection)), []).append(connection)
    return found


async def _until(condition: Callable[[], object], patience: float = 5.0) -> float:
    """How long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience, "it never came to that"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def _is_let_in(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


async def _asked(connection: Connection) -> str:
    status, headers, _ = await connection.ask()
    assert status == 200
    return headers["x-request-id"]


async def _fresh(gate: Gate) -> str:
    """The id of a request on a connection of its own."""
    return await _asked(await Connection(gate.address).open())


def _listens(address: str) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex((address, 8080)) == 0


def _in_flight(gate: Gate) -> int:
    return int(gate.metrics()["headgate_endpoint_in_flight"])


def test_each_worker_sees_what_all_of_them_have_in_flight(gate: Gate, behind: Servers) -> None:
    async def story() -> None:
        streams = await _both(gate, Connection.stream, 3)
        count = sum(map(len, streams.values()))
        assert _in_flight(gate) == count
        assert sum(int(str(row["in_flight"])) for row in json.loads(gate.admin("/get/endpoints"))) == count
        # Each worker's next choice knows of all of them.
        for connections in (await _both(gate, _asked, 1)).values():
            status, headers, _ = await connections[0].ask()
            assert status == 200
            told = json.loads(gate.admin(f"/explain/{headers['x-request-id']}"))
            seen = {one["endpoint"]: one["in_flight"] for one in told["decisions"][0]["candidates"]}
            assert seen == {f"default/pod-{n}-rank-0": behind.streams[n] for n in range(2)}
        # Both sent to the endpoint with the fewest in flight, so they share them out as one process would.
        assert abs(behind.streams[0] - behind.streams[1]) <= 1
        behind.release()
        assert all([await one.whole() for connections in streams.values() for one in connections])
        await _until(lambda: _in_flight(gate) == 0)

    asyncio.run(story())


def test_a_worker_that_is_killed_loses_its_own_streams_and_is_replaced(gate: Gate, behind: Servers) -> None:
    async def story() -> None:
        streams = await _both(gate, Connection.stream, 2)
        before = gate.workers()
        victim = sorted(before)[0]
        for _ in range(10):
            await _fresh(gate)
        assert gate.metrics()["headgate_requests_total"] == 10
        os.kill(victim, signal.SIGKILL)
        # Connections that come while nobody serves its socket wait for the one that will.
        answers = await asyncio.gather(*(_fresh(gate) for _ in range(30)))
        assert len({worker_of(answer) for answer in answers}) == 2
        assert await _until(lambda: len(gate.workers()) == 2 and victim not in gate.workers()) < 1.0
        dead = [name for name, group in streams.items() if await group[0].cut()]
        assert len(dead) == 1
        assert all([await one.cut() for one in streams[dead[0]]])
        survivors = [one for name, group in streams.items() if name != dead[0] for one in group]
        await _until(lambda: _in_flight(gate) == len(survivors))
        behind.release()
        assert all([await one.whole() for one in survivors])
        await _until(lambda: _in_flight(gate) == 0)
        metrics = gate.metrics()
        assert metrics["headgate_requests_total"] == 40 + len(survivors)  # the dead one's are not forgotten
        assert metrics["headgate_worker_replacements_total"] == 1
        assert metrics["headgate_workers"] == 2

    asyncio.run(story())
    assert sum("has ended; another one takes its place" in line for line in gate.lines) == 1


def test_a_fork_server_that_is_killed_is_missed_by_nobody(gate: Gate) -> None:
    async def story() -> None:
        worker, server = next(iter(gate.workers().items()))
        os.kill(server, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        await _until(lambda: gate.metrics()["headgate_worker_replacements_total"] == 1)
        await _both(gate, _asked, 5)

    asyncio.run(story())


def test_edits_reach_all_workers_and_no_request_fails(gate: Gate, tmp_path: Path) -> None:
    failed: Counter[str] = Counter()
    seen: dict[int, dict[str, set[bool]]] = {8080: {}, 8081: {}}  # port → worker → whether the edit was in force
    ports = [8080]
    rounds = sent = 0

    async def one(port: int) -> None:
        try:
            connection = await Connection(gate.address, port).open()
            status, headers, _ = await asyncio.wait_for(connection.ask(), 10)
            connection.close()
        except (OSError, EOFError, TimeoutError) as error:
            failed[f"{port}: {error!r}"] += 1
            return
        if status != 200:
            failed[f"{port}: {status}"] += 1
        seen[port].setdefault(worker_of(headers["x-request-id"]), set()).add("x-edited" in headers)

    async def load(stop: asyncio.Event) -> None:
        nonlocal rounds, sent
        while not stop.is_set():
            asked = [one(port) for port in ports for _ in range(5)]
            sent += len(asked)
            await asyncio.gather(*asked)
            rounds += 1
            await asyncio.sleep(0.01)

    def everywhere(port: int, edited: bool) -> bool:
        return len(seen[port]) == 2 and all(edited in states for states in seen[port].values())

    async def story() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(load(stop))
        await _until(lambda: everywhere(8080, False))
        write(tmp_path / "manifests", route=ROUTE_EDITED)
        await _until(lambda: everywhere(8080, True))
        write(tmp_path / "manifests", gateway=_TWO_PORTS)
        await _until(lambda: gate.admin("/get/gateways").count(b"Programmed") == 2)
        ports.append(8081)
        await _until(lambda: everywhere(8081, True))
        ports.remove(8081)
        began = rounds
        await _until(lambda: rounds > began + 1)  # what is under way there may finish
        write(tmp_path / "manifests", gateway=GATEWAY, route=ROUTE)
        await _until(lambda: gate.admin("/get/gateways").count(b"Programmed") == 1)
        await _until(lambda: not _is_let_in(gate.address, 8081))  # each worker lets go of its own socket
        for states in seen[8080].values():
            states.clear()
        await _until(lambda: everywhere(8080, False))
        stop.set()
        await running

    asyncio.run(story())
    assert not failed
    assert sent > 100


def test_what_a_worker_found_out_under_one_plan_does_not_outlive_it(
    gate: Gate, behind: Servers, tmp_path: Path
) -> None:
    async def saw(connection: Connection) -> str:
        status, _, body = await connection.ask(model="promised")
        assert status == 200
        return str(json.loads(body)["saw"])

    async def story() -> None:
        behind.models.append("late")
        workers = [group[0] for group in (await _both(gate, _asked, 1)).values()]
        for connection in workers:
            assert [await saw(connection) for _ in range(3)] == ["<late>"] * 3
        write(tmp_path / "manifests", model=_PROMISED.replace("name: late", "name: base"))
        await _until(lambda: gate.said("The change is in force"))
        for connection in workers:
            assert await saw(connection) == "<base>"

    asyncio.run(story())


def test_uneven_shares_of_connections_turn_nobody_away(tmp_path: Path, behind: Servers) -> None:
    # By files each worker may have 172. The kernel gives one of them more than half of 200, sooner or later far more.
    gate = Gate(tmp_path, manifests(tmp_path / "manifests", behind, model=_PROMISED), 2)
    gate.command = ["sh", "-c", 'ulimit -n 600; exec "$@"', "sh", *gate.command]

    async def story() -> None:
        connections = [await Connection(gate.address).open() for _ in range(200)]
        assert all([await _asked(one) for one in connections])

    with gate:
        asyncio.run(story())


def test_what_is_told_is_told_of_all_workers(gate: Gate, tmp_path: Path) -> None:
    async def story() -> set[str]:
        connections = [one for group in (await _both(gate, _asked, 5)).values() for one in group]
        return {await _asked(one) for one in connections}

    ids = asyncio.run(story())
    metrics = gate.metrics()
    told = json.loads(gate.admin("/requests"))
    assert metrics["headgate_requests_total"] == metrics["headgate_request_duration_seconds_count"] == 2 * len(ids)
    assert ids < {one["id"] for one in told}
    assert [one["time"] for one in told] == sorted((one["time"] for one in told), reverse=True)
    for request_id in ids:
        assert b"chosen    default/pod-" in gate.admin(f"/explain/{request_id}?text")
    unknown = gate.run("explain", "nobody")
    assert f"no request 'nobody' among the last {2 * len(ids)}" in unknown.stderr
    assert len(gate.get("endpoints")) == 2
    documented = "".join((ROOT / "docs" / name).read_text() for name in ("metrics.md", "workers.md"))
    assert [name for name in metrics if f"`{re.sub('_(bucket|sum|count)$', '', name)}`" not in documented] == []
    # Three processes: the controller, and two that serve.
    controller = int(Path(f"/proc/{gate.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert metrics["process_resident_memory_bytes"] > 2 * controller
    gate.until(lambda: len(gate.output) == 2 * len(ids))
    assert ids < {json.loads(line)["id"] for line in gate.output}


def test_requests_that_wait_at_any_worker_go_when_the_pool_can_serve_them(gate: Gate, behind: Servers) -> None:
    async def story() -> None:
        waiting = [one for group in (await _both(gate, _asked, 3)).values() for one in group]
        for connection in waiting:
            connection.send(model="promised")
        await _until(lambda: gate.metrics()["headgate_waiting_requests"] == len(waiting))
        behind.models.append("late")
        began = time.monotonic()
        for connection in waiting:
            status, _, body = await asyncio.wait_for(connection.answer(), 5)
            assert (status, json.loads(body)["model"]) == (200, "promised")
        assert time.monotonic() - began < 2
        assert gate.metrics()["headgate_waiting_requests"] == 0

    asyncio.run(story())


def test_a_worker_that_hangs_holds_up_nobody_else(gate: Gate, tmp_path: Path) -> None:
    async def story() -> None:
        workers = await _both(gate, _asked, 2)
        hung = sorted(gate.workers())[0]
        before = gate.metrics()["headgate_requests_total"]
        os.kill(hung, signal.SIGSTOP)
        try:
            write(tmp_path / "manifests", route=ROUTE_EDITED)
            alive = await _edited(workers)
            assert len(alive) == 1
            assert gate.metrics()["headgate_requests_total"] > before  # with what the hung one told before
        finally:
            os.kill(hung, signal.SIGCONT)
        await _until(lambda: gate.metrics()["headgate_workers"] == 2)
        for group in workers.values():
            late = group[0].answer() if group[0] in asked else group[0].ask()
            assert (await asyncio.wait_for(late, 5))[0] == 200

    asked: set[Connection] = set()

    async def _edited(workers: dict[str, list[Connection]]) -> set[str]:
        """The workers that do as the edit says; to those that don't answer a request is under way."""
        alive: set[str] = set()
        for name, group in workers.items():
            deadline = time.monotonic() + 5
            while name not in alive and time.monotonic() < deadline:
                group[0].send()
                try:
                    _, headers, _ = await asyncio.wait_for(group[0].answer(), 1)
                except TimeoutError:
                    asked.add(group[0])
                    break
                if "x-edited" in headers:
                    alive.add(name)
        return alive

    asyncio.run(story())


def test_a_stop_lets_streams_finish_and_leaves_no_process(tmp_path: Path, behind: Servers) -> None:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), 2) as gate:

        async def story() -> None:
            streams = await _both(gate, Connection.stream, 1)
            gate.process.send_signal(signal.SIGTERM)
            await _until(lambda: gate.said("Stopping"))
            await _until(lambda: not _listens(gate.address))
            behind.release()
            assert all([await one.whole() for group in streams.values() for one in group])

        processes = [*gate.workers(), *gate.workers().values()]
        asyncio.run(story())
        assert gate.process.wait(5) == 0
        assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def test_workers_whose_controller_was_killed_finish_what_runs_and_end(tmp_path: Path, behind: Servers) -> None:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), 2) as gate:

        async def story() -> None:
            streams = await _both(gate, Connection.stream, 1)
            workers = gate.workers()
            gate.process.kill()
            await _until(lambda: gate.process.poll() is not None)
            behind.release()
            assert all([await one.whole() for group in streams.values() for one in group])
            left = [*workers, *workers.values()]
            await _until(lambda: not [pid for pid in left if Path(f"/proc/{pid}").exists()])

        asyncio.run(story())


def test_it_is_not_ready_before_its_workers_listen(tmp_path: Path, behind: Servers) -> None:
    gate = Gate(tmp_path, manifests(tmp_path / "manifests", behind), 2)
    gate.command[gate.command.index("--metrics") + 1] = f"{gate.address}:9090"
    found: list[bool] = []

    def ask_until_ready() -> None:
        while not found:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://{gate.address}:9090/readyz", timeout=5).status == 200:
                    found.append(_is_let_in(gate.address, 8080))

    asking = threading.Thread(target=ask_until_ready, daemon=True)
    asking.start()
    with gate:
        asking.join(10)
    assert found == [True]


def test_as_many_workers_as_make_no_sense_are_refused(tmp_path: Path) -> None:
    for number, why in (("0", "must be 1 or more"), ("257", "must be 256 or less"), ("two", "is not a number")):
        done = Gate(tmp_path, tmp_path, 1).run("gateway", str(tmp_path), "--workers", number)
        assert done.returncode == 2
        assert why in done.stderr
