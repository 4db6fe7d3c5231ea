"""What all connections of one process share: the pools' standings, connections to endpoints, limits, and the sweep."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from email.utils import formatdate
from itertools import count
from time import monotonic, time
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from headgate.exchange.events import Forward
from headgate.exchange.record import Record
from headgate.exchange.request import RequestHead
from headgate.fleet.ledger import Ledger
from headgate.fleet.outliers import FAILED
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.control import Control
from headgate.flow.ticket import Ticket
from headgate.proxy.decoding import Decoding
from headgate.proxy.heads import Heads
from headgate.proxy.held import Held
from headgate.proxy.mirrors import Mirrors
from headgate.proxy.outbox import Outbox
from headgate.proxy.queues import Queues
from headgate.proxy.upstreams import Upstreams
from headgate.proxy.waiting import Waiter, Waiting

if TYPE_CHECKING:
    from headgate.proxy.downstream import Listening

_SWEEP_S = 0.1
_FAREWELL_S = 0.25


class Bounds(Struct, frozen=True):
    """Bytes, counts and seconds that keep one client, or one server, from harming the others."""

    body: int = 64 << 20
    head: int = 32 << 10
    headers: int = 100
    pipelined: int = 16
    connections: int = 1 << 30
    held: int = 1 << 30  # of all bodies, and of all answers that clients don't take
    head_s: float = 30.0  # for the whole of a request's head
    body_s: float = 60.0  # between two pieces of a request's body
    keep_alive_s: float = 600.0  # between two requests
    connect_s: float = 3.0  # to an endpoint
    first_byte_s: float = 600.0  # until an answer begins: a prompt may be long, and wait for its turn at the server
    silence_s: float = 300.0  # between two pieces of an answer, whether the server or the client is slow
    linger_s: float = 2.0  # for a client to read why it was refused
    mirrored: int = 256  # copies of requests that are under way
    mirrored_bytes: int = 64 << 20  # of their bodies
    handshake_s: float = 10.0  # for the whole of a TLS handshake


_BOUNDS = Bounds()


class Connection(Protocol):
    """A client's, as the plane keeps it in sight. `rests_until`: before that time there is nothing to sweep."""

    rests_until: float

    @property
    def listening(self) -> "Listening | None": ...
    def sweep(self, now: float) -> None: ...
    def drain(self) -> None: ...
    def abort(self) -> None: ...


class Judge(Protocol):
    """Who is told how endpoints do. `failing`: those of which a success is to be told, too."""

    @property
    def failing(self) -> Collection[str]: ...
    def failed(self, endpoint: str, why: str, *, probe: bool = False) -> None: ...
    def passed(self, endpoint: str) -> None: ...


class Indifferent:
    """Judges nobody."""

    failing = ()

    def failed(self, endpoint: str, why: str, *, probe: bool = False) -> None: ...
    def passed(self, endpoint: str) -> None: ...


class Plane:
    """Owned by the edge: mutable, one for each event loop."""

    def __init__(
        self,
        ledger: Ledger,
        prefixes: PrefixIndex,
        done: Callable[[Record], None],
        bounds: Bounds = _BOUNDS,
        waited_for: Callable[[str], None] | None = None,
        judge: Judge | None = None,
        controls: Mapping[str, Control] = MappingProxyType({}),
    ) -> None:
        """`done` gets the record of each request that has ended, `waited_for` a pool that a request waits for.

        `controls` has the queues of those pools where requests queue.
        """
        self.ledger = ledger
        self.prefixes = prefixes
        self.done = done
        self.bounds = bounds
        self._waited_for = waited_for
        self.judge = judge or Indifferent()
        self.outbox = Outbox()
        self.held = Held(bounds.held)
        self.sent: Callable[[Forward], None] | None = None  # hears of what is sent, where somebody wants to
        self.turned_away = 0  # connections that were not even answered
        self.upstreams = Upstreams(self.outbox, bounds.connect_s)
        self.mirrors = Mirrors(self.upstreams, ledger, prefixes, bounds)
        self.decoding = Decoding()
        self.request_heads = Heads[tuple[RequestHead, bool]]()
        self.connections: set[Connection] = set()
        self.handshake_failures: dict[str, int] = {}  # of clients, by reason
        self.waiting = Waiting()
        self.queues = Queues(controls)
        self.now = monotonic()  # moves with the sweep, as the date does: good enough, and free to read
        self._second = int(time())
        self.date = formatdate(self._second, usegmt=True).encode()
        self.draining = False  # connections end after their next answer
        self.keep_alive_s = bounds.keep_alive_s  # for a connection's next request
        self._ids = count(1)
        self._id_prefix = os.urandom(6).hex().encode()
        self._sweeper: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None

    @property
    def closing(self) -> bool:
        """Whether connections without a request under way are to end now."""
        return self.draining and not self.keep_alive_s

    def left(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if self._drained is not None and not self.connections:
            self._drained.set()

    def next_id(self) -> bytes:
        """A request id: unique over processes and restarts."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    @property
    def parked(self) -> Mapping[str, Collection[Waiter]]:
        """The turns that wait, by pool."""
        return self.waiting.parked

    def park(self, pool: str, turn: Waiter, *, room: bool) -> None:
        """The turn waits for the pool to change, or for room in it."""
        self.waiting.park(pool, turn, room=room)
        if self._waited_for is not None:
            self._waited_for(pool)

    def queue(self, pool: str, turn: Waiter, ticket: Ticket) -> None:
        """The turn stands in the pool's queues."""
        self.queues.stand(pool, turn, ticket)
        if self._waited_for is not None:
            self._waited_for(pool)

    def wake(self, pool: str) -> None:
        """The pool has changed: who waits for it asks again."""
        self.queues.changed(pool)
        self.waiting.changed(pool)

    def judged_by(self, endpoint: str, status: int) -> None:
        """What its answer says of an endpoint. A good one says nothing new unless `judge.failing` has somebody."""
        if status in FAILED:
            self.judge.failed(endpoint, f"it answered {status}")
        else:
            self.judge.passed(endpoint)

    def start(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.mirrors.close()
        self.upstreams.close()

    def _sweep(self) -> None:
        self.start()
        now = self.now = monotonic()
        second = int(time())
        if second != self._second:
            self._second, self.date = second, formatdate(second, usegmt=True).encode()
        for connection in list(self.connections):
            if connection.rests_until <= now:
                connection.sweep(now)
        self.mirrors.sweep(now)
        for pool in list(self.waiting.crowded):  # copies, and requests of other processes, end without a word
            self.waiting.freed(pool)
        self.queues.sweep(now)
        self.upstreams.sweep(now)

    async def drain(self, grace: float, idle: float = 0.0) -> None:
        """Let what runs finish, for at most `grace` seconds; then end it.

        Connections without a request under way have `idle` seconds for their next one, and are told with its answer
        that it was the last: closing one just as a request comes would lose it.
        """
        self.draining = True
        self.keep_alive_s = idle
        self.queues.leaving()
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            self._drained = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._drained.wait()
        if self.queues.close(monotonic()) and self._drained is not None:
            with contextlib.suppress(TimeoutError):  # what they are told has to get to them
                async with asyncio.timeout(_FAREWELL_S):
                    await self._drained.wait()
        for connection in list(self.connections):
            connection.abort()
