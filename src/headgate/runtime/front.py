"""What takes requests, in one process: its listening sockets, the data plane behind them, and what remains of requests.

It reads the pools' views, and changes nothing about them; who keeps them current tells it which pools have changed.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from time import monotonic, time
from typing import Protocol

from msgspec import Struct

from headgate.exchange.edits import ServedAt
from headgate.exchange.record import Record
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, PoolView, Site
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.plan.plan import Listener
from headgate.plan.tls import Certificate
from headgate.proxy.entrance import Door, Entrance
from headgate.proxy.plane import Bounds, Plane
from headgate.runtime.accesslog import AccessLog, Line
from headgate.runtime.contexts import Contexts
from headgate.runtime.exposition import Page
from headgate.runtime.metrics import Metrics
from headgate.runtime.recall import Recall, Story
from headgate.runtime.sockets import BACKLOG, Binding

_SETTLE_S = 0.02


class Options(Struct, frozen=True):
    address: str = "127.0.0.1"
    privileged_ports: bool = False
    debug_headers: bool = False
    access_log: str = "-"  # a path, `-` standard output, "" none
    bounds: Bounds = Bounds()
    wait_s: float = 30.0
    scrape_s: float | None = None  # between two looks at metrics under traffic; None: as it comes
    workers: int = 1  # processes that serve
    directory: str = ""  # of this instance, where workers write what went wrong


class Views(Protocol):
    """The fleet as requests see it. The mappings stay the same objects."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def prefixes(self) -> PrefixIndex: ...
    @property
    def views(self) -> Mapping[str, PoolView]: ...
    @property
    def base_models(self) -> Mapping[str, str]: ...


class Place(Struct, frozen=True, eq=False):
    """Listeners that share an address, told apart by the request's host, or by SNI. `served`: all of their gateway."""

    binding: Binding
    listeners: Sequence[Listener]
    served: tuple[ServedAt, ...]


class Front:
    """Mutable, one for each event loop."""

    def __init__(
        self,
        options: Options,
        fleet: Views,
        shown: Callable[[], Iterable[PoolView]],
        certificates: Callable[[], Iterable[Certificate]],
        log: AccessLog | None,
        wanted: Callable[[Collection[str]], None],
        say: Callable[[str], None],
        started: int,
    ) -> None:
        """`shown`, `certificates`: the pools and certificates that its metrics tell of.

        `wanted` hears which pools requests have begun to wait for, `say` what people should know.
        """
        self._options = options
        self._fleet = fleet
        self._log = log
        self._wanted = wanted
        self._started = started
        self.plane = Plane(fleet.ledger, fleet.prefixes, self._done, options.bounds, self._waited_for)
        self.metrics = Metrics(
            fleet.ledger,
            shown,
            self.plane.connections.__len__,
            self.plane.parked,
            lambda: log.dropped if log is not None else 0,
            lambda: len(asyncio.all_tasks()),
            self.plane.mirrors.outcomes,
            self.plane.handshake_failures,
            certificates,
        )
        self.contexts = Contexts(self.plane.upstreams.trusts, say)
        self._recall = Recall()
        self._open: dict[int, tuple[Entrance, list[asyncio.Server]]] = {}
        self._ended: list[Record] = []  # since the last `settle`
        self._waited: set[str] = set()  # pools that requests wait for, as of this moment

    async def start(self) -> None:
        self.plane.start()

    async def stop(self, grace: float, idle: float) -> None:
        """Take nothing more, finish what runs within `grace` seconds, let go of everything, the log too.

        Connections without a request have `idle` seconds for their next one.
        """
        for _, servers in self._open.values():
            for server in servers:
                server.close()
        await self.plane.drain(grace, idle)
        self.plane.stop()
        self.settle()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    async def serve(self, places: Sequence[Place]) -> None:
        """These are all places to serve; `contexts` has what they need. What stays is not disturbed."""
        for number in self._open.keys() - {place.binding.number for place in places}:
            entrance, servers = self._open.pop(number)
            for server in servers:
                server.close()
            entrance.close()
        # All at once, before anything is waited for: no route may outlive the pools that it leads to.
        new: list[Place] = []
        for place in places:
            if place.binding.number not in self._open:
                self._open[place.binding.number] = (Entrance(self.plane), [])
                new.append(place)
            entrance, _ = self._open[place.binding.number]
            entrance.serve(doors(self._options, self._fleet, place, self.contexts, self._started))
        loop = asyncio.get_running_loop()
        for place in new:
            entrance, servers = self._open[place.binding.number]
            for one in place.binding.sockets:
                servers.append(await loop.create_server(entrance.accept, sock=one.dup(), backlog=BACKLOG))

    def pool_changed(self, pool: str) -> None:
        """Its endpoints or models are others than before."""
        self.plane.wake(pool)

    def loads_changed(self, pool: str) -> None:
        """Its endpoints have reported: who needs their loads reads them in the view."""

    def _waited_for(self, pool: str) -> None:
        if not self._waited:
            asyncio.get_running_loop().call_soon(self._tell_wanted)
        self._waited.add(pool)

    def _tell_wanted(self) -> None:
        waited, self._waited = self._waited, set()
        self._wanted(waited)

    # Requests that have ended.

    def _done(self, record: Record) -> None:
        if not self._ended:
            asyncio.get_running_loop().call_later(_SETTLE_S, self.settle)
        self._ended.append(record)

    def settle(self) -> None:
        """Count, log and remember the requests that have ended.

        Many in a row: what is done for each costs 2.5 µs so, and 10 µs in the middle of another request's way, because
        the processor has forgotten this code and its data by the time that it comes here again.
        """
        ended, self._ended = self._ended, []
        self._recall.add(ended)
        count = self.metrics.count
        for record in ended:
            count(record)
        if self._log is not None:
            write = self._log.write
            for record in ended:
                write(record)

    async def explain(self, request_id: str, *, text: bool) -> Story:
        self.settle()
        return self._recall.explain(request_id, text=text)

    async def latest(self) -> list[Line]:
        self.settle()
        return self._recall.latest()

    async def page(self) -> Page:
        """What the metrics say."""
        self.settle()
        return self.metrics.page()


def doors(options: Options, fleet: Views, place: Place, contexts: Contexts, started: int) -> list[Door]:
    """What is behind an address. `started`: Unix time in seconds."""
    listeners = place.listeners
    if listeners[0].tls is None:
        return [Door(_site(options, fleet, place, Router(listeners), b"http", started))]
    found = []
    for listener in listeners:
        router = Router((listener,), [other.hostname for other in listeners if other is not listener])
        site, identities = _site(options, fleet, place, router, b"https", started), contexts.identities(listener)
        found.append(Door(site, listener.hostname, identities, listener.tls.clients if listener.tls else None))
    return found


def _site(options: Options, fleet: Views, place: Place, router: Router, scheme: bytes, started: int) -> Site:
    return Site(
        router,
        fleet.views,
        fleet.base_models,
        random.random,
        Limits(wait_s=options.wait_s, debug_headers=options.debug_headers),
        started,
        time() - monotonic(),
        scheme,
        place.served,
    )
