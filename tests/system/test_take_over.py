"""A new version takes over from the one that runs, and no request is lost; nobody else gets its ports."""

import asyncio
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outside import Connection, Gate, Servers, manifests, servers
from written import GATEWAY, write


@pytest.fixture
def behind() -> Iterator[Servers]:
    with servers() as found:
        yield found


def _next(gate: Gate, workers: int, *args: str) -> Gate:
    """A new version of the same instance, at the same address."""
    new = Gate(Path(gate.environment["HEADGATE_STATE"]), Path(gate.command[4]), workers, "--take-over", *args)
    new.command[new.command.index("--address") + 1] = new.address = gate.address
    return new


async def _until(condition: Callable[[], object], patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.01)


class _Load:
    """Requests without a pause: on connections of their own, and on connections that are kept until they are told."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.failed: Counter[str] = Counter()
        self.good = 0
        self.closed = 0  # connections whose last answer said so
        self._stop = asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(*(self._keep() for _ in range(4)), *(self._renew() for _ in range(4)))

    def stop(self) -> None:
        self._stop.set()

    async def _ask(self, connection: Connection) -> bool:
        """Whether the connection goes on."""
        try:
            status, headers, _ = await asyncio.wait_for(connection.ask(), 10)
        except (OSError, EOFError, TimeoutError) as error:
            self.failed[repr(error)] += 1
            return False
        self.good += status == 200
        self.failed[f"{status}"] += status != 200
        return headers.get("connection") != "close"

    async def _open(self) -> Connection | None:
        try:
            return await Connection(self.host).open()
        except OSError as error:
            self.failed[repr(error)] += 1
            return None

    async def _keep(self) -> None:
        connection = await self._open()
        while connection is not None and not self._stop.is_set():
            if not await self._ask(connection):
                self.closed += 1
                connection.close()
                connection = await self._open()
            await asyncio.sleep(0.002)

    async def _renew(self) -> None:
        while not self._stop.is_set():
            connection = await self._open()
            if connection is not None:
                await self._ask(connection)
                connection.close()
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_no_request_is_lost_when_a_new_version_takes_over(
    tmp_path: Path, behind: Servers, before: int, after: int
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics = f"127.0.0.1:{free.getsockname()[1]}"

    async def story(old: Gate, new: Gate) -> None:
        stream = await Connection(old.address).open()
        await stream.stream()
        silent = await Connection(old.address).open()
        load = _Load(old.address)
        running = asyncio.create_task(load.run())
        await _until(lambda: load.good > 50)
        await asyncio.to_thread(new.__enter__)
        await _until(lambda: old.said("Another headgate has taken over"))
        count = load.good
        await _until(lambda: load.good > count + 100)
        load.stop()
        await running
        assert +load.failed == Counter()
        assert load.closed >= 1  # the old one's connections were told, and asked the new one next
        # A connection that was open all the time may still ask for something.
        status, headers, _ = await asyncio.wait_for(silent.ask(), 5)
        assert (status, headers["connection"]) == (200, "close")
        assert old.process.poll() is None
        behind.release()
        assert await stream.whole()
        stream.close()
        await _until(lambda: old.process.poll() is not None)
        assert old.process.returncode == 0

    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), before, "--metrics", metrics) as old:
        new = _next(old, after, "--metrics", metrics)
        try:
            asyncio.run(story(old, new))
            # The instance is the new one, to all who look for it.
            assert len(new.get("endpoints")) == 2
            with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=5) as answer:
                assert b"headgate_requests_total" in answer.read()
            write(tmp_path / "manifests", gateway=GATEWAY.replace("port: 80", "port: 81"))
            new.until(lambda: new.said("The change is in force"))
            assert Path(new.environment["HEADGATE_STATE"], "default", "lock").read_text() == str(new.process.pid)
            other = new.run("gateway", str(tmp_path / "manifests"), "--metrics", "off")
            assert f"is already running (process {new.process.pid})" in other.stderr
        finally:
            assert new.stop() == 0
    assert not any("Traceback" in line for line in new.lines)


def test_one_that_has_nothing_to_serve_takes_nothing(tmp_path: Path, behind: Servers) -> None:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), 1) as old:
        (tmp_path / "empty").mkdir()
        done = old.run("gateway", str(tmp_path / "empty"), "--take-over", "--address", old.address, "--metrics", "off")
        assert done.returncode == 1
        assert "There is nothing to run." in done.stderr
        assert len(old.get("endpoints")) == 2

        async def story() -> int:
            return (await (await Connection(old.address).open()).ask())[0]

        assert asyncio.run(story()) == 200
        assert not old.said("taken over")
        assert old.stop() == 0


def test_where_none_runs_it_just_starts(tmp_path: Path, behind: Servers) -> None:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), 1, "--take-over") as gate:
        assert len(gate.get("endpoints")) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_another_instance_does_not_get_a_port_that_is_taken(tmp_path: Path, behind: Servers, workers: int) -> None:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), workers) as gate:
        command = ["gateway", str(tmp_path / "manifests"), "--name", "other", "--workers", str(workers)]
        done = gate.run(*command, "--address", gate.address, "--metrics", "off")
        assert done.returncode == 1
        assert f"is not served at {gate.address}:8080: another process has port 8080 there." in done.stderr


def test_one_that_has_left_can_be_stopped_at_once(tmp_path: Path, behind: Servers) -> None:
    with Gate(tmp_path, manifests(tmp_path / "manifests", behind), 2) as old:

        async def story() -> None:
            stream = await Connection(old.address).open()
            await stream.stream()
            workers = old.workers()
            with _next(old, 1):
                await _until(lambda: old.said("Another headgate has taken over"))
                old.process.send_signal(signal.SIGTERM)
                await _until(lambda: old.process.poll() is not None)
                await _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
                assert not await stream.whole()

        asyncio.run(story())
