"""What all requests of one process share, as the edge keeps it: who is in flight where, who waits, who is told."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from headgate.envoy.http2.call import Held
from headgate.exchange.events import Decoded, Forward
from headgate.exchange.record import Record
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.control import Control
from headgate.flow.ticket import Ticket

if TYPE_CHECKING:
    from headgate.envoy.turn import Turn


class Reader(Protocol):
    """Whose compressed body is read."""

    def decoded(self, done: Decoded) -> None: ...


class Decoding(Protocol):
    """Undoes codings, without holding up others."""

    def begin(self, turn: Reader, coding: str, body: bytes, limit: int) -> None: ...
    def drop(self, turn: Reader) -> None: ...


class Bounds(Protocol):
    """`body`: bytes that one may have."""

    @property
    def body(self) -> int: ...


class Waiting(Protocol):
    """Turns that wait for their pool; `crowded` has pools where some wait for room."""

    @property
    def crowded(self) -> Collection[str]: ...
    def unpark(self, pool: str, turn: "Turn") -> None: ...
    def freed(self, pool: str) -> None: ...


class Queues(Protocol):
    """Turns that stand in the queues of their pools."""

    @property
    def controls(self) -> Mapping[str, Control]: ...
    def changed(self, pool: str) -> None: ...


class Judge(Protocol):
    """Who is told how endpoints do. `failing`: those of which a success is to be told, too."""

    @property
    def failing(self) -> Collection[str]: ...
    def failed(self, endpoint: str, why: str) -> None: ...


class Budget(Protocol):
    """How much may be held."""

    @property
    def held(self) -> Held: ...
    @property
    def bounds(self) -> Bounds: ...


class Plane(Budget, Protocol):
    """The native data plane's is one: the two share all that is not bytes."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def prefixes(self) -> PrefixIndex: ...
    @property
    def sent(self) -> Callable[[Forward], None] | None: ...
    @property
    def decoding(self) -> Decoding: ...
    @property
    def waiting(self) -> Waiting: ...
    @property
    def queues(self) -> Queues: ...
    @property
    def judge(self) -> Judge: ...
    @property
    def done(self) -> Callable[[Record], None]: ...
    def next_id(self) -> bytes: ...
    def park(self, pool: str, turn: "Turn", *, room: bool) -> None: ...
    def queue(self, pool: str, turn: "Turn", ticket: Ticket) -> None: ...
    def judged_by(self, endpoint: str, status: int) -> None: ...
