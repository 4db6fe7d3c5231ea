"""The life of one container: started, probed, started again when it ends, stopped."""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from headgate.api.workload import Container, Hook, Probe
from headgate.runtime.pods.backoff import Backoff
from headgate.runtime.pods.environment import Identity
from headgate.runtime.pods.grace import Grace
from headgate.runtime.pods.launch import Launch, NotYet, prepare
from headgate.runtime.pods.machine import Machine, must_not_fail
from headgate.runtime.pods.probes import Target, accepts, ask, http_get, verdicts
from headgate.runtime.pods.process import Process, SpawnError
from headgate.runtime.pods.programs import Kind, port, reason, refusal
from headgate.runtime.pods.volumes import VolumeError, Volumes

Restart = Literal["Always", "OnFailure", "Never"]

_NAP = re.compile(r"(?:(?:\S*/)?(?:ba|da)?sh -c )?(?:\S*/)?sleep (\d+)s?")
_CRASH_LOOP = 2.0  # seconds of back-off: it ended for the third time in a row
_UNKILLABLE = 10.0  # seconds after which a process that SIGKILL does not end is left to the system
_CANNOT_START = 128  # the exit code that container runtimes give for this


class Place(Struct, frozen=True):
    """What the containers of one Pod share. `changed` is called whenever something about one of them is different."""

    who: Identity
    kin: str  # "Deployment namespace/name" or "Pod namespace/name": what is true of all replicas is said of this
    volumes: Volumes
    directory: Path
    machine: Machine
    grace_seconds: float
    devices: dict[str, tuple[str, ...]]  # container → its GPUs, once the Pod has been given them
    kind: Callable[[str], Kind]  # of a container, by its name; a new object may make an unknown one a picker
    moved: Mapping[int, int]  # the engine's port → that of the routing sidecar which is left out
    simulated: bool  # one of them is a simulated vLLM, which needs no help from the others
    changed: Callable[[], None]


class ContainerLife:
    """One container of a Pod. `restart`: which endings lead to another start."""

    def __init__(self, container: Container, restart: Restart, place: Place) -> None:
        self.container = container
        self.ready = False
        self.restarts = 0
        self.message = ""
        self.running = False
        self.hindered = False  # it won't get ready before somebody changes something
        self.started = asyncio.Event()  # startup probe included
        self.task: asyncio.Task[int] | None = None
        who = place.who
        self.log = str(place.machine.logs / f"{who.namespace}_{who.name}_{container.name}.log")
        self._restart = restart
        self._place = place
        self._who = who
        self._machine = place.machine
        self._kind = place.kind(container.name)
        self._stopping = False
        self._process: Process | None = None
        self._launch: Launch | None = None
        self._tending: asyncio.Task[None] | None = None
        self.ready_since: float | None = None
        self._log_from = 0
        self._cause = ""  # why we ended it ourselves

    def start(self) -> "asyncio.Task[int]":
        """Live until it ends for good; the task gives the exit code."""
        self.task = asyncio.create_task(self._live(), name=self._called())
        self.task.add_done_callback(must_not_fail)
        return self.task

    async def stop(self, grace: Grace) -> None:
        """preStop, SIGTERM, and SIGKILL at the end of the grace. Returns when nothing of it runs."""
        self._stopping = True
        if self._tending is not None:
            self._tending.cancel()
        if self._process is not None:
            await self._end(self._process, grace)
        if self.task is not None and (self._process is None or not self._process.ended.done()):
            self.task.cancel()
        if self.task is not None:
            await asyncio.wait({self.task})

    async def _live(self) -> int:
        if self._kind == "unknown" and not self._place.simulated:
            await self._known()
        if self._kind == "gateway":
            self._machine.say_once(f"image {self.container.image}: not started, its work is done by headgate")
            return await self._without_process("done by headgate")
        if self._kind == "router":
            moves = [f", which serves on its port {now} instead of {was}" for was, now in self._place.moved.items()]
            what = f"image {self.container.image}: can't run here, left out beside vLLM{''.join(moves)}"
            lost = "" if self._place.simulated else " (prefill and decode are not split)"
            self._machine.say_once(f"{what}{lost}")
            return await self._without_process("left out beside vLLM")
        if self._kind == "unknown":
            self._machine.say_once(f"image {self.container.image}: can't run here, left out beside the simulator")
            return await self._without_process("left out beside the simulator")
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while True:
            launch = await self._launchable()
            begun = loop.time()
            code = await self._once(launch)
            if self._stopping or not self._again(code):
                return code
            was_ready = loop.time() - self.ready_since if self.ready_since is not None else 0.0
            delay, backoff = backoff.after(loop.time() - begun, was_ready)
            self.hindered = delay >= _CRASH_LOOP
            self._say_ending(delay)
            await asyncio.sleep(delay)
            self.restarts += 1

    async def _known(self) -> None:
        """Return when it is something that can be had here: the objects may yet make its Pod a picker's."""
        self._machine.say_once(refusal(self.container))
        self.hindered = True
        self._tell(message=reason(self.container))
        while self._kind == "unknown":
            await self._machine.news()
            self._kind = self._place.kind(self.container.name)
        self.hindered = False

    async def _without_process(self, why: str) -> int:
        self.started.set()
        self._tell(ready=True, message=why)
        if self._restart == "Always":
            await asyncio.Event().wait()
        return 0

    def _again(self, code: int) -> bool:
        return self._restart == "Always" or (self._restart == "OnFailure" and code != 0)

    async def _launchable(self) -> Launch:
        """How to start it, when everything it needs is there."""
        place = self._place
        while True:
            try:
                self._machine.restore()
                place.directory.mkdir(mode=0o700, exist_ok=True)
                place.volumes.restore(self._machine.snapshot)
                mounts = place.volumes.mounts(self.container)
                devices = place.devices.get(self.container.name, ())
                return prepare(
                    self.container, self._kind, self._who, mounts, str(place.directory), self._machine, devices
                )
            except (NotYet, VolumeError, OSError) as error:
                self._machine.say_once(f"{place.kin}: container {self.container.name} waits: {error}")
                self.hindered = True
                self._tell(message=str(error))
                await self._machine.news()
                self.hindered = False

    async def _once(self, launch: Launch) -> int:
        """Start it and see it through to its end: the exit code."""
        self._launch = launch
        self.ready_since, self._cause = None, ""
        self._log_from = _size(self.log)
        try:
            self._process = process = await self._machine.spawner.start(launch.argv, launch.env, launch.cwd, self.log)
        except SpawnError as error:
            self._tell(message=str(error))
            return _CANNOT_START
        self.running = True
        self._tell(message="")
        self._tending = asyncio.create_task(self._tend(process), name=f"probes of {self._called()}")
        self._tending.add_done_callback(must_not_fail)
        try:
            code = await asyncio.shield(process.ended)
        except asyncio.CancelledError:
            process.kill()
            raise
        finally:
            self._tending.cancel()
            self._process, self.running = None, False
            self.started.clear()
            self._tell(ready=False)
        if not self._stopping:
            self._tell(message=self._cause or _ending(code, self.log, self._log_from))
        return code

    async def _tend(self, process: Process) -> None:
        """Ask the probes what they ask, and do what their answers call for."""
        spec = self.container
        if spec.lifecycle.post_start is not None:
            problem = await self._hook(spec.lifecycle.post_start, Grace(self._place.grace_seconds))
            if problem:
                return await self._replace(process, f"postStart failed: {problem}", None)
        if spec.startup_probe is not None:
            self._tell(message="waits for its startup probe to succeed")
            async for well, problem in verdicts(spec.startup_probe, self._target(), eager=True):
                if well:
                    break
                return await self._replace(process, f"startup probe failed: {problem}", spec.startup_probe)
        self.started.set()
        self._tell(message="")
        self._place.changed()
        async with asyncio.TaskGroup() as asking:
            asking.create_task(self._judge_readiness(spec.readiness_probe))
            if spec.liveness_probe is not None:
                async for well, problem in verdicts(spec.liveness_probe, self._target(), eager=False):
                    if not well:
                        await self._replace(process, f"liveness probe failed: {problem}", spec.liveness_probe)
        return None

    async def _judge_readiness(self, probe: Probe | None) -> None:
        """Without a probe it is ready when it runs, and a server when it accepts connections."""
        if probe is not None:
            self._tell(message="waits for its readiness probe to succeed")
            async for well, problem in verdicts(probe, self._target(), eager=True):
                self._judge(well, problem)
        ports = tuple(port.container_port for port in self.container.ports if port.protocol == "TCP")
        if self._kind == "engine":
            ports = (port(self.container),)
        if ports and self._restart == "Always" and self._kind in ("engine", "host"):
            self._tell(message=f"waits for port {', '.join(map(str, ports))} to accept connections")
            await accepts(tuple(self._who.ports.get(port, port) for port in ports), self._who.address)
        self._judge(True, "")

    def _judge(self, well: bool, problem: str) -> None:
        self._tell(ready=well, message="" if well else f"readiness probe failed: {problem}")

    async def _replace(self, process: Process, why: str, probe: Probe | None) -> None:
        """End it, so that it is started again. There is no sleeping before: it serves nobody as it is."""
        self._cause = why
        self._tell(ready=False, message=why)
        seconds = self._place.grace_seconds
        if probe is not None and probe.termination_grace_period_seconds is not None:
            seconds = probe.termination_grace_period_seconds
        await self._end(process, Grace(seconds, hurried=True))

    async def _end(self, process: Process, grace: Grace) -> None:
        hook = self.container.lifecycle.pre_stop
        if hook is not None and not process.ended.done():
            running = asyncio.ensure_future(self._hook(hook, grace))
            if not await grace.wait(running):
                running.cancel()
        process.stop()
        if not await grace.wait(process.ended):
            process.kill()
            await asyncio.wait({process.ended}, timeout=_UNKILLABLE)

    async def _hook(self, hook: Hook, grace: Grace) -> str:
        """Run a lifecycle hook: "" when it went well."""
        nap = hook.exec and _NAP.fullmatch(" ".join(hook.exec.command))
        if hook.sleep is not None or nap:
            await grace.sleep(hook.sleep.seconds if hook.sleep else int(nap[1]) if nap else 0)
        elif hook.exec is not None:
            code = await self._run(hook.exec.command, self.log)
            return f"{' '.join(hook.exec.command)} exited with {code}" if code else ""
        elif hook.http_get is not None:
            return await http_get(hook.http_get, self._target())
        elif hook.tcp_socket is not None:
            return await ask(Probe(tcp_socket=hook.tcp_socket), self._target())
        return ""

    async def _run(self, command: tuple[str, ...], log: str = os.devnull) -> int:
        """A command run with the container's variables, paths and directory."""
        if self._launch is None or not command:
            return _CANNOT_START
        launch = self._launch
        try:
            return await self._machine.spawner.run(launch.command(command), launch.env, launch.cwd, log)
        except SpawnError:
            return _CANNOT_START

    def _target(self) -> Target:
        ports = {port.name: port.container_port for port in self.container.ports if port.name}
        return Target(self._who.address, ports, self._run, mapped=self._who.ports)

    def _tell(self, *, ready: bool | None = None, message: str | None = None) -> None:
        before = self.ready, self.message
        if ready is not None:
            if ready and not self.ready:
                self.ready_since = asyncio.get_running_loop().time()
            self.ready = ready
        if message is not None:
            self.message = message
        if before != (self.ready, self.message):
            self._place.changed()

    def _say_ending(self, delay: float) -> None:
        again = f"starting it again in {delay:g} s" if delay else "starting it again"
        self._machine.say(f"{self._called()}: {self.message}; {again} (log: {self.log})")

    def _called(self) -> str:
        return f"{self._who.namespace}/{self._who.name}, container {self.container.name}"


def _ending(code: int, log: str, start: int) -> str:
    """`exited with 1: the last line it wrote`, or the signal that ended it."""
    if code < 0:
        name = next((number.name for number in signal.Signals if number == -code), f"signal {-code}")
        how = f"killed by {name}"
    else:
        how = f"exited with {code}"
    line = _last_line(log, start)
    return f"{how}: {line}" if line and code > 0 else how


def _last_line(log: str, start: int) -> str:
    """The last line that is not empty and was written after `start`."""
    size = _size(log)
    if size < start:
        start = 0  # it was cut short in between
    try:
        with open(log, "rb") as file:
            file.seek(max(start, size - 4096))
            text = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:300] if lines else ""


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
