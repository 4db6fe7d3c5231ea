"""The gateway of one process: sockets for the plan's listeners, a fleet behind them, and who looks after both."""

import asyncio
import errno
import os
import random
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time

from msgspec import Struct

from headgate.exchange.edits import ServedAt
from headgate.exchange.record import Record
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, Site
from headgate.fleet.endpoint import Server
from headgate.plan.plan import Listener, Plan
from headgate.proxy.entrance import Door, Entrance
from headgate.proxy.plane import Bounds, Plane
from headgate.runtime.accesslog import AccessLog
from headgate.runtime.addresses import Assignment, Bound, assign
from headgate.runtime.client import Client
from headgate.runtime.contexts import Contexts
from headgate.runtime.fleet import Fleet
from headgate.runtime.health import Health
from headgate.runtime.memory import Packer
from headgate.runtime.metrics import Metrics
from headgate.runtime.scrape import Scraper

_REMEMBERED = 4096  # requests that `headgate explain` can still tell about
_BACKLOG = 4096
_SETTLE_S = 0.02
_NOTHING: Mapping[str, frozenset[str]] = {}


class Options(Struct, frozen=True):
    address: str = "127.0.0.1"
    privileged_ports: bool = False
    debug_headers: bool = False
    access_log: str = "-"  # a path, `-` standard output, "" none
    bounds: Bounds = Bounds()
    wait_s: float = 30.0
    scrape_s: float | None = None  # between two looks at metrics under traffic; None: as it comes


class Gateway:
    """`say` gets a line for people whenever there is something that they should know."""

    def __init__(self, options: Options, say: Callable[[str], None], log: AccessLog | None) -> None:
        self.options = options
        self.log = log
        self.plan = Plan()
        self._expected = _NOTHING
        self.assigned = Assignment()
        self._told: tuple[str, ...] = ()  # what was said of it
        self.sockets: dict[tuple[str, int], tuple[Entrance, asyncio.Server]] = {}
        self.unbound: dict[tuple[str, int], str] = {}  # sockets that could not be had, and why
        self.recent: deque[Record] = deque(maxlen=_REMEMBERED)
        self._packer = Packer()
        self._ended: list[Record] = []  # since the last `settle`
        self.fleet = Fleet(self._pool_changed, asyncio.get_running_loop().call_later)
        self.plane = Plane(self.fleet.ledger, self.fleet.prefixes, self._done, options.bounds, self._waited_for)
        self.metrics = Metrics(
            self.fleet.ledger,
            self.fleet.views.values,
            self.plane.connections.__len__,
            self.plane.parked,
            lambda: self.log.dropped if self.log is not None else 0,
            lambda: len(asyncio.all_tasks()),
            self.plane.mirrors.outcomes,
            self.plane.handshake_failures,
            lambda: [one for listener in self.plan.listeners if listener.tls for one in listener.tls.certificates],
        )
        self._say = say
        self._limits = Limits(wait_s=options.wait_s, debug_headers=options.debug_headers)
        self._started = int(time())
        self._contexts = Contexts(self.plane.upstreams.trusts, say)
        self._client = Client(connect=self._contexts.connect)
        self._scraper = Scraper(self._client, self.fleet.load, interval=options.scrape_s, busy=self.fleet.ledger.total)
        self._health = Health(self._client, self.fleet.health)
        self._watching: asyncio.Handle | None = None
        self._wanted: set[str] = set()  # pools that requests wait for, as of this moment

    async def start(self) -> None:
        self.plane.start()
        self._scraper.start()
        self._health.start()

    async def apply(self, plan: Plan, expected: Mapping[str, frozenset[str]] = _NOTHING) -> None:
        """Do what the plan says, without disturbing what stays the same. `expected`: adapters to come, by pool."""
        use_contexts = await self._contexts.ready(plan)
        self.plan, self._expected = plan, expected
        use_contexts()
        self.fleet.plan(plan, expected)
        self._watch()
        self.assigned = assign(
            plan.listeners,
            self.options.address,
            privileged=self.options.privileged_ports,
            before=self.assigned.addresses,
        )
        told = (*self.assigned.refused, *self.assigned.notes)
        for text in told:
            if text not in self._told:
                self._say(text)
        self._told = told
        await self._listen(self.assigned.sockets)

    def servers(self, servers: Sequence[Server]) -> None:
        """These are the servers that run now."""
        self.fleet.servers(servers)
        self._watch()

    async def stop(self, grace: float) -> None:
        """Take nothing more, finish what runs within `grace` seconds, let go of everything, the log too."""
        for _, server in self.sockets.values():
            server.close()
        await self.plane.drain(grace)
        await self._scraper.stop()
        await self._health.stop()
        self.plane.stop()
        self._client.close()
        self.settle()
        if self.log is not None:
            await asyncio.to_thread(self.log.close)

    async def _listen(self, bound: Sequence[Bound]) -> None:
        wanted = {(one.address, one.port) for one in bound}
        for key in self.sockets.keys() - wanted:
            entrance, server = self.sockets.pop(key)
            server.close()
            entrance.close()
        self.unbound = {key: why for key, why in self.unbound.items() if key in wanted}
        # All at once, before anything is waited for: no route may outlive the pools that it leads to.
        for one in bound:
            if (one.address, one.port) in self.sockets:
                self.sockets[one.address, one.port][0].serve(self._doors(one))
        for one in bound:
            if (one.address, one.port) not in self.sockets:
                await self._bind(one)

    async def listen_again(self) -> None:
        """Try for the sockets that another process had."""
        for one in self.assigned.sockets:
            if (one.address, one.port) in self.unbound:
                await self._bind(one)

    async def _bind(self, one: Bound) -> None:
        key = one.address, one.port
        entrance = Entrance(self.plane)
        entrance.serve(self._doors(one))
        gateway, place = one.listeners[0].gateway, _hostport(*key)
        try:
            server = await asyncio.get_running_loop().create_server(entrance.accept, *key, backlog=_BACKLOG)
        except OSError as error:
            why = why_not(error, *key)
            if self.unbound.get(key) != why:
                self._say(f"Gateway {gateway} is not served at {place}: {why}. It is tried again each second.")
            self.unbound[key] = why
            return
        self.sockets[key] = (entrance, server)
        if self.unbound.pop(key, None):
            self._say(f"Gateway {gateway} is served at {place} now.")

    def place(self, listener: Listener) -> tuple[str, int]:
        """The address and port where a listener is served, or would be; no address where none could be had."""
        address = self.assigned.addresses.get(listener.gateway, "")
        return address, self.assigned.ports.get((listener.gateway, listener.port), listener.port)

    def _doors(self, one: Bound) -> list[Door]:
        if one.listeners[0].tls is None:
            return [Door(self._site(Router(one.listeners), one, b"http"))]
        doors = []
        for listener in one.listeners:
            router = Router((listener,), [other.hostname for other in one.listeners if other is not listener])
            site, identities = self._site(router, one, b"https"), self._contexts.identities(listener)
            doors.append(Door(site, listener.hostname, identities, listener.tls.clients if listener.tls else None))
        return doors

    def _site(self, router: Router, one: Bound, scheme: bytes) -> Site:
        fleet, gateway = self.fleet, one.listeners[0].gateway
        served = [listener for listener in self.plan.listeners if listener.gateway == gateway]
        return Site(
            router,
            fleet.views,
            fleet.base_models,
            random.random,
            self._limits,
            self._started,
            time() - monotonic(),
            scheme,
            tuple(ServedAt(listener.hostname, listener.port, self.place(listener)[1]) for listener in served),
        )

    def _pool_changed(self, pool: str) -> None:
        self._watch()
        self.plane.wake(pool)

    def trouble(self, endpoint: str) -> str:
        """What is wrong with an endpoint, as far as it can be seen from here; "" where nothing is."""
        return self.fleet.why_not(endpoint) or self._scraper.errors.get(endpoint, "")

    def _waited_for(self, pool: str) -> None:
        """A request waits: whoever may have loaded its model meanwhile is asked at once."""
        if not self._wanted:
            asyncio.get_running_loop().call_soon(self._ask_for_models)
        self._wanted.add(pool)

    def _ask_for_models(self) -> None:
        wanted, self._wanted = self._wanted, set()
        views = [view for name in wanted if (view := self.fleet.views.get(name)) is not None]
        self._scraper.refresh(endpoint.name for view in views for endpoint in view.standing.endpoints)

    def _watch(self) -> None:
        """Soon, and once for all changes of this moment."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().call_soon(self._watch_now)

    def _watch_now(self) -> None:
        self._watching = None
        inference = self.fleet.endpoints(kind="inference")
        self._scraper.watch(endpoint for endpoint in inference.values() if endpoint.ready)
        self._health.watch(
            (endpoint, pool.health)
            for pool in self.plan.pools.values()
            if pool.health is not None and pool.name in self.fleet.views
            for endpoint in self.fleet.views[pool.name].standing.endpoints
        )

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
        self.recent.extend(ended)
        count, pack = self.metrics.count, self._packer.pack
        for record in ended:
            pack(record)
            count(record)
        if self.log is not None:
            write = self.log.write
            for record in ended:
                write(record)


def why_not(error: OSError, address: str, port: int) -> str:
    """Why a socket can't be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"another process has port {port} there"
    if error.errno == errno.EACCES:
        return f"port {port} is for root only; without --privileged-ports it is served at port + 8000"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"this machine has no address {address}"
    return os.strerror(error.errno) if error.errno else str(error)


def _hostport(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
