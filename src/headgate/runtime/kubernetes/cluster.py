"""A cluster as what is served: its objects read into a plan, its Pods into servers."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from headgate.api import load
from headgate.api.load import gather
from headgate.api.objects import Found, live
from headgate.fleet.endpoint import Server
from headgate.runtime.config import Reading, understand
from headgate.runtime.files import Files
from headgate.runtime.gateway import Gateway
from headgate.runtime.kubernetes.access import Access
from headgate.runtime.kubernetes.client import Client
from headgate.runtime.kubernetes.holdings import Held, Holdings
from headgate.runtime.kubernetes.pods import PodServers, selection
from headgate.runtime.kubernetes.relevant import concerns, our_classes, ours, referred, relevant
from headgate.runtime.kubernetes.troubles import Troubles
from headgate.runtime.pods import PodRow
from headgate.runtime.world import Work

_QUIET_S, _PATIENCE_S = 0.1, 1.0  # changes come in bursts: they are read once nothing comes, or after a while


class Options(Struct, frozen=True):
    access: Access
    namespaces: tuple[str, ...] = ()  # () all
    classes: tuple[str, ...] = ()  # GatewayClasses of others that are served too
    service: str = ""  # in front of us: [namespace/]name


class Cluster:
    """A `World`. Of `files` EndpointPickerConfigs count, beside what the cluster has."""

    waits = True
    followed = "Changes of the cluster are followed."

    def __init__(
        self,
        options: Options,
        files: Files,
        say: Callable[[str], None],
        changed: Callable[[], None],
        servers_changed: Callable[[Sequence[Server]], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._options = options
        self._files = files
        self._changed = changed
        self._client = Client(options.access)
        self._troubles = Troubles(self._client.server, say, loop.call_later)
        tell = self._troubles.tell
        self._holdings = Holdings(self._client, options.namespaces, self._stir, self._touched, tell)
        self._pods = PodServers(self._client, servers_changed, tell)
        self._found: dict[tuple[str, str, str], tuple[object, Found]] = {}  # what was read of an object's value
        self._settle: asyncio.TimerHandle | None = None
        self._stirred = 0.0  # since when
        self._ready = self._begun = False
        self._following: asyncio.Task[None] | None = None

    async def first(self) -> Reading:
        """Once all that is there was read; that may take a while, where the API server is away."""
        self._following = asyncio.get_running_loop().create_task(self._holdings.run(), name="cluster")
        await self._holdings.synced()
        self._ready = True
        return await self._read(None)

    def works(self) -> Sequence[Work]:
        return self._files.works(self._changed)

    async def read(self, before: Reading) -> Reading:
        return await self._read(before)

    async def apply(self, reading: Reading) -> None:
        """Follow the Pods of the plan's pools. At the beginning nobody shall be told that there are none."""
        self._pods.follow({selection(pool.namespace, pool.selector) for pool in reading.plan.pools.values()})
        if not self._begun:
            self._begun = True
            await self._pods.synced()

    def applied(self, reading: Reading, gateway: Gateway) -> None:
        pass

    def rows(self) -> tuple[PodRow, ...]:
        return tuple(map(_row, self._pods.servers))

    async def stop(self, grace: float) -> None:
        if self._settle is not None:
            self._settle.cancel()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._pods.close()
        await self._client.close()

    def kill(self) -> None:
        pass

    def _touched(self) -> None:
        pass

    def _stir(self) -> None:
        """Something is other than it was."""
        if not self._ready:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._settle is None:
            self._stirred = now
        else:
            self._settle.cancel()
        self._settle = loop.call_at(min(now + _QUIET_S, self._stirred + _PATIENCE_S), self._settled)

    def _settled(self) -> None:
        self._settle = None
        self._changed()

    async def _read(self, before: Reading | None) -> Reading:
        # In a thread: requests must not wait for a thousand objects to be read.
        return await asyncio.to_thread(self._understood, self._holdings.objects(), before)

    def _understood(self, objects: Sequence[Held], before: Reading | None) -> Reading:
        files = self._files
        texts, unread = files.sources.read()
        local, wrong = load(texts, before.snapshot if before else None)
        snapshot, problems = gather(self._decoded(objects), before.snapshot if before else None)
        readable = self._holdings.readable("GatewayClass")
        snapshot = ours(snapshot, our_classes(snapshot, self._options.classes, readable=readable))
        to = referred(snapshot)
        problems = (*unread, *wrong, *(one for one in problems if concerns(one, snapshot, to)))
        snapshot = replace(relevant(snapshot, to), picker_configs=local.picker_configs)
        return understand(snapshot, problems, files.sources, before, files.shadow, files.policies)

    def _decoded(self, objects: Sequence[Held]) -> list[Found]:
        """What did not change since is not read again."""
        known, self._found = self._found, {}
        for held in objects:
            resource = held.resource
            name = (resource.group, resource.kind, held.key)
            value, found = known.get(name, (None, None))
            if found is None or value is not held.value:
                found = live(held.value, resource.kind, resource.api_version, f"{resource.kind} {held.key}")
            self._found[name] = (held.value, found)
        return [found for _, found in self._found.values()]


def _row(server: Server) -> PodRow:
    return PodRow(
        name=f"{server.namespace}/{server.name}",
        owner="",
        address=server.address,
        phase="Terminating" if server.draining else "Running",
        ready=server.ready,
        restarts=0,
        message="",
        log="",
    )
