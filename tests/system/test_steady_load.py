"""Nothing is lost while everything changes: replicas, adapters, routes, and servers that are killed.

HEADGATE_STEADY_S sets how long the load lasts; the minute of the claim is `HEADGATE_STEADY_S=60 make test`.
"""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from running import Running
from steady import Load, ask
from written import ROUTE_EDITED, adapters, deployment, system, write

SECONDS = float(os.environ.get("HEADGATE_STEADY_S", "8"))


def test_no_request_fails_while_everything_changes(tmp_path: Path) -> None:
    manifests = system(tmp_path / "manifests")
    with Running(tmp_path, manifests) as gate:
        load = Load(gate.address, 8080, ["base", "food-review"], rate=50)
        asyncio.run(_drive(gate, load, manifests))
        tally = load.tally
    assert not tally.failed, f"{tally}"
    assert tally.good + tally.ended_with_error_event == tally.sent
    assert tally.sent >= 40 * SECONDS
    # Only streams that were under way on a server that was killed may end early.
    assert tally.ended_with_error_event < tally.sent * 0.1


async def _drive(gate: Running, load: Load, manifests: Path) -> None:
    running = asyncio.create_task(load.run(SECONDS))
    killing = asyncio.create_task(_kill_one_again_and_again(gate))
    step = SECONDS / 6
    await asyncio.sleep(step)
    write(manifests, vllm=deployment(3))
    await asyncio.sleep(step)
    write(manifests, adapters=adapters("food-review", "cad-fabricator"))
    assert await _until_good(gate, "cad-fabricator") < 5
    load.models = ["base", "food-review", "cad-fabricator"]
    await asyncio.sleep(step)
    write(manifests, route=ROUTE_EDITED)
    await asyncio.sleep(step)
    load.models = ["base", "food-review"]
    await asyncio.sleep(2)  # what is under way for it may finish
    write(manifests, adapters=adapters("food-review", gone=("cad-fabricator",)))
    await asyncio.sleep(step)
    write(manifests, vllm=deployment(1))
    await running
    killing.cancel()


async def _until_good(gate: Running, model: str) -> float:
    began = time.monotonic()
    while await ask(gate.address, 8080, model, False, "Are you there?") != "good":
        await asyncio.sleep(0.05)
        assert time.monotonic() < began + 20
    return time.monotonic() - began


async def _kill_one_again_and_again(gate: Running) -> None:
    dice = random.Random(7)
    while True:
        await asyncio.sleep(5)
        servers = gate.servers()
        if servers:
            os.kill(dice.choice(sorted(servers.values())), signal.SIGKILL)
