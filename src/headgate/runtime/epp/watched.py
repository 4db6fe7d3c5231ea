"""A cluster as a processor sees it: a few kinds of objects, the Pods of its pools, and nothing is written."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from headgate.api.load import gather
from headgate.fleet.endpoint import Server
from headgate.runtime.config import Reading
from headgate.runtime.files import Files
from headgate.runtime.gateway import Gateway
from headgate.runtime.kubernetes.access import Access
from headgate.runtime.kubernetes.client import Client
from headgate.runtime.kubernetes.decoding import Decoder
from headgate.runtime.kubernetes.holdings import Held, Holdings
from headgate.runtime.kubernetes.pods import PodServers, Selection, selection
from headgate.runtime.kubernetes.troubles import Troubles
from headgate.runtime.pods import PodRow
from headgate.runtime.world import Work

_PODS_S = 5.0  # that Pods are waited for at the beginning
_QUIET_S = 0.1  # changes come in bursts
POOLS = ("InferencePool", "InferenceModel", "InferenceObjective", "InferenceModelRewrite")
BASE_MODELS = ("ConfigMap",)


class Options(Struct, frozen=True):
    """`kinds` are read, of these namespaces (() all). `pool` is the one whose Pods are followed, as namespace/name;
    "" none. `selected` are Pods that are followed besides.
    """

    access: Access
    kinds: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    pool: str = ""
    selected: Selection | None = None


class Watched:
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
        self._options = options
        self._files = files
        self._changed = changed
        self._client = Client(options.access)
        tell = Troubles(self._client.server, say, asyncio.get_running_loop().call_later).tell
        self._holdings = Holdings(
            self._client, options.namespaces, lambda kind, items: self._stir(), _nothing, tell, options.kinds
        )
        self._pods = PodServers(self._client, servers_changed, tell)
        self._decoder = Decoder()
        self._settle: asyncio.TimerHandle | None = None
        self._following: asyncio.Task[None] | None = None
        self._ready = self._begun = False

    async def first(self) -> Reading:
        """Once all that is there was read; that may take a while, where the API server is away."""
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._holdings.run(), name="cluster")
        await self._holdings.synced()
        self._ready = True
        return await self._read(None)

    def works(self) -> Sequence[Work]:
        return self._files.works(self._changed)

    async def read(self, before: Reading) -> Reading:
        return await self._read(before)

    async def apply(self, reading: Reading) -> None:
        """At the beginning nobody shall be told that there are no Pods."""
        pool = reading.plan.pools.get(self._options.pool)
        wanted = {selection(pool.namespace, pool.selector)} if pool is not None else set()
        if self._options.selected is not None:
            wanted.add(self._options.selected)
        self._pods.follow(wanted)
        if wanted and not self._begun:
            self._begun = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PODS_S):
                    await self._pods.synced()

    def applied(self, reading: Reading, gateway: Gateway) -> None:
        pass

    def rows(self) -> tuple[PodRow, ...]:
        return self._pods.rows()

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

    def _stir(self) -> None:
        if self._ready and self._settle is None:
            self._settle = asyncio.get_running_loop().call_later(_QUIET_S, self._settled)

    def _settled(self) -> None:
        self._settle = None
        self._changed()

    async def _read(self, before: Reading | None) -> Reading:
        return await asyncio.to_thread(self._understood, self._holdings.objects(), before)

    def _understood(self, objects: Sequence[Held], before: Reading | None) -> Reading:
        local, wrong = self._files.load(before)
        snapshot, problems = gather(self._decoder.read(objects), before.snapshot if before else None)
        snapshot = replace(snapshot, picker_configs=local.picker_configs)
        return self._files.understand(snapshot, (*wrong, *problems), before)


def _nothing() -> None:
    pass
