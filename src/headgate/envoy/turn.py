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
from headgate.envoy.messages import (
    BUFFERED,
    BUFFERED_PARTIAL,
    FULL_DUPLEX,
    NONE,
    About,
    Answer,
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
from headgate.exchange.answer import read_answer
from headgate.exchange.body import with_model
from headgate.exchange.engaged import Engaged, engage
from headgate.exchange.events import (
    Answered,
    Asked,
    Command,
    Decode,
    Decoded,
    Ended,
    Evicted,
    Forward,
    Gone,
    Headers,
    Relay,
    Respond,
    Send,
    Wait,
    Woken,
)
from headgate.exchange.exchange import Exchange
from headgate.exchange.refuse import refuse
from headgate.exchange.request import RequestHead, read_request
from headgate.exchange.site import Site
from headgate.exchange.state import State

_COUNTED = 16 << 10  # bytes of a body from which on it is counted as held
_TOO_MUCH = refuse(503, "The picker holds as much as it may. Try again later.", code="overloaded")
_MODEL = b"x-gateway-model-name"


class Turn(Struct, eq=False):
    """`feed` it what the proxy tells; what it is told is among the `answers`, in order. `tell` is called where
    there is something to say that answers nothing.

    `waits`: it will be told later how to go on, and tells nothing more until then.
    """

    _site: Site
    _plane: Plane
    _options: Options
    tell: Callable[[], None]
    answers: list[Answer] = field(default_factory=list)
    waits: bool = False
    over: bool = False  # whatever else comes means nothing
    _begun: bool = False  # there is a head, and an exchange
    # As those want it who let requests wait (proxy.waiting.Waiter).
    ticket: int = 0
    queued: bool = False
    _exchange: Exchange = cast(Exchange, None)
    _about: About = About()
    _modes: Modes = Modes()
    _came: Headers = field(default_factory=list)
    _head: RequestHead = cast(RequestHead, None)
    _body: list[bytes] = field(default_factory=list)
    _held: int = 0
    _counted: int = 0
    _asked_with: bytes = b""
    _told: Phase | None = None  # what the destination is told in answer to, None as long as it is not
    _renamed: bool = False  # the body must go on with another model, and is kept until it is whole
    _trailers: bool = False  # they came, and end the body
    _pool: str = ""
    _timer: asyncio.TimerHandle | None = None
    _in_flight_at: str = ""
    _engaged: Engaged | None = None
    _edit: Callable[[bytes], bytes] | None = None

    @property
    def model(self) -> str:
        """That the server is asked for."""
        return self._exchange.record.target

    def feed(self, message: Message) -> None:
        """What there is to say to it is among the `answers` when this returns, unless it `waits`."""
        if not self.over:
            _FEED[message.phase](self, message)

    # The request.

    def _request_headers(self, message: Message) -> None:
        about = self._about = message.about
        if about.modes is not None:
            self._modes = about.modes
        self._begin(message.headers)
        mode = self._modes.request
        if message.end or mode not in (FULL_DUPLEX, BUFFERED, BUFFERED_PARTIAL) or self._head.switches:
            self._told = "request_headers"
            self._ask(b"")
        elif mode != FULL_DUPLEX:
            self.answers.append(Proceed("request_headers"))  # the body comes when this is there

    def _begin(self, headers: Headers) -> None:
        self._came = headers
        method = path = b""
        plain: Headers = []
        switches = False
        for pair in headers:
            name = pair[0]
            if name[:1] != b":":
                plain.append(pair)
                if name == b"upgrade":
                    switches = pair[1].lower() == b"websocket"
            elif name == b":method":
                method = pair[1]
            elif name == b":path":
                path = pair[1]
            elif name == b":authority":
                plain.append((b"host", pair[1]))
        self._head = read_request(method, path, plain, switches=switches)
        self._exchange = Exchange(self._site)
        self._begun = True

    def _request_body(self, message: Message) -> None:
        if not self._begun:
            self._about = message.about
            self._modes = message.about.modes or Modes(BUFFERED, NONE)
            self._begin(_from_attributes(message.about))
        data, mode = message.data, self._modes.request
        if self._told is not None:
            self._pass(message)
            return
        if mode in (BUFFERED, BUFFERED_PARTIAL):
            self._told = "request_body"
            whole = mode == BUFFERED or message.end
            self._ask(data if whole else b"")
            return
        self._keep(data)
        if message.end and not self.over:
            self._told = "request_headers"
            self._ask(b"".join(self._body))

    def _keep(self, data: bytes) -> None:
        plane = self._plane
        self._body.append(data)
        self._held += len(data)
        more = self._held - self._counted
        if more > _COUNTED:
            self._counted = self._held
            plane.held.change(more)
        limit = plane.bounds.body
        if self._held > limit:
            self._refuse(refuse(413, f"The body is larger than {limit} bytes.", code="body_too_large"))
        elif plane.held.over:
            self._refuse(_TOO_MUCH)

    def _refuse(self, refusal: Respond) -> None:
        """What the exchange has not even been asked about."""
        self._ask(b"", refusal)

    def _pass(self, message: Message) -> None:
        """A body, or a piece of one, behind a head that has gone on."""
        data, end = message.data, message.end
        self._exchange.record.bytes_in += len(data)
        if self._renamed:
            self._keep(data)
            data = b""
            if end:
                whole = b"".join(self._body)
                data = with_model(self._head.kind, whole, self.model) or whole
                self._body.clear()
        if self._modes.request == FULL_DUPLEX:
            self.answers.append(Piece("request_body", data, end))
        else:
            self.answers.append(Proceed("request_body", body=data if self._renamed else None))

    def _request_trailers(self, message: Message) -> None:
        self._trailers = True
        if self._told is None:
            self._told = "request_headers"
            self._ask(b"".join(self._body))
            if self.waits:
                return
        if not self.over:
            self.answers.append(Proceed("request_trailers"))

    def _ask(self, body: bytes, refusal: Respond | None = None) -> None:
        head, about = self._head, self._about
        model = "" if body else _model(self._came)
        if refusal is not None:
            head = replace(head, refusal=refusal)
        self._asked_with = body
        subset = about.subset
        if self._options.tests and (selected := hints.selection(self._came)) is not None:
            subset = selected
        self._do(
            self._exchange.feed(
                Asked(head, body, self._plane.next_id(), _peer(self._came), monotonic(), [], subset, model)
            )
        )

    def _do(self, command: Command) -> None:
        self.waits = False
        if type(command) is Forward:
            self._forward(command)
        elif type(command) is Respond:
            self._respond(command)
        elif type(command) is Wait:
            self.waits = True
            if not command.pool:
                self._wake_at(command.until)
                return
            self._pool = command.pool
            if command.ticket is None:
                self._wake_at(command.until)
                self._plane.park(command.pool, self, room=command.room)
            else:
                self._plane.queue(command.pool, self, command.ticket)
        elif type(command) is Decode:
            self.waits = True
            self._plane.decoding.begin(self, command.coding, command.body, self._plane.bounds.body)

    def decoded(self, done: Decoded) -> None:
        self._go_on(self._exchange.feed(replace(done, now=monotonic())))

    def _forward(self, command: Forward) -> None:
        self._take(command)
        exchange, options, told = self._exchange, self._options, self._told
        assert told is not None
        record = exchange.record
        decision = record.decisions[-1]
        view = self._site.pools[record.pool]
        where = hints.destination(decision, max(view.profile.destinations, options.destinations))
        body = command.body
        changed = body is not self._asked_with
        mutation = mutate.request(self._came, command.head, names_models=options.names_models)
        mutation.set.append((hints.DESTINATION.encode(), where.encode("latin-1")))
        if options.names_routes:
            mutation.set.append(hints.route(exchange.job.way))
        if told == "request_headers" and self._modes.request not in (FULL_DUPLEX, NONE) and not self._trailers:
            self._renamed = record.target != record.model and not body
        if self._renamed:
            mutation = Mutation(mutation.set, [*mutation.remove, b"content-length"])
        elif changed or (told == "request_headers" and body):
            mutation.set.append((b"content-length", b"%d" % len(body)))
        metadata = {hints.DESTINATION: where}
        if options.scores:
            metadata[hints.SCORES] = hints.scores(decision)
        override = None
        if told == "request_headers" and not exchange.job.way.counted:
            override = Override(self._modes.request, NONE, trailers=False)
        new = body if told == "request_body" and changed else None
        self.answers.append(Proceed(told, mutation, new, metadata, reroute=True, override=override))
        if told == "request_headers" and self._modes.request == FULL_DUPLEX and (body or self._body):
            self.answers += pieces("request_body", body, end=not self._trailers)
        self._body.clear()
        self._asked_with = b""
        self._let_go_of_bytes()

    def _respond(self, response: Respond) -> None:
        self.over = True
        written = self._options.refusal(response)
        self.answers.append(Immediate(written.status, written.headers, written.body, self._exchange.record.error))
        self._exchange.record.bytes_out = len(written.body)
        self._finish()

    # The ledger.

    def _take(self, command: Forward) -> None:
        plane = self._plane
        self._in_flight_at = name = command.endpoint.name
        plane.ledger.take(name)
        if command.burden is not None or command.helpers:
            self._engaged = engage(command, plane.ledger, plane.prefixes)
        if plane.queues.controls:
            self._exchange.may_be_told(self)
        plane.prefixes.record(command.rungs, name)
        if plane.sent is not None:
            plane.sent(command)

    def _give_back(self) -> None:
        if not self._in_flight_at:
            return
        plane, pool = self._plane, self._exchange.record.pool
        plane.ledger.give(self._in_flight_at)
        if self._engaged is not None:
            self._engaged.over()
        self._in_flight_at = ""
        if plane.waiting.crowded:
            plane.waiting.freed(pool)
        if plane.queues.controls:
            plane.queues.changed(pool)

    def _serve(self, served: str) -> None:
        """It was served there, which need not be where it was meant to go: a proxy takes the next one where it must."""
        record, view = self._exchange.record, self._site.pools.get(self._exchange.record.pool)
        if view is None or not self._in_flight_at or served == record.address:
            return
        other = next((one for one in view.standing.endpoints if one.hostport == served), None)
        if other is None:
            return
        ledger = self._plane.ledger
        self._plane.judge.failed(self._in_flight_at, "the proxy could not use it, and took another endpoint")
        ledger.give(self._in_flight_at)
        ledger.take(other.name)
        self._in_flight_at = record.endpoint = other.name
        record.tries += 1
        if record.ask is not None:
            self._plane.prefixes.record(record.ask.prefix, other.name)

    # The answer.

    def _response_headers(self, message: Message) -> None:
        exchange, headers, mode = self._exchange, message.headers, self._modes.response
        if not self._begun or exchange.state is not State.SENT:
            # The proxy, or somebody before us, has answered instead.
            self.answers.append(Proceed("response_headers"))
            if self._begun:
                self._leave()
            return
        served = message.about.served
        if served:
            self._serve(served)
        status = int(next((value for name, value in headers if name == b":status"), b"0"))
        plane = self._plane
        if status >= 500 or plane.judge.failing:
            plane.judged_by(self._in_flight_at, status)
        head = read_answer(status, [pair for pair in headers if pair[0][:1] != b":"])
        relay = exchange.feed(Answered(head, monotonic()))
        assert isinstance(relay, Relay)
        if self._engaged is not None and head.streamed:
            self._engaged.answered()
        self._edit = relay.edit
        mutation = mutate.response(headers, relay.lines)
        if self._edit is not None and relay.length is None and head.length is not None:
            mutation = Mutation(mutation.set, [*mutation.remove, b"content-length"])
        if self._options.tests:
            mutation.set.append(hints.WENT_THROUGH)
            if served:
                mutation.set.append((hints.TEST_SERVED, served.encode("latin-1")))
        override = None
        if mode != NONE and self._edit is None and not head.streamed and not message.end:
            override = Override(self._modes.request, NONE, trailers=False)
        self.answers.append(Proceed("response_headers", mutation, override=override))
        if message.end or mode == NONE or override is not None:
            # Of a body that is not looked at the end is not told either.
            exchange.record.bytes_out = 0 if message.end else head.length or 0
            self._end()

    def _response_body(self, message: Message) -> None:
        data, edit, mode = message.data, self._edit, self._modes.response
        edited = data if edit is None else edit(data)
        if message.end or mode == BUFFERED:
            edited += self._end()
        self._exchange.record.bytes_out += len(edited)
        if mode == FULL_DUPLEX:
            self.answers += pieces("response_body", edited, end=message.end)
        else:
            self.answers.append(Proceed("response_body", body=None if edited is data else edited))

    def _response_trailers(self, message: Message) -> None:
        rest = self._end()
        if rest and self._modes.response == FULL_DUPLEX:
            self.answers += pieces("response_body", rest, end=False)
        self.answers.append(Proceed("response_trailers"))

    def _end(self) -> bytes:
        """The answer is whole. What is left of its body."""
        exchange = self._exchange
        if exchange.state is not State.RELAYING:
            return b""
        rest = cast(Send, exchange.feed(Ended(monotonic()))).data
        self._finish()
        return rest

    def ended(self) -> None:
        """The proxy tells nothing more: all is said, or the client has left."""
        if self._begun and not self.over:
            self.over = True
            self._leave()

    def _leave(self) -> None:
        exchange = self._exchange
        if exchange.state is State.DONE:
            return
        self._unpark()
        self._plane.decoding.drop(self)
        if exchange.state is State.NEW:  # the body never came to its end
            exchange.record.asked_at = monotonic()
        exchange.feed(Gone(monotonic()))
        self._finish()

    def _finish(self) -> None:
        self._give_back()
        self._let_go_of_bytes()
        self._plane.done(self._exchange.record)

    def _let_go_of_bytes(self) -> None:
        if self._counted:
            self._plane.held.change(-self._counted)
            self._counted = 0

    # Time.

    def _wake_at(self, until: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(0.0, until - monotonic()), self.wake)

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
        self._give_back()
        self._go_on(self._exchange.feed(Evicted(monotonic())))

    def _go_on(self, command: Command) -> None:
        waited = self.waits
        self._do(command)
        if waited and self._trailers and not (self.waits or self.over):
            self.answers.append(Proceed("request_trailers"))
        if not self.waits:
            self.tell()


def _model(headers: Headers) -> str:
    """As somebody before has told it."""
    return next((value.decode("utf-8", "replace") for name, value in headers if name == _MODEL), "")


def _peer(headers: Headers) -> bytes:
    """The proxy adds its client's address to X-Forwarded-For."""
    told = next((value for name, value in headers if name == b"x-forwarded-for"), b"")
    return told.rpartition(b",")[2].strip()


def _from_attributes(about: About) -> Headers:
    """A head, where the proxy sends none: what its attributes tell."""
    told = about.attributes
    return [
        (b":method", told.get("request.method", "POST").encode("latin-1")),
        (b":path", told.get("request.path", "/").encode("latin-1")),
        (b":authority", told.get("request.host", "proxy").encode("latin-1")),
    ]


_FEED: dict[Phase, Callable[[Turn, Message], None]] = {
    "request_headers": Turn._request_headers,
    "request_body": Turn._request_body,
    "request_trailers": Turn._request_trailers,
    "response_headers": Turn._response_headers,
    "response_body": Turn._response_body,
    "response_trailers": Turn._response_trailers,
}
