"""`--data-plane envoy`: what is Envoy's alone. What holds for both planes is tested for both, where it is tested."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from planes import flags
from running import Running, _processes
from steady import Load, ask
from written import ROUTE_EDITED, deployment, system, write

SECONDS = 3.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    directory = tmp_path_factory.mktemp("plane")
    manifests = system(directory / "manifests", replicas=1)
    with Running(directory, manifests, args=flags("envoy")) as running:
        yield running, manifests
        assert not envoys(running)


def envoys(running: Running) -> list[int]:
    """Those of this instance: their configuration stands in its state."""
    state = running.environment["HEADGATE_STATE"]
    return [pid for pid, words in _processes() if words[0].endswith("/envoy") and any(state in word for word in words)]


def test_no_request_fails_while_replicas_come_and_go_and_routes_change(up: tuple[Running, Path]) -> None:
    running, manifests = up

    async def drive() -> None:
        load = Load(running.address, 8080, ["base", "food-review"], rate=30)
        under_way = asyncio.create_task(load.run(SECONDS))
        await asyncio.sleep(SECONDS / 4)
        write(manifests, vllm=deployment(2))
        await asyncio.sleep(SECONDS / 4)
        write(manifests, route=ROUTE_EDITED)
        await asyncio.sleep(SECONDS / 4)
        write(manifests, vllm=deployment(1))
        tally = await under_way
        assert not tally.failed, tally
        assert tally.good == tally.sent

    asyncio.run(drive())
    assert len(envoys(running)) == 1


def test_an_envoy_that_is_killed_is_started_again(up: tuple[Running, Path]) -> None:
    running, _ = up
    (before,) = envoys(running)
    os.kill(before, signal.SIGKILL)
    running.until(lambda: running.said("Envoy has ended (signal 9) and is started again now"))

    def good() -> bool:
        try:
            return asyncio.run(ask(running.address, 8080, "base", False, "Hello")) == "good"
        except OSError:
            return False

    running.until(good)
    assert envoys(running) != [before]


def test_what_runs_may_finish(up: tuple[Running, Path]) -> None:
    """The last one here: it ends the instance."""
    running, _ = up

    async def stop_while_it_streams() -> str:
        stream = asyncio.create_task(ask(running.address, 8080, "base", True, "Tell me a story.", tokens=60))
        busy = lambda: any(row["in_flight"] for row in running.get("endpoints"))  # noqa: E731
        await asyncio.get_running_loop().run_in_executor(None, running.until, busy)
        running.process.send_signal(signal.SIGTERM)
        return await stream

    assert asyncio.run(stop_while_it_streams()) == "good"
    assert running.process.wait(20) == 0
    assert not envoys(running)


def test_what_is_missing_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    for more, wanted in (
        (("--envoy", "/nowhere/envoy"), "--envoy /nowhere/envoy: there is no program of that name that can be run"),
        (("--take-over",), "--take-over hands over sockets"),
    ):
        command = [sys.executable, "-m", "headgate", "gateway", str(tmp_path), "--data-plane", "envoy", *more]
        environment = {"PATH": os.environ["PATH"], "HEADGATE_STATE": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
        assert done.returncode in (1, 2)
        assert wanted in done.stderr
        assert "Traceback" not in done.stderr
