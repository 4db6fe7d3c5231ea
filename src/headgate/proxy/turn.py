"""One request's turn on its client's connection: the exchange runs, servers are asked, the answer is written."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from msgspec import Struct, field
from msgspec.structs import replace

from headgate.exchange.answer import AnswerHead
from headgate.exchange.engaged import Engaged, engage
from headgate.exchange.events import (
    Answered,
    Command,
    Cut,
    Decode,
    Decoded,
    Ended,
    Evicted,
    Failed,
    Forward,
    Gone,
    Headers,
    Relay,
    Reply,
    Respond,
    Send,
    Wait,
    Whole,
    Woken,
)
from headgate.exchange.exchange import Exchange
from headgate.exchange.request import RequestHead
from headgate.exchange.trailers import end, passed_on
from headgate.proxy.answer import LAST_CHUNK, STATUS_LINES, SWITCHED, connection, ending, status_line, whole
from headgate.proxy.patience import overdue, reset
from headgate.proxy.sending import Reason, Sending
from headgate.proxy.tail import Tail
from headgate.proxy.tunnel import Tunnel

_PROBE = b"HTTP/1.1 "

if TYPE_CHECKING:
    from headgate.proxy.downstream import Downstream
    from headgate.proxy.plane import Plane


class Turn(Struct, eq=False):
    """Does what its exchange says; tells its connection when it is over. It is the `Owner` of what it sends.

    `keep_alive`: the connection goes on after the answer.
    """

    _client: "Downstream"
    _plane: "Plane"
    _transport: asyncio.Transport
    _exchange: Exchange
    _head: RequestHead
    keep_alive: bool
    _touched: float  # when anything last moved
    _sending: Sending | None = None
    _in_flight_at: str = ""  # the endpoint that the ledger counts this request for
    _engaged: Engaged | None = None  # what else it counts for
    _pool: str = ""  # the pool that it waits for
    ticket: int = 0  # its place among those that wait, once it did
    queued: bool = False  # it stands in a queue
    _deadline: float | None = None
    _timer: asyncio.TimerHandle | None = None  # for a wait of a time alone
    _edit: Callable[[bytes], bytes] | None = None
    _length: int | None = None
    _chunked: bool = False
    _out: list[bytes] = field(default_factory=list)
    _sent: int = 0
    _trailers: Headers | None = None
    _tunnel: Tunnel | None = None
    _tail: Tail | None = None  # of an event stream
    _probed: bool = False  # the beginning of the answer is out

    @property
    def model(self) -> str:
        """That the server is asked for."""
        return self._exchange.record.target

    @property
    def held(self) -> int:
        """Bytes of the request's body that are kept."""
        return self._exchange.held

    def do(self, command: Command) -> None:
        """It may be over when this returns."""
        if type(command) is Forward:
            self.forward(command)
        elif type(command) is Reply:
            self._reply(command)
        elif type(command) is Respond:
            self._respond(command)
        elif type(command) is Wait:
            if not command.pool:
                self._deadline = None
                self._timer = asyncio.get_running_loop().call_later(max(0.0, command.until - monotonic()), self.wake)
                return
            self._pool, self._deadline = command.pool, command.until
            if command.ticket is None:
                self._plane.park(command.pool, self, room=command.room)
            else:
                self._plane.queue(command.pool, self, command.ticket)
        elif type(command) is Decode:
            self._plane.decoding.begin(self, command.coding, command.body, self._plane.bounds.body)

    def decoded(self, done: Decoded) -> None:
        self.do(self._exchange.feed(replace(done, now=monotonic())))
        self._client.count()

    def forward(self, command: Forward) -> None:
        endpoint, plane = command.endpoint, self._plane
        self._deadline, self._touched = command.deadline, plane.now
        self._in_flight_at = name = endpoint.name
        plane.ledger.take(name)
        if command.burden is not None or command.helpers:
            self._engaged = engage(command, plane.ledger, plane.prefixes)
        if plane.queues.controls:
            self._exchange.may_be_told(self)
        plane.prefixes.record(command.rungs, name)
        if plane.sent is not None:
            plane.sent(command)
        no_body = self._head.method == b"HEAD"
        self._sending = plane.upstreams.send(
            self, endpoint, command.head, command.body, no_body, command.repeat, command.hold
        )
        if command.mirrors:
            plane.mirrors.send(command, no_body)

    def _respond(self, response: Respond) -> None:
        self.keep_alive = self.keep_alive and not response.close and not self._client.leaving
        framing = connection(self.keep_alive, self._head.http10)
        self._write(whole(response, self._head.method, self._plane.date, framing))
        self._sent = 0 if self._head.method == b"HEAD" else len(response.body)
        self._finish()

    def _write(self, data: bytes) -> None:
        if self._probed:
            self._probed, data = False, data.removeprefix(_PROBE)
        self._plane.outbox.write(self._transport, data)

    def _finish(self) -> None:
        record = self._exchange.record
        record.bytes_out = self._sent
        self._plane.done(record)
        self._client.turn_over()

    # From the server (proxy.upstream.Owner).

    def whole(self, answer: AnswerHead, body: bytes) -> None:
        now, plane = monotonic(), self._plane
        self._sending = None
        if answer.status >= 500 or plane.judge.failing:
            plane.judged_by(self._in_flight_at, answer.status)
        self._give_back()
        command = self._exchange.feed(Whole(answer, body, now))
        if type(command) is Reply:
            self._reply(command)
        else:
            self.do(command)

    def _reply(self, reply: Reply) -> None:
        body, client = reply.body, self._client
        self._sent = size = len(body)
        framing = b""
        if client.leaving or not self.keep_alive or self._head.http10:
            self.keep_alive = self.keep_alive and not client.leaving
            framing = connection(self.keep_alive, self._head.http10)
        start = STATUS_LINES.get(reply.status) or status_line(reply.status)
        self._write(b"%b%bcontent-length: %d\r\n%b\r\n%b" % (start, reply.lines, size, framing, body))
        self._finish()

    def answered(self, answer: AnswerHead) -> None:
        plane = self._plane
        if answer.status >= 500 or plane.judge.failing:
            plane.judged_by(self._in_flight_at, answer.status)
        command = self._exchange.feed(Answered(answer, monotonic()))
        if type(command) is not Relay:
            self._let_go()
            self.do(command)
            return
        if self._engaged is not None and answer.streamed:
            self._engaged.answered()
        self._edit = command.edit
        self._length = command.length
        self._tail = Tail() if answer.streamed else None
        if self._client.counted:
            self._client.count()
        framing, self._chunked, closes = ending(command.length, command.status, self._head)
        self.keep_alive = self.keep_alive and not (closes or self._client.leaving)
        told = connection(self.keep_alive, self._head.http10)
        self._out.append(b"%b%b%b%b\r\n" % (status_line(command.status), command.lines, framing, told))

    def body(self, data: bytes) -> None:
        self._touched = self._plane.now
        if self._edit is not None:
            data = self._edit(data)
            if not data:
                return
        tail = self._tail
        if tail is not None and (tail.pieces or not data.endswith(b"\n\n")):
            tail.follow(data)
        self._put(data)

    def chunk(self, data: bytes, framed: bytes, last: bool) -> None:
        plane = self._plane
        self._touched = plane.now
        edited = data if self._edit is None else self._edit(data)
        tail = self._tail
        if tail is not None and edited and (tail.pieces or not edited.endswith(b"\n\n")):
            tail.follow(edited)
        if edited is data and self._chunked:
            self._sent += len(data)
            if last and not (self._out or self._probed):
                plane.outbox.write(self._transport, framed)
                return
            self._out.append(framed)
        elif edited:
            self._put(edited)
        if last:
            self.flush()

    def _put(self, data: bytes) -> None:
        self._sent += len(data)
        self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def flush(self) -> None:
        out = self._out
        if out:
            self._write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def ended(self) -> None:
        self._sending = None
        self._give_back()
        rest = cast(Send, self._exchange.feed(Ended(monotonic()))).data
        if rest:
            self._put(rest)
        if self._chunked:
            self._out.append(end(passed_on(self._trailers)) if self._trailers else LAST_CHUNK)
        self.flush()
        self._finish()

    def interim(self, answer: AnswerHead) -> None:
        """HTTP/1.0 knows of none (RFC 9110 §15.2)."""
        self._touched = self._plane.now
        if not self._head.http10:
            self._write(b"%b%b\r\n" % (status_line(answer.status), answer.lines))

    def trailer(self, name: bytes, value: bytes) -> None:
        self._trailers = [*(self._trailers or ()), (name, value)]

    @property
    def switches(self) -> bool:
        return self._head.switches

    def switched(self, answer: AnswerHead, rest: bytes, transport: asyncio.Transport) -> None:
        """From here on it is a tunnel, until either side ends it. Times for an answer have been kept."""
        relay = cast(Relay, self._exchange.feed(Answered(answer, monotonic())))
        self._sending = self._deadline = None
        self._length = 0  # for `_cut`: with a tunnel nothing is whole, so that nothing could look whole
        self._write(b"%b%b%b" % (status_line(answer.status), relay.lines, SWITCHED))
        self._plane.outbox.flush()
        self._tunnel = Tunnel(self, self._client, transport)
        self._tunnel.open(rest)

    def tunnelled(self, inward: int, outward: int) -> None:
        """So many bytes went through the tunnel, from the client and to it."""
        self._touched = self._plane.now
        self._exchange.record.bytes_in += inward
        self._sent += outward

    def failed(self, reason: Reason, detail: str) -> None:
        self._plane.judge.failed(self._in_flight_at, f"{reason}: {detail}")
        self._fail(reason, detail)

    def _fail(self, reason: Reason, detail: str) -> None:
        self._sending = None
        self._give_back()
        unfinished = b"" if self._tail is None else self._tail.text
        command = self._exchange.feed(Failed(reason, detail, monotonic(), unfinished))
        if type(command) is Cut:
            self._cut(command)
        else:
            self.do(command)

    def _cut(self, command: Cut) -> None:
        """The client must see that the answer is not whole: by an event, or by an end that comes too early."""
        self.keep_alive = False
        told = bool(command.data) and self._length is None
        if told:
            self._put(command.data)
            if self._chunked:
                self._out.append(LAST_CHUNK)
        self.flush()
        # What only the end of the connection ends would be complete with any other end than a reset.
        if not (told or self._chunked or self._length is not None or self._transport.is_closing()):
            # Before anybody closes it in an orderly way: by TLS that is said aloud.
            self._plane.outbox.flush()
            reset(self._transport)
        self._finish()

    def _give_back(self) -> None:
        if self._in_flight_at:
            plane = self._plane
            plane.ledger.give(self._in_flight_at)
            if self._engaged is not None:
                self._engaged.over()
            self._in_flight_at = ""
            if plane.waiting.crowded:
                plane.waiting.freed(self._exchange.record.pool)
            if plane.queues.controls:
                plane.queues.changed(self._exchange.record.pool)

    def _let_go(self) -> None:
        """Of what runs at a server; it must notice, so that it can free what it holds."""
        self._give_back()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.abort()
        if self._tunnel is not None:
            self._tunnel.close()

    # From the client.

    def gone(self) -> None:
        """The client has left."""
        self._let_go()
        self._unpark()
        self._plane.decoding.drop(self)
        self._exchange.feed(Gone(monotonic()) if self._tunnel is None else Ended(monotonic()))
        self._exchange.record.bytes_out = self._sent
        self._plane.done(self._exchange.record)

    def probe(self) -> None:
        """Write what any answer goes on with, so that a client that is gone says so (RFC 9293 §3.10.7.1)."""
        if not self._exchange.record.answered_at:
            self._probed = True
            self._plane.outbox.write(self._transport, _PROBE)
        elif self._chunked:
            self._plane.outbox.write(self._transport, b"0")  # a size may begin with any number of them

    def pause(self) -> None:
        """The client reads slowly: so does the gateway, from the server."""
        if self._sending is not None:
            self._sending.pause()

    def resume(self) -> None:
        self._touched = self._plane.now
        if self._sending is not None:
            self._sending.resume()

    # Time.

    def _unpark(self) -> None:
        self._deadline = None
        if self._pool:
            self._plane.waiting.unpark(self._pool, self)
            self._pool = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """What it waits for has changed, or its time is over."""
        self._unpark()
        self.do(self._exchange.feed(Woken(monotonic())))

    def evict(self) -> None:
        """Another request needs its place at the server; nothing of an answer has gone to the client."""
        self._unpark()
        self._let_go()
        self.do(self._exchange.feed(Evicted(monotonic())))

    def sweep(self, now: float, *, paused: bool) -> None:
        """`paused`: the client takes nothing at the moment."""
        begun = bool(self._exchange.record.answered_at)
        if self._deadline is not None and now >= self._deadline:
            if self._pool:
                self.wake()
            else:  # a long answer that was coming is not the server's fault
                self._time_out("", blame=not begun)
        elif self._sending is None and self._tunnel is None:
            return
        elif late := overdue(now - self._touched, self._plane.bounds, begun=begun):
            if begun and paused:
                self._transport.abort()
            else:
                self._time_out(late, blame=True)

    def _time_out(self, detail: str, *, blame: bool) -> None:
        if blame:
            self._plane.judge.failed(self._in_flight_at, detail or "it did not answer in time")
        self._let_go()
        self._fail("timeout", detail)
