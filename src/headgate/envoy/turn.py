"""One request's turn: what the proxy tells goes into the exchange, and what that says is put as the proxy takes it.

The destination is told as soon as the body is known, which is where the model stands. Where bodies are streamed through
(STREAMED, NONE) the head must go on before: then the model is what `X-Gateway-Model-Name` says.

Sources: Endpoint Picker Protocol v1.0.0; envoy.service.ext_proc.v3.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import cast

from msgspec import Struct, field
from msgspec.structs import replace

from headgate.envoy import hints, mutate
from headgate.envoy.chunks import pieces
from headgate.envoy.gathering import Gathering, Later
from headgate.envoy.heads import Heads, Told, from_attributes, told_model
from headgate.envoy.messages import (
    BUFFERED,
    BUFFERED_PARTIAL,
    FULL_DUPLEX,
    GATHERED,
    NONE,
    RETURNED,
    About,
    Answer,
    Disorder,
    Immediate,
    Message,
    Modes,
    Mutation,
    Override,
    Phase,
    Piece,
    Proceed,
)
from headgate.envoy.options import Options
from headgate.envoy.plane import Plane
from headgate.envoy.relaying import Relaying
from headgate.envoy.under_way import UnderWay
from headgate.exchange.body import with_model
from headgate.exchange.events import (
    Asked,
    Command,
    Decode,
    Decoded,
    Evicted,
    Forward,
    Gone,
    Headers,
    Respond,
    Wait,
    Woken,
)
from headgate.exchange.exchange import Exchange
from headgate.exchange.record import Record
from headgate.exchange.site import Site
from headgate.exchange.state import State

_DESTINATION = hints.DESTINATION.encode()
_COUNTED = 16 << 10  # bytes of a body from which on it counts as held


def _nobody() -> None: ...


class Turn(Struct, eq=False):
    """`feed` it what the proxy tells; what it is told is among the `answers`, in order.

    Once it is `over` there is nothing more to say.
    """

    _site: Site
    _plane: Plane
    _options: Options
    _heads: Heads
    answers: list[Answer] = field(default_factory=list)
    over: bool = False
    settled: bool = False  # it is, as far as anybody counts
    waits: bool = False
    # As those want it who let requests wait (proxy.waiting.Waiter).
    ticket: int = 0
    queued: bool = False
    _later: Later | None = None  # what came while it waited
    _exchange: Exchange = cast(Exchange, None)
    _under_way: UnderWay = cast(UnderWay, None)
    _relaying: Relaying | None = None
    _about: About = About()
    _modes: Modes = Modes()
    _came: Headers = field(default_factory=list)
    _told: Told | None = None  # the head; None as long as there is none
    _body: Gathering | None = None
    _asked_with: bytes = b""
    _answering: Phase | None = None  # which message the destination is told in answer to, once that is known
    _bodied: bool = False  # there is a body, be it an empty one
    _renamed: bool = False  # the body must go on with another model, and is kept until it is whole
    _trailers: bool = False  # they end the body
    _pool: str = ""
    _timer: asyncio.TimerHandle | None = None
    _tell: Callable[[], None] = _nobody

    @property
    def model(self) -> str:
        """That the server is asked for."""
        return self._exchange.record.target

    @property
    def record(self) -> Record | None:
        """None as long as there is no request."""
        return None if self._told is None else self._exchange.record

    def heard_by(self, tell: Callable[[], None]) -> None:
        """`tell` is called where there is something to say that answers nothing."""
        self._tell = tell

    def feed(self, message: Message) -> None:
        """What there is to say to it is among the `answers` when this returns, unless it `waits`. Raises Disorder."""
        if self.waits:
            self._keep(message)
        elif not self.over:
            _FEED[message.phase](self, message)

    def _keep(self, message: Message) -> None:
        """It waits, and its proxy goes on."""
        self._later = self._later or Later(self._plane, trailers=self._trailers)
        if (refusal := self._later.add(message)) is not None:
            self.waits = False
            self._leave()
            self._respond(refusal)

    # The request.

    def _request_headers(self, message: Message) -> None:
        if self._told is not None:
            raise Disorder("a second head of one request")
        self._begin(message.headers, message.about)
        mode = self._modes.request
        assert self._told is not None
        if message.end or mode not in GATHERED or self._told.known.head.switches:
            self._answering = "request_headers"
            self._ask(b"")
        elif mode != FULL_DUPLEX:
            self.answers.append(Proceed("request_headers"))  # the body comes when this is there

    def _begin(self, headers: Headers, about: About) -> None:
        self._about = about
        if about.modes is not None:
            self._modes = about.modes
        self._came = headers
        self._told = self._heads.read(headers)
        self._exchange = Exchange(self._site)
        self._under_way = UnderWay(self._plane)

    def _request_body(self, message: Message) -> None:
        if self._told is None:
            self._begin(from_attributes(message.about), message.about)
        data, mode = message.data, self._modes.request
        self._bodied = True
        if self._answering is not None:
            self._pass(message)
        elif mode in (BUFFERED, BUFFERED_PARTIAL):
            self._answering = "request_body"
            if len(data) >= _COUNTED:
                self._gather(data)
            if not self.over:
                self._ask(data if mode == BUFFERED or message.end else b"")
        elif self._body is None and message.end:
            self._answering = "request_headers"
            self._ask(data)
        else:
            self._gather(data)
            if message.end and not self.over:
                self._ask_with_all()

    def _gather(self, data: bytes) -> None:
        body = self._body
        if body is None:
            body = self._body = Gathering(self._plane)
        refusal = body.add(data)
        if refusal is not None:
            self._ask(b"", refusal)

    def _ask_with_all(self) -> None:
        self._answering = "request_headers"
        self._ask(b"" if self._body is None else self._body.whole())

    def _pass(self, message: Message) -> None:
        """A body, or a piece of one, behind a head that has gone on."""
        data, end = message.data, message.end
        self._exchange.record.bytes_in += len(data)
        renamed = self._renamed
        if renamed:
            self._gather(data)
            data = b""
            if self.over:
                return
            if end and self._body is not None:
                whole = self._body.whole()
                data = with_model(b"application/json", whole, self.model) or whole
                self._body.let_go()
        if self._modes.request == FULL_DUPLEX:
            self.answers.append(Piece("request_body", data, end))
        else:
            self.answers.append(Proceed("request_body", body=data if renamed else None))

    def _request_trailers(self, message: Message) -> None:
        if self._told is None or self._trailers:
            raise Disorder("trailers of a request without a head, or for the second time")
        self._trailers = True
        if self._answering is None:
            self._ask_with_all()
        if not (self.waits or self.over):
            self.answers.append(Proceed("request_trailers"))

    def _ask(self, body: bytes, refusal: Respond | None = None) -> None:
        told, about = self._told, self._about
        if told is None or self.settled:
            raise Disorder("more of a request that was answered before it was here")
        head, subset = told.known.head, about.subset if self._options.subsets else None
        if refusal is not None:
            head = replace(head, refusal=refusal)
        if self._options.tests and (selected := hints.selection(self._came)) is not None:
            subset = selected
        self._asked_with = body
        model = "" if body else told_model(self._came)
        identity, now = told.id or self._plane.next_id(), monotonic()
        returns = self._modes.response in RETURNED
        self._do(self._exchange.feed(Asked(head, body, identity, told.peer, now, [], subset, model, returns)))
        if self._options.decided is not None and not self.waits:
            self._options.decided(monotonic() - now)

    def _do(self, command: Command) -> None:
        self.waits = False
        if type(command) is Forward:
            self._forward(command)
        elif type(command) is Respond:
            self._respond(command)
        elif type(command) is Wait:
            self.waits = True
            if command.ticket is None:
                delay = max(0.0, command.until - monotonic())
                self._timer = asyncio.get_running_loop().call_later(delay, self.wake)
            self._pool = command.pool
            if command.ticket is not None:
                self._plane.queue(command.pool, self, command.ticket)
            elif command.pool:
                self._plane.park(command.pool, self, room=command.room)
        elif type(command) is Decode:
            self.waits = True
            self._plane.decoding.begin(self, command.coding, command.body, self._plane.bounds.body)

    def decoded(self, done: Decoded) -> None:
        self._go_on(self._exchange.feed(replace(done, now=monotonic())))

    def _forward(self, command: Forward) -> None:
        self._under_way.begin(command, self._exchange, self)
        record, options, phase, mode = self._exchange.record, self._options, self._answering, self._modes.request
        assert phase is not None
        decision, body = record.decisions[-1], command.body
        count = max(self._site.pools[record.pool].profile.destinations, options.destinations)
        where = hints.destination(decision, count)
        changed, whole = body is not self._asked_with, phase == "request_body" or mode == FULL_DUPLEX
        mutation = self._mutation(command)
        mutation.set.append((_DESTINATION, where.encode("latin-1")))
        if options.own:
            mutation.set.extend(hints.told_to_our_own(self._site, self._exchange))
        self._renamed = not whole and mode != NONE and record.target != record.model
        if changed:
            mutation.set.append((b"content-length", b"%d" % len(body)))
        elif self._renamed:
            mutation = Mutation(mutation.set, (*mutation.remove, b"content-length"))
        metadata = {hints.DESTINATION: where}
        if options.scores:
            metadata[hints.SCORES] = hints.scores(decision)
        override = None
        if phase == "request_headers" and not self._exchange.job.way.counted:
            override = Override(mode, NONE, trailers=False)
        new = body if phase == "request_body" and changed else None
        self.answers.append(Proceed(phase, mutation, new, metadata, reroute=True, override=override))
        if phase == "request_headers" and mode == FULL_DUPLEX and self._bodied:
            self.answers += pieces("request_body", body, end=not self._trailers)
        self._let_go_of_body()

    def _mutation(self, command: Forward) -> Mutation:
        told, exchange = self._told, self._exchange
        assert told is not None
        known, way, record = told.known, exchange.job.way, exchange.record
        dressed = way.edited or way.gate is not None or command.helpers or known.head.encoding
        if dressed or self._site.pools[record.pool].ray:
            return mutate.request(self._came, command.head)
        dropped = known.dropped
        if way.counted and known.head.compressions:
            dropped = (*dropped, b"accept-encoding")
        return Mutation([] if told.id else [(b"x-request-id", record.id.encode("latin-1"))], dropped)

    def _respond(self, response: Respond) -> None:
        self.over = True
        written = self._options.refusal(response)
        record = self._exchange.record
        self.answers.append(Immediate(written.status, written.headers, written.body, record.error))
        if not self.settled:
            record.bytes_out = len(written.body)
            self._finish()

    # The answer.

    def _response(self, message: Message) -> None:
        relaying = self._relaying
        if relaying is None:
            if self._told is None or self._exchange.state is not State.SENT:
                self._foreign(message)
                return
            relaying = self._relaying = Relaying(self._exchange, self._under_way, self._modes, self._options)
        self.answers += relaying.feed(message)
        if relaying.whole and not self.settled:
            self._finish()

    def _foreign(self, message: Message) -> None:
        """The proxy, or somebody before us, has answered instead: the request may not even have come here."""
        self._modes = message.about.modes or self._modes
        if message.phase == "response_body" and self._modes.response == FULL_DUPLEX:
            self.answers += pieces("response_body", message.data, end=message.end)
        else:
            self.answers.append(Proceed(message.phase))
        self._leave()

    # The end.

    def ended(self) -> None:
        """The proxy tells nothing more: all is said, or the client has left."""
        if not self.over:
            self.over = True
            self._leave()

    def _leave(self) -> None:
        if self._told is None or self.settled:
            return
        exchange = self._exchange
        self._unpark()
        self._plane.decoding.drop(self)
        exchange.record.asked_at = exchange.record.asked_at or monotonic()  # it never came to that
        exchange.feed(Gone(monotonic()))
        self._finish()

    def _finish(self) -> None:
        self.settled = True
        self._under_way.over(self._exchange.record.pool)
        self._let_go_of_body()
        if self._later is not None:
            self._later.take()
        self._plane.done(self._exchange.record)

    def _let_go_of_body(self) -> None:
        self._asked_with = b""
        if self._body is not None:
            self._body.let_go()

    # Time.

    def _unpark(self) -> None:
        if self._pool:
            self._plane.waiting.unpark(self._pool, self)
            self._pool = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """What it waits for has changed, or its time is over."""
        self._unpark()
        self._go_on(self._exchange.feed(Woken(monotonic())))

    def evict(self) -> None:
        """Another request needs its place at the server; nothing of an answer has gone to the client."""
        self._unpark()
        self._under_way.over(self._exchange.record.pool)
        self._go_on(self._exchange.feed(Evicted(monotonic())))

    def _go_on(self, command: Command) -> None:
        self._do(command)
        if self.waits:
            return
        if self._trailers and not self.over:
            self.answers.append(Proceed("request_trailers"))
        later, self._later = self._later, None
        if later is not None:
            for message in later.take():
                self.feed(message)
        self._tell()


_FEED: dict[Phase, Callable[[Turn, Message], None]] = {
    "request_headers": Turn._request_headers,
    "request_body": Turn._request_body,
    "request_trailers": Turn._request_trailers,
    "response_headers": Turn._response,
    "response_body": Turn._response,
    "response_trailers": Turn._response,
}
