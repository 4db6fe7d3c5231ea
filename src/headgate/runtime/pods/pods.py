"""All Pods of this machine: what the objects ask for is started, followed and stopped."""

import asyncio
import functools
import itertools
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from headgate.api.snapshot import Snapshot
from headgate.fleet.endpoint import Server
from headgate.runtime.pods.addresses import AddressError, Addresses
from headgate.runtime.pods.controllers import Blueprint, bare_blueprints, reconcile
from headgate.runtime.pods.engine import find_engine
from headgate.runtime.pods.machine import Machine, must_not_fail
from headgate.runtime.pods.outside import Outside
from headgate.runtime.pods.pod import PodLife, PodRow, served_ports


class Options(Struct, frozen=True):
    """How Pods are run here.

    `state_dir` holds volumes and logs, and belongs to this Headgate alone. Without `launch` nothing is started, and
    the only servers are those that Pods give the addresses of.
    """

    state_dir: str
    launch: bool = True
    engine: Literal["sim", "vllm", "auto"] = "auto"
    network: str = "127.77.0.0/24"  # each Pod has an address of its own from it; "off": they share one
    speed: float | None = None  # the simulator's; None: its default
    python: str = sys.executable
    vllm_python: str = ""  # where vLLM can be imported; "": HEADGATE_VLLM_PYTHON, else `python`


class Pods:
    """Runs the Pods of the newest snapshot. `say` hears what a user should know, `on_change` the servers there are.

    All methods belong to one event loop. `on_change` is called from it, only when the servers differ; never by
    `apply` itself.
    """

    def __init__(
        self, options: Options, say: Callable[[str], None], on_change: Callable[[tuple[Server, ...]], None]
    ) -> None:
        self._options = options
        self._say = say
        self._on_change = on_change
        self._machine: Machine | None = None
        self._addresses = Addresses(options.network, say)
        self._outside = Outside(say, self._wake)
        self._pods: dict[str, PodLife] = {}
        self._births = itertools.count()
        self._dirty = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None
        self._following: asyncio.Task[None] | None = None
        self._stopping = False
        self._servers: tuple[Server, ...] = ()

    def apply(self, snapshot: Snapshot) -> None:
        """Make it so, in the background. The newest snapshot wins; one that says the same changes nothing."""
        if self._stopping:
            return
        if self._machine is None and self._options.launch:
            self._machine = self._furnish()
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="pods")
            self._following.add_done_callback(must_not_fail)
        self._outside.apply(snapshot)
        if self._machine is not None:
            self._machine.look_at(snapshot)
            for pod in self._pods.values():
                pod.look()
            self._reconcile(self._machine)  # at once, so that `rows` knows what is to come
        self._wake()

    async def stop(self, grace: float) -> None:
        """Stop every Pod, within `grace` seconds; what still runs then is killed. preStop sleeps are skipped."""
        self._stopping = True
        self._outside.stop()
        if self._following is not None:
            self._following.cancel()
        stops = [pod.stop(grace) for pod in self._pods.values()]
        self._publish()
        if stops:
            await asyncio.wait(stops)
        if self._machine is not None:
            await self._machine.spawner.close()
        self._leave()
        self._publish()

    def kill(self) -> None:
        """SIGKILL everything at once; returns when it is gone. A `stop` under way ends by itself."""
        self._stopping = True
        self._outside.stop()
        if self._following is not None:
            self._following.cancel()
        if self._machine is not None:
            self._machine.spawner.kill()
        for pod in self._pods.values():
            pod.abandon()
        self._leave()

    def rows(self) -> tuple[PodRow, ...]:
        """Each Pod, and each server that runs outside, sorted by name."""
        rows = [*(pod.row() for pod in self._pods.values()), *self._outside.rows()]
        return tuple(sorted(rows, key=lambda row: row.name))

    def _furnish(self) -> Machine:
        options = self._options
        directory = Path(options.state_dir).absolute()
        shutil.rmtree(directory / "pods", ignore_errors=True)  # of a run that could not clean up
        engine = find_engine(options.engine, options.python, options.vllm_python, options.speed)
        return Machine(directory, engine, options.python, self._say)

    def _wake(self) -> None:
        self._dirty.set()

    async def _follow(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._machine is not None:
                self._reconcile(self._machine)
            self._publish()

    def _reconcile(self, machine: Machine) -> None:
        loop = asyncio.get_running_loop()
        changes = reconcile(machine.snapshot, [pod.existing() for pod in self._pods.values()], loop.time())
        if self._again is not None:
            self._again.cancel()
        self._again = loop.call_at(changes.again, self._wake) if changes.again < math.inf else None
        for key in changes.delete:
            self._pods[key].stop().add_done_callback(functools.partial(self._gone, key))
        for blueprint in changes.create:
            if not self._create(blueprint, machine):
                break
        for key, blueprint in bare_blueprints(machine.snapshot).items():
            pod = self._pods.get(key)
            if pod is not None and not pod.deleting and not pod.blueprint.owner:
                pod.relabel(blueprint)

    def _create(self, blueprint: Blueprint, machine: Machine) -> bool:
        try:
            claim = self._addresses.claim(served_ports(blueprint))
        except AddressError as error:
            machine.say_once(f"{blueprint.key} waits for an address: {error}")
            return False
        self._pods[blueprint.key] = pod = PodLife(blueprint, next(self._births), claim, machine, self._wake)
        pod.start()
        return True

    def _gone(self, key: str, _: "asyncio.Task[None]") -> None:
        pod = self._pods.pop(key, None)
        if pod is not None:
            pod.claim.release()
        self._wake()

    def _publish(self) -> None:
        mine = [server for pod in self._pods.values() if (server := pod.server()) is not None]
        servers = tuple(sorted((*mine, *self._outside.servers()), key=lambda s: (s.namespace, s.name)))
        if servers != self._servers:
            self._servers = servers
            self._on_change(servers)

    def _leave(self) -> None:
        for pod in self._pods.values():
            pod.claim.release()
        self._pods.clear()
        if self._machine is not None:
            shutil.rmtree(self._machine.pods, ignore_errors=True)
