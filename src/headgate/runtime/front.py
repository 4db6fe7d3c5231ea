"""What takes requests, in one process: its listening sockets, the data plane behind them, and what remains of requests.

It reads the pools' views, and changes nothing about them; who keeps them current tells it which pools have changed.
"""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from time import monotonic, time
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from headgate.exchange.edits import ServedAt
from headgate.exchange.events import Forward
from headgate.exchange.record import Record
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, PoolView, Site
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.control import Control
from headgate.pick.python import none_here
from headgate.pick.room import Room
from headgate.pick.shadow import Tally
from headgate.plan.plan import Listener
from headgate.plan.tls import Certificate
from headgate.proxy.entrance import Door, Entrance
from headgate.proxy.plane import Bounds, Judge, Plane
from headgate.runtime import shadows
from headgate.runtime.accesslog import AccessLog, Line
from headgate.runtime.contexts import Contexts
from headgate.runtime.exposition import Page
from headgate.runtime.metrics import Metrics
from headgate.runtime.policies import Policies
from headgate.runtime.queueing import Queueing, QueueRow, charge, queue_rows
from headgate.runtime.recall import Recall, Story
from headgate.runtime.sockets import BACKLOG, Binding
from headgate.runtime.suppose import Other
from headgate.runtime.watchdog import Watchdog

_SETTLE_S = 0.02
_HANDSHAKE_S = 0.1  # for connections that are being made when no more shall come
_POOL = attrgetter("pool")


class Options(Struct, frozen=True):
    address: str = "127.0.0.1"
    privileged_ports: bool = False
    debug_headers: bool = False
    access_log: str = "-"  # a path, `-` standard output, "" none
    bounds: Bounds = Bounds()
    wait_s: float = 30.0
    request_s: float | None = None  # for the whole of one, where nobody else says
    tries: int = 3
    eject_after: int = 5  # failures of an endpoint in a row; 0 never
    slow_start_s: float = 10.0
    room: Room = Room()  # of each inference pool
    shadow_share: float = 1.0  # of the choices, where pools have a shadow policy
    profile: str = "default"  # of published.PROFILES, for pools that say nothing of how they pick
    flow_control: bool = False  # requests queue at pools that say nothing of how they pick
    scrape_s: float | None = None  # between two looks at metrics under traffic; None: as it comes
    workers: int = 1  # processes that serve
    directory: str = ""  # of this instance, where workers write what went wrong
    tell_stalls: bool = False  # of the event loop, to people
    envoy: str = ""  # the program, where Envoy is the data plane; then `workers` are its threads


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
    @property
    def judge(self) -> Judge: ...
    @property
    def controls(self) -> Mapping[str, Control]: ...
    def ended(self, requests: Mapping[str, int]) -> None: ...


class Place(Struct, frozen=True, eq=False):
    """Listeners that share an address, told apart by the request's host, or by SNI. `served`: all of their gateway."""

    binding: Binding
    listeners: Sequence[Listener]
    served: tuple[ServedAt, ...]


class Opened(Struct, frozen=True, eq=False):
    """An address that is served."""

    entrance: Entrance
    servers: list[asyncio.Server]
    sockets: list[socket.socket]

    async def listen(self, one: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.sockets.append(one.dup())
        self.servers.append(await loop.create_server(self.entrance.accept, sock=one.dup(), backlog=BACKLOG))

    async def close(self) -> None:
        """Take nothing more, but for connections that are there already: whoever made them may have asked, too.

        Who has the sockets says whether more can come (`Binding.end`).
        """
        await asyncio.sleep(_HANDSHAKE_S)
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for one in self.sockets:
            with contextlib.suppress(OSError):  # there are no more
                for _ in range(BACKLOG):
                    connection, _ = one.accept()
                    connection.setblocking(False)
                    await loop.connect_accepted_socket(self.entrance.accept, connection)
            one.close()


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
        warn: Callable[[str], None] | None = None,
        policies: Policies | None = None,
    ) -> None:
        """`shown`, `certificates`: the pools and certificates that its metrics tell of.

        `wanted` hears which pools requests have begun to wait for, `say` what people should know, `warn` (else `say`)
        what of it befalls this process alone.
        """
        self._options = options
        self._fleet = fleet
        self._log = log
        self._wanted = wanted
        self._started = started
        # What all of them may take is shared out.
        held, connections = (-(-all_ // options.workers) for all_ in (options.bounds.held, options.bounds.connections))
        bounds = replace(options.bounds, held=held, connections=connections)
        self.plane = Plane(
            fleet.ledger, fleet.prefixes, self._done, bounds, self._waited_for, fleet.judge, fleet.controls
        )
        self._queueing = Queueing(fleet.controls)
        self._watchdog = Watchdog((warn or say) if options.tell_stalls else None)
        describing: list[Callable[[Page], None]] = [
            partial(describe_load, self.plane),
            self._watchdog.describe,
            self._queueing.describe,
            self._describe_shadow,
        ]
        if policies is not None:
            describing.append(policies.describe)
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
            tuple(describing),
        )
        self.contexts = Contexts(self.plane.upstreams.trusts, say)
        self._recall = Recall(options.room, policies.functions if policies is not None else lambda clock: none_here)
        self._open: dict[int, Opened] = {}
        self._ended: list[Record] = []  # since the last `settle`
        self.heard: Callable[[Record], None] | None = None  # counts them too, where somebody wants to
        self._waited: set[str] = set()  # pools that requests wait for, as of this moment

    async def start(self) -> None:
        self.plane.start()
        self._watchdog.start()

    async def stop(self, grace: float, idle: float) -> None:
        """Take nothing more, finish what runs within `grace` seconds, let go of everything, the log too.

        Connections without a request have `idle` seconds for their next one.
        """
        self.plane.draining = True  # who is answered from now on hears that it was the last time
        await asyncio.gather(*(opened.close() for opened in self._open.values()))
        await self.plane.drain(grace, idle)
        self.plane.stop()
        self._watchdog.stop()
        self.settle()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    def learn(self, sent: Callable[[Forward], None] | None) -> None:
        """`sent` wants to hear of each request that is sent to a server."""
        self.plane.sent = sent

    async def serve(self, places: Sequence[Place]) -> None:
        """These are all places to serve; `contexts` has what they need. What stays is not disturbed."""
        gone = [self._open.pop(number) for number in self._open.keys() - {place.binding.number for place in places}]
        # All at once, before anything is waited for: no route may outlive the pools that it leads to.
        new: list[Place] = []
        for place in places:
            if place.binding.number not in self._open:
                self._open[place.binding.number] = Opened(Entrance(self.plane), [], [])
                new.append(place)
            entrance = self._open[place.binding.number].entrance
            entrance.serve(doors(self._options, self._fleet, place, self.contexts, self._started))
        await asyncio.gather(*(opened.close() for opened in gone))
        for opened in gone:
            opened.entrance.close()
        for place in new:
            opened = self._open[place.binding.number]
            for one in place.binding.sockets:
                await opened.listen(one)

    def pool_changed(self, pool: str) -> None:
        """Its endpoints or models are others than before."""
        self.plane.wake(pool)

    def loads_changed(self, pool: str) -> None:
        """Its endpoints have reported: who needs their loads reads them in the view; who waits for them may go."""
        self.plane.queues.changed(pool)

    def _waited_for(self, pool: str) -> None:
        if not self._waited:
            asyncio.get_running_loop().call_soon(self._tell_wanted)
        self._waited.add(pool)

    def _tell_wanted(self) -> None:
        waited, self._waited = self._waited, set()
        self._wanted(waited)

    def failing_changed(self) -> None:
        """Other endpoints fail than before: who needs to know asks the fleet's judge."""

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
            if record.stay is not None:
                self._queueing.count(record, record.stay)
        self._fleet.ended(Counter(map(_POOL, ended)))
        if self._fleet.controls:
            charge(self._fleet.controls, ended)
        if self.heard is not None:
            for record in ended:
                self.heard(record)
        if self._log is not None:
            write = self._log.write
            for record in ended:
                write(record)

    async def explain(self, request_id: str, *, text: bool, other: Other | None = None) -> Story:
        self.settle()
        return self._recall.explain(request_id, text=text, other=other)

    async def latest(self) -> list[Line]:
        self.settle()
        return self._recall.latest()

    async def shadow(self) -> dict[str, Tally]:
        """By pool, what shadow policies found."""
        return shadows.tallies(self._fleet.views.values())

    def _describe_shadow(self, page: Page) -> None:
        shadows.describe(shadows.tallies(self._fleet.views.values()), page)

    async def queues(self) -> list[QueueRow]:
        """The pools' queues as they are now."""
        return queue_rows(self._fleet.controls, monotonic())

    async def page(self) -> Page:
        """What the metrics say."""
        self.settle()
        return self.metrics.page()


def describe_load(plane: Plane, page: Page) -> None:
    """How near it is to its limits."""
    text = "Bytes held of bodies, and of answers that clients don't take."
    page.one("headgate_held_bytes", "gauge", text, plane.held.total)
    text = "Connections beyond the limit that were not even answered."
    page.one("headgate_turned_away_connections_total", "counter", text, plane.turned_away)


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
        Limits(
            tries=options.tries,
            wait_s=options.wait_s,
            debug_headers=options.debug_headers,
            request_s=options.request_s,
        ),
        started,
        time() - monotonic(),
        scheme,
        place.served,
    )
