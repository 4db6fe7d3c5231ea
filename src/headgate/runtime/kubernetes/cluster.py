"""A cluster as what is served: its objects read into a plan, its Pods into servers."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from headgate.api import Snapshot
from headgate.api.load import gather
from headgate.fleet.endpoint import Server
from headgate.runtime.config import Reading
from headgate.runtime.exposition import Page
from headgate.runtime.files import Files
from headgate.runtime.gateway import Gateway
from headgate.runtime.kubernetes.access import Access
from headgate.runtime.kubernetes.client import Client
from headgate.runtime.kubernetes.decoding import Decoder
from headgate.runtime.kubernetes.front import Front, unserved
from headgate.runtime.kubernetes.holdings import Held, Holdings
from headgate.runtime.kubernetes.leader import Leader
from headgate.runtime.kubernetes.pods import PodServers, selection
from headgate.runtime.kubernetes.relevant import Referred, concerns, matters, our_classes, ours, referred, relevant
from headgate.runtime.kubernetes.teller import Teller
from headgate.runtime.kubernetes.troubles import Troubles
from headgate.runtime.kubernetes.watching import Item
from headgate.runtime.kubernetes.writer import Writer
from headgate.runtime.pods import PodRow
from headgate.runtime.world import Work

_PODS_S = 5.0  # that Pods are waited for at the beginning
_QUIET_S, _PATIENCE_S = 0.1, 1.0  # changes come in bursts: they are read once nothing comes, or after a while


class Options(Struct, frozen=True):
    access: Access
    namespaces: tuple[str, ...] = ()  # () all
    classes: tuple[str, ...] = ()  # GatewayClasses of others that are served too
    service: str = ""  # in front of us: [namespace/]name
    lease: str = "headgate-gateway"  # of the replica that writes


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
        self._client = client = Client(options.access)
        self._troubles = Troubles(client.server, say, loop.call_later)
        tell = self._troubles.tell
        self._leader = Leader(client, options.lease, say, self._touched)
        self._holdings = Holdings(client, options.namespaces, self._stir, self._touched, tell)
        self._pods = PodServers(client, servers_changed, tell)
        self._front = Front(client, options.service, self._touched, tell)
        objects = self._holdings.objects
        self._writer = Writer(client, objects, lambda: self._leader.leads, say)
        self._teller = Teller(client, objects, lambda: self._leader.leads, self._leader.identity, say)
        self._decoder = Decoder()
        self._settle: asyncio.TimerHandle | None = None
        self._stirred = 0.0  # since when
        self._referred = referred(Snapshot())
        self._reads = 0  # under way
        self._ready = self._begun = self._described = False
        self._following: list[asyncio.Task[None]] = []

    async def first(self) -> Reading:
        """Once all that is there was read; that may take a while, where the API server is away."""
        create = asyncio.get_running_loop().create_task
        self._following = [create(self._holdings.run(), name="cluster"), create(self._front.run(), name="front")]
        await self._holdings.synced()
        self._ready = True
        return await self._read(None)

    def works(self) -> Sequence[Work]:
        return (*self._files.works(self._changed), self._leader.run, self._writer.run, self._teller.run)

    async def read(self, before: Reading) -> Reading:
        return await self._read(before)

    async def apply(self, reading: Reading) -> None:
        """Follow the Pods of the plan's pools. At the beginning nobody shall be told that there are none."""
        self._pods.follow({selection(pool.namespace, pool.selector) for pool in reading.plan.pools.values()})
        if not self._begun:
            self._begun = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PODS_S):
                    await self._pods.synced()

    def applied(self, reading: Reading, gateway: Gateway) -> None:
        self._writer.report(reading, lambda: (self._front.addresses(gateway), unserved(gateway)))
        self._teller.report(reading)
        if not self._described:
            self._described = True
            gateway.serving.metrics.add(self._describe)

    def _describe(self, page: Page) -> None:
        describe(page, self._troubles.away, self._leader.leads, self._writer.writes)

    def rows(self) -> tuple[PodRow, ...]:
        return self._pods.rows()

    async def stop(self, grace: float) -> None:
        if self._settle is not None:
            self._settle.cancel()
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self._pods.close()
        await self._client.close()

    def kill(self) -> None:
        pass

    def _touched(self) -> None:
        """Something that may have to be written is other than it was."""
        self._writer.wake()

    def _stir(self, kind: str, items: Sequence[Item]) -> None:
        """Something is other than it was. What was referred to counts until it is known anew."""
        if not self._ready or not (self._reads or matters(kind, items, self._referred)):
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
        self._reads += 1
        try:
            # In a thread: requests must not wait for a thousand objects to be read.
            reading, self._referred = await asyncio.to_thread(self._understood, self._holdings.objects(), before)
        finally:
            self._reads -= 1
        return reading

    def _understood(self, objects: Sequence[Held], before: Reading | None) -> tuple[Reading, Referred]:
        local, wrong = self._files.load(before)
        snapshot, problems = gather(self._decoder.read(objects), before.snapshot if before else None)
        readable = self._holdings.readable("GatewayClass")
        snapshot = ours(snapshot, our_classes(snapshot, self._options.classes, readable=readable))
        to = referred(snapshot)
        problems = (*wrong, *(one for one in problems if concerns(one, snapshot, to)))
        snapshot = replace(relevant(snapshot, to), picker_configs=local.picker_configs)
        return self._files.understand(snapshot, problems, before), to


def describe(page: Page, away: int, leads: bool, writes: int) -> None:
    """The families that there are in a cluster only."""
    name = "headgate_kubernetes_collections_away"
    page.one(name, "gauge", "Collections of objects that can't be followed just now.", away)
    page.one("headgate_kubernetes_leader", "gauge", "1 where we write statuses.", int(leads))
    page.one("headgate_kubernetes_status_writes_total", "counter", "Statuses written.", writes)
