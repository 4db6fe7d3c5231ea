"""The vocabulary of an exchange: events go in, one command comes out for each.

    Asked ──→ Forward | Wait | Respond         the request is whole
              or Decode                        and its body has to be read, and is compressed:
    Decoded → Forward | Wait | Respond         what came of it
    Woken ──→ Forward | Wait | Respond         the pool has changed, or the time of a Wait is over
    Whole ───→ Reply | Forward | Wait          the server's answer is here, all of it
    Answered → Relay | Forward | Wait          or its status and headers are, and then:
    Ended ───→ Send                            the answer's body is whole
    Failed ──→ Forward | Wait | Respond | Cut  the server can't be reached, reset, or took too long
    Evicted ─→ Respond                         another request needs its place at the server
    Gone ────→ Abort                           the client went away

Headers are (name, value) pairs of bytes, names in lower case. Times are seconds of one monotonic clock.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint
from headgate.pick.wants import Burden

if TYPE_CHECKING:
    from headgate.exchange.answer import AnswerHead
    from headgate.exchange.request import RequestHead
    from headgate.flow.ticket import Ticket

Headers = list[tuple[bytes, bytes]]


class Asked(Struct, frozen=True, gc=False):
    """A request with its whole body. `peer` is the client's address, `id` is used where the client sent none.

    `trailers` came behind the body. Somebody before may have found out which of the endpoints can be reached (`subset`,
    None all), and, where the body does not come this way, its `model`. Unless it `returns`, the answer does not.
    """

    head: "RequestHead"
    body: bytes
    id: bytes
    peer: bytes = b""
    now: float = 0.0
    trailers: Headers = []
    subset: frozenset[str] | None = None
    model: str = ""
    returns: bool = True


class Decoded(Struct, frozen=True, gc=False):
    """The body without its coding, or why it has none: `error`, and the `status` to refuse it with."""

    body: bytes = b""
    error: str = ""
    status: int = 0
    now: float = 0.0


class Woken(Struct, frozen=True, gc=False):
    now: float = 0.0


class Answered(Struct, frozen=True, gc=False):
    head: "AnswerHead"
    now: float = 0.0


class Whole(Struct, frozen=True, gc=False):
    head: "AnswerHead"
    body: bytes
    now: float = 0.0


class Ended(Struct, frozen=True, gc=False):
    now: float = 0.0


class Failed(Struct, frozen=True, gc=False):
    """`refused`: no connection. `reset`: it broke. `timeout`: it took longer than it may. `garbage`: not HTTP.
    `untrusted`: by TLS it is not who it must be. `unfinished` is what the client was sent of an event stream since the
    last event that was whole. A timeout without `detail` is that of a Forward's deadline.
    """

    reason: Literal["refused", "reset", "timeout", "garbage", "untrusted"]
    detail: str = ""
    now: float = 0.0
    unfinished: bytes = b""


class Evicted(Struct, frozen=True, gc=False):
    """Its ticket says so; nothing of an answer has gone to the client, and nothing runs at a server any more."""

    now: float = 0.0


class Gone(Struct, frozen=True, gc=False):
    now: float = 0.0


Event = Asked | Decoded | Woken | Whole | Answered | Ended | Failed | Evicted | Gone


class Decode(Struct, frozen=True, gc=False):
    """Undo the coding of this body (`exchange.inflate`), and feed what comes of it."""

    coding: str
    body: bytes


class Helper(Struct, frozen=True, gc=False):
    """An endpoint that works on a request for the one that it is sent to, which asks it, until that answers."""

    endpoint: str
    burden: Burden | None = None
    prefills: bool = False  # it will know the prompt


class Forward(Struct, frozen=True, gc=False):
    """Send this request to this endpoint. `deadline` is a time or None; `rungs` are for the prefix index.

    With `repeat` it may be sent a second time when a kept connection turns out to be closed: doing it twice is no harm.
    `mirrors` get a copy each, and nobody waits for what they say. With `hold` a stream counts as answered from its
    first byte on, not from its head: until then it can be asked for elsewhere. `burden` are the tokens that it counts
    for at the endpoint, None where nobody counts them.
    """

    endpoint: Endpoint
    head: bytes  # request line and headers, with the empty line
    body: bytes
    rungs: tuple[tuple[int, int], ...] = ()
    deadline: float | None = None
    repeat: bool = True
    mirrors: tuple[Endpoint, ...] = ()
    hold: bool = False
    burden: Burden | None = None
    helpers: tuple[Helper, ...] = ()


class Wait(Struct, frozen=True, gc=False):
    """Nobody can serve this now: wake it when the pool changes, and at `until` at the latest.

    Without a pool it is the time alone that it waits for. With `room` those who could serve it have as many requests as
    they may: it is woken when one of them ends, in its turn. With a `ticket` it stands in the pool's queues: it is
    woken when that is decided on, and at `until`.
    """

    pool: str
    until: float
    room: bool = False
    ticket: "Ticket | None" = None


class Respond(Struct, frozen=True, gc=False):
    """Answer the client from here. `headers` has no content-length yet; `close` ends the connection afterwards.

    `error` is for the record: what is wrong, "" when nothing is.
    """

    status: int
    headers: Headers
    body: bytes
    close: bool = False
    error: str = ""


class Relay(Struct, frozen=True, gc=False):
    """Pass the answer on. `lines` are its headers as they go over the wire, without framing and hop-by-hop ones.

    `length` is the body's length when it is known and stays as it is. Each piece of the body goes through `edit`, where
    there is one, which says what may be sent now; what it held back comes with the Send that answers Ended.
    """

    status: int
    lines: bytes
    length: int | None
    edit: Callable[[bytes], bytes] | None = None


class Reply(Struct, frozen=True, gc=False):
    """The whole answer; `lines` as in Relay."""

    status: int
    lines: bytes
    body: bytes


class Send(Struct, frozen=True, gc=False):
    """The rest of the body; may be empty."""

    data: bytes


class Cut(Struct, frozen=True, gc=False):
    """The answer has begun and can't be finished: `data` (an SSE error event, or nothing), then close."""

    data: bytes


class Abort(Struct, frozen=True, gc=False):
    """Stop what runs at the server."""


Command = Decode | Forward | Wait | Respond | Reply | Relay | Send | Cut | Abort
