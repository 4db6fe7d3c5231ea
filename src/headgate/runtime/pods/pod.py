"""The life of one Pod: volumes, init containers in their order, containers, and all of it stopped again."""

import asyncio
import shutil
import uuid
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from headgate.fleet.endpoint import Server
from headgate.runtime.pods.addresses import Claim
from headgate.runtime.pods.container import ContainerLife, Place, Restart
from headgate.runtime.pods.controllers import Blueprint, Existing
from headgate.runtime.pods.environment import Identity
from headgate.runtime.pods.gpus import shares
from headgate.runtime.pods.grace import Grace
from headgate.runtime.pods.machine import Machine, must_not_fail
from headgate.runtime.pods.ports import served
from headgate.runtime.pods.programs import Kind
from headgate.runtime.pods.roles import is_picker, moved, roles
from headgate.runtime.pods.volumes import VolumeError, Volumes, directory_name, stand_ins

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Terminating"]


class PodRow(Struct, frozen=True):
    """What there is to show of a Pod. `name` is `namespace/name`; `log` is a file of container output."""

    name: str
    owner: str  # "Deployment namespace/name", "" for a bare Pod
    address: str
    phase: str
    ready: bool
    restarts: int
    message: str  # why it is not ready, "" when there is nothing to say
    log: str
    pending: bool = False  # it is on its way to ready, and nothing is known to be in the way


class PodLife:
    """One Pod that was made. `changed` is called whenever something about it is different."""

    def __init__(
        self, blueprint: Blueprint, born: int, claim: Claim, machine: Machine, changed: Callable[[], None]
    ) -> None:
        spec = blueprint.spec
        uid = str(uuid.uuid4())
        self.blueprint = blueprint
        self.claim = claim
        self.deleting = False
        self._born = born
        self._machine = machine
        self._changed = changed
        self._kin = blueprint.owner or f"Pod {blueprint.key}"
        self._phase: Phase = "Pending"
        self._message = ""
        self._directory = machine.pods / directory_name(blueprint.namespace, blueprint.name, uid)
        kinds = self._kinds()
        aside = moved(spec, kinds)
        self._ports = {**claim.ports, **{was: claim.ports.get(now, now) for was, now in aside.items()}}
        own = [kinds[part.name] for part in spec.containers]
        simulated = machine.engine.kind == "sim" and "engine" in own
        real = ("host",) if machine.engine.kind == "sim" else ("host", "engine")
        self._shares = shares(spec, {name: kind for name, kind in kinds.items() if kind in real})
        self._devices: dict[str, tuple[str, ...]] = {}
        volumes = self._directory / "volumes"
        self._volumes = Volumes(volumes, spec, blueprint.namespace, secrets_optional=simulated)
        place = Place(
            who=_identity(blueprint, uid, claim.address, self._ports, machine),
            kin=self._kin,
            volumes=self._volumes,
            directory=self._directory,
            machine=machine,
            grace_seconds=spec.termination_grace_period_seconds,
            devices=self._devices,
            kind=lambda name: self._kinds()[name],
            moved=aside,
            simulated=simulated,
            changed=changed,
        )
        # An init container runs to its end once; with restartPolicy Always it is a sidecar, and stays.
        once: Restart = "Never" if spec.restart_policy == "Never" else "OnFailure"
        self._init = [ContainerLife(part, part.restart_policy or once, place) for part in spec.init_containers]
        self._main = [ContainerLife(part, spec.restart_policy, place) for part in spec.containers]
        self._sidecars = [life for life in self._init if life.container.restart_policy == "Always"]
        self._grace: Grace | None = None
        self._living: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        lives = (*self._main, *self._sidecars)
        return self._phase == "Running" and all(life.ready for life in lives)

    def start(self) -> None:
        self._living = asyncio.create_task(self._live(), name=f"pod {self.blueprint.key}")
        self._living.add_done_callback(must_not_fail)

    def stop(self, seconds: float | None = None) -> "asyncio.Task[None]":
        """Stop it in its own grace period, or hurriedly within `seconds`; a later call can only make it faster."""
        if self._stopping is None:
            own = self.blueprint.spec.termination_grace_period_seconds
            self._grace = Grace(own if seconds is None else seconds, hurried=seconds is not None)
            self.deleting, self._phase = True, "Terminating"
            self._changed()
            self._stopping = asyncio.create_task(self._stop(self._grace), name=f"stop {self.blueprint.key}")
            self._stopping.add_done_callback(must_not_fail)
        elif seconds is not None and self._grace is not None:
            self._grace.hurry(seconds)
        return self._stopping

    def abandon(self) -> None:
        """Its processes were killed: do nothing more."""
        tasks = (self._living, self._stopping, *(life.task for life in (*self._init, *self._main)))
        for task in tasks:
            if task is not None:
                task.cancel()

    def look(self) -> None:
        """The objects have changed: bring the volumes up to date. What is gone from them stays as it was."""
        if self._phase == "Running" or any(life.running for life in self._init):
            try:
                self._machine.restore()
                self._volumes.restore(self._machine.snapshot)
                self._volumes.update(self._machine.snapshot)
            except (VolumeError, OSError) as error:
                self._machine.say_once(f"{self.blueprint.key}: {error}; its volume stays as it was")

    def relabel(self, blueprint: Blueprint) -> None:
        """Labels and annotations of a bare Pod may change while it runs."""
        self.blueprint = blueprint

    def existing(self) -> Existing:
        since = [life.ready_since for life in (*self._main, *self._sidecars) if life.ready_since is not None]
        return Existing(self.blueprint, self._born, self.ready, self.deleting, max(since, default=0.0))

    def server(self) -> Server | None:
        """The Pod as pools see it; None where nothing of it is a process that could serve."""
        kinds = self._kinds()
        if all(kinds[part.name] == "gateway" for part in self.blueprint.spec.containers):
            return None
        ports = {p.name: p.container_port for c in self.blueprint.spec.containers for p in c.ports if p.name}
        for sidecar in self._sidecars:
            ports |= {p.name: p.container_port for p in sidecar.container.ports if p.name and p.name not in ports}
        return Server(
            namespace=self.blueprint.namespace,
            name=self.blueprint.name,
            address=self.claim.address,
            labels=self.blueprint.labels,
            annotations=self.blueprint.annotations,
            ports=ports,
            mapped=self._ports,
            ready=self.ready and not self.deleting,
            draining=self.deleting,
        )

    def row(self) -> PodRow:
        lives = (*self._main, *self._init)
        speaks = next((life for life in lives if life.message), None)
        message = self._message or (f"{speaks.container.name}: {speaks.message}" if speaks else "")
        return PodRow(
            name=self.blueprint.key,
            owner=self.blueprint.owner,
            address=self.claim.address,
            phase=self._phase,
            ready=self.ready,
            restarts=sum(life.restarts for life in lives),
            message=message,
            log=(speaks or self._main[0]).log,
            pending=self._phase in ("Pending", "Running") and not self.ready and not self._hindered(),
        )

    def _kinds(self) -> dict[str, Kind]:
        """What its containers are, by the newest objects."""
        blueprint = self.blueprint
        picker = is_picker(blueprint.namespace, blueprint.labels, self._machine.snapshot)
        return roles(blueprint.spec, blueprint.annotations, picker=picker)

    def _hindered(self) -> bool:
        return bool(self._message) or any(life.hindered for life in (*self._main, *self._init))

    async def _live(self) -> None:
        if self._shares.total:
            self._devices |= self._shares.cut(await self._claim())
        await self._mount()
        for life in self._init:
            task = life.start()
            if life in self._sidecars:
                await life.started.wait()
            elif await asyncio.shield(task):
                await self._stop_sidecars(Grace(self.blueprint.spec.termination_grace_period_seconds))
                return self._over("Failed", f"{life.container.name}: {life.message}")
        self._phase = "Running"
        tasks = [life.start() for life in self._main]
        self._changed()
        await asyncio.wait(tasks)
        codes = [task.result() for task in tasks]
        await self._stop_sidecars(Grace(self.blueprint.spec.termination_grace_period_seconds))
        return self._over("Failed" if any(codes) else "Succeeded", "")

    def _over(self, phase: Literal["Succeeded", "Failed"], message: str) -> None:
        self._machine.devices.release(self.blueprint.key)
        self._tell(phase, message)

    def _tell(self, phase: Phase, message: str) -> None:
        self._phase, self._message = phase, message
        self._changed()

    async def _claim(self) -> tuple[str, ...]:
        """The Pod's GPUs, when as many as it needs are free."""
        wanted = self._shares.total

        def tell(free: int, there: int) -> None:
            if wanted > there:
                text = f"a Pod of it wants {wanted} GPUs, and this machine has {there}: it can't run here"
            else:
                text = (
                    f"more Pods than GPUs ({there}): what has none waits until one is free (the update of a "
                    "Deployment frees one first with strategy `type: Recreate`)"
                )
            self._machine.say_once(f"{self._kin}: {text}")
            self._tell("Pending", f"{free}/{there} GPUs free, {wanted} wanted")

        return await self._machine.devices.claim(self.blueprint.key, wanted, tell)

    async def _mount(self) -> None:
        for volume in stand_ins(self.blueprint.spec):
            self._machine.say_once(
                f"volume {volume.name!r} ({volume.kind}) can't be had on this machine: an empty directory stands for it"
            )
        while True:
            try:
                self._machine.restore()
                self._directory.mkdir(mode=0o700, exist_ok=True)
                self._volumes.update(self._machine.snapshot)
            except (VolumeError, OSError) as error:
                self._machine.say_once(f"{self._kin} waits: {error}")
                self._tell("Pending", str(error))
                await self._machine.news()
            else:
                self._message = ""
                return

    async def _stop(self, grace: Grace) -> None:
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait({self._living})
        others = [life for life in self._init if life not in self._sidecars]
        await asyncio.gather(*(life.stop(grace) for life in (*self._main, *others)))
        await self._stop_sidecars(grace)
        self._machine.devices.release(self.blueprint.key)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        self._changed()

    async def _stop_sidecars(self, grace: Grace) -> None:
        for life in reversed(self._sidecars):
            await life.stop(grace)


def served_ports(blueprint: Blueprint) -> tuple[int, ...]:
    """The ports that need one of their own where Pods share an address."""
    spec = blueprint.spec
    kinds = roles(spec, blueprint.annotations, picker=False)
    stay = (*spec.containers, *(part for part in spec.init_containers if part.restart_policy == "Always"))
    found = served(spec, {part.name: kinds[part.name] for part in stay})
    return tuple(sorted({*found, *moved(spec, kinds).values()}))


def _identity(blueprint: Blueprint, uid: str, address: str, ports: Mapping[int, int], machine: Machine) -> Identity:
    return Identity(
        name=blueprint.name,
        namespace=blueprint.namespace,
        uid=uid,
        address=address,
        ports=ports,
        labels=blueprint.labels,
        annotations=blueprint.annotations,
        node=machine.node,
        service_account=blueprint.spec.service_account_name,
        cpus=machine.cpus,
        memory=machine.memory,
        resources={part.name: part.resources for part in (*blueprint.spec.init_containers, *blueprint.spec.containers)},
    )
