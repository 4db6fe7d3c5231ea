"""A client's connection: the exchanges of its requests, one after the other, and their answers in the same order."""

import asyncio
import socket
import struct
from time import monotonic
from typing import cast

from headgate.exchange.events import (
    Answered,
    Asked,
    Chunk,
    Command,
    Cut,
    Ended,
    Failed,
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
from headgate.exchange.site import Site
from headgate.proxy.answer import CONTINUE, LAST_CHUNK, bodiless, connection, head, whole
from headgate.proxy.plane import Plane
from headgate.proxy.reader import RequestReader
from headgate.proxy.upstream import Reason, Sending

_WRITE_AHEAD = 256 << 10  # bytes held for a client that reads slowly, before the server is made to wait
_READ_AHEAD = 1 << 20  # bytes of bodies held for requests that wait for the answer to one before


class Listening:
    """One socket address. `site` is replaced when the plan changes; requests that run keep the one they began with."""

    def __init__(self, plane: Plane, site: Site) -> None:
        self.plane = plane
        self.site = site
        self.closed = False

    def close(self) -> None:
        """Connections end as soon as they have nothing under way."""
        self.closed = True
        for client in list(self.plane.connections):
            if client.listening is self:
                client.drain()

    def accept(self) -> "Downstream":
        return Downstream(self)


class Downstream(asyncio.Protocol):
    """`_exchange` is the one that runs. `_ending`: nothing more is taken, what is written goes out, then it closes."""

    __slots__ = (
        "_began",
        "_chunked",
        "_deadline",
        "_edit",
        "_ending",
        "_exchange",
        "_http10",
        "_in_flight_at",
        "_keep_alive",
        "_method",
        "_out",
        "_paused",
        "_pool",
        "_proceeding",
        "_reader",
        "_reading",
        "_refusal",
        "_sending",
        "_sent",
        "_touched",
        "listening",
        "plane",
        "transport",
    )

    _reader: RequestReader
    transport: asyncio.Transport

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.plane = listening.plane
        self._exchange: Exchange | None = None
        self._sending: Sending | None = None
        self._refusal: Respond | None = None
        self._in_flight_at = ""  # the endpoint that the ledger counts this connection's request for
        self._pool = ""  # the pool that the request waits for
        self._deadline: float | None = None
        self._out: list[bytes] = []
        self._sent = 0
        self._began = self._touched = self.plane.now
        self._reading = True
        self._proceeding = self._paused = self._ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_AHEAD)
        peer = transport.get_extra_info("peername")
        address = peer[0].encode() if isinstance(peer, tuple) else b"unix"
        self._reader = RequestReader(self.plane.bounds, address, self.plane.next_id)
        self.plane.connections.add(self)

    # Requests in.

    def data_received(self, data: bytes) -> None:
        if self._ending or self._refusal is not None:
            return  # read all the same: closing with bytes unread would take the answer from the client
        self._touched = self.plane.now
        if not self._reader.busy:
            self._began = self._touched
        self._refusal = self._reader.feed(data)
        self._proceed()

    def _proceed(self) -> None:
        """Begin what waits, in the order in which it came, as far as that can be done now."""
        if self._proceeding:
            return
        self._proceeding = True
        requests = self._reader.requests
        while requests and self._exchange is None and not self._paused and not self._ending:
            asked, self._keep_alive = requests.popleft()
            self._begin(asked)
        self._proceeding = False
        if requests or not self._reading:
            self._read_on()
        if self._exchange is None and not requests and not self._ending:
            self._rest()

    def _rest(self) -> None:
        """Every request that is whole has been answered."""
        reader = self._reader
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif reader.expects:
            reader.expects = False
            self.transport.write(CONTINUE)
        elif not reader.busy and self._leaving():
            self._end()

    def _read_on(self) -> None:
        """Take more from the client, unless it has asked for much that is not answered yet.

        While it does not read, the gateway can't see that the client has left; few clients ever get that far.
        """
        requests = self._reader.requests
        wanted = len(requests) < self.plane.bounds.pipelined and sum(len(r.body) for r, _ in requests) <= _READ_AHEAD
        if wanted is not self._reading and not self.transport.is_closing():
            self._reading = wanted
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()

    def _leaving(self) -> bool:
        return self.plane.draining or self.listening.closed

    def _refuse(self, refusal: Respond) -> None:
        """Answer what is no request. The client may still be sending it: it is heard out, so that it reads this."""
        request_id = self.plane.next_id()
        record = self._reader.record(refusal, request_id)
        framing = (b"x-request-id: %b" % request_id, *connection(keep_alive=False, http10=False))
        self.transport.write(whole(refusal, record.method.encode(), self.plane.date, *framing))
        self._ending = True
        if self.transport.can_write_eof():
            self.transport.write_eof()  # the sweep closes it, if the client does not
        else:
            self.transport.close()
        self.plane.done(record)

    # The exchange.

    def _begin(self, asked: Asked) -> None:
        self._method, self._http10 = asked.method, asked.http10
        self._sent = 0
        exchange = self._exchange = Exchange(self.listening.site)
        self._do(exchange.feed(asked))

    def _do(self, command: Command) -> None:
        if type(command) is Forward:
            self._forward(command)
        elif type(command) is Respond:
            self._respond(command)
        elif type(command) is Wait:
            self._pool, self._deadline = command.pool, command.until
            self.plane.park(command.pool, self)

    def _forward(self, command: Forward) -> None:
        name = self._in_flight_at = command.endpoint.name
        plane = self.plane
        self._deadline = command.deadline
        plane.ledger.take(name)
        plane.prefixes.record(command.rungs, name)
        self._sending = plane.upstreams.send(
            self,
            command.endpoint,
            command.head,
            command.body,
            no_body=self._method == b"HEAD",
            repeat=command.repeat,
        )

    def _respond(self, response: Respond) -> None:
        self._keep_alive = self._keep_alive and not (response.close or self._leaving())
        framing = connection(keep_alive=self._keep_alive, http10=self._http10)
        self.transport.write(whole(response, self._method, self.plane.date, *framing))
        self._sent = 0 if self._method == b"HEAD" else len(response.body)
        self._finish()

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self._deadline = None
        self._began = self._touched = self.plane.now
        exchange.record.bytes_out = self._sent
        self.plane.done(exchange.record)
        if self._keep_alive:
            self._proceed()
        else:
            self._end()

    def _end(self) -> None:
        self._ending = True
        self._touched = self.plane.now
        self._reader.requests.clear()
        self.transport.close()

    # From the server (proxy.upstream.Owner).

    def answered(self, status: int, headers: Headers) -> None:
        exchange = self._exchange
        assert exchange is not None
        command = exchange.feed(Answered(status, headers, monotonic()))
        if type(command) is not Relay:
            self._let_go()
            self._do(command)
            return
        self._edit = command.edit
        self._chunked = False
        framing: tuple[bytes, ...] = ()
        if command.length is not None:
            if status != 204:
                framing = (b"content-length: %d" % command.length,)
        elif not bodiless(self._method, status):
            if self._http10:
                self._keep_alive = False
            else:
                self._chunked = True
                framing = (b"transfer-encoding: chunked",)
        self._keep_alive = self._keep_alive and not self._leaving()
        framing += connection(keep_alive=self._keep_alive, http10=self._http10)
        self._out.append(head(status, command.headers, *framing))

    def body(self, data: bytes) -> None:
        self._touched = self.plane.now
        if self._edit:
            assert self._exchange is not None
            data = cast(Send, self._exchange.feed(Chunk(data))).data
            if not data:
                return
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._sent += len(data)
        self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def flush(self) -> None:
        out = self._out
        if out:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def ended(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._sending = None
        self._give_back()
        rest = cast(Send, exchange.feed(Ended(monotonic()))).data
        if rest:
            self._put(rest)
        if self._chunked:
            self._out.append(LAST_CHUNK)
        self.flush()
        self._finish()

    def failed(self, reason: Reason, detail: str) -> None:
        self._sending = None
        self._give_back()
        exchange = self._exchange
        assert exchange is not None
        command = exchange.feed(Failed(reason, detail, monotonic()))
        if type(command) is Cut:
            self._cut(command)
        else:
            self._do(command)

    def _cut(self, command: Cut) -> None:
        """The client must see that the answer is not whole: by an event, or by an end that comes too early."""
        self._keep_alive = False
        if command.data:
            self._put(command.data)
            if self._chunked:
                self._out.append(LAST_CHUNK)
        self.flush()
        early = self._http10 and not command.data  # what only the end of the connection ends, a clean end completes
        self._finish()
        if early:
            self._reset()

    def _reset(self) -> None:
        """Without the reset, an end of the connection would be the end of the answer."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _give_back(self) -> None:
        if self._in_flight_at:
            self.plane.ledger.give(self._in_flight_at)
            self._in_flight_at = ""

    def _let_go(self) -> None:
        """Of what runs at a server; it must notice, so that it can free what it holds."""
        self._give_back()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.abort()

    # The client.

    def connection_lost(self, error: Exception | None) -> None:
        self._ending = True
        self.plane.left(self)
        self._let_go()
        self._unpark()
        self._out.clear()
        self._reader.requests.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.feed(Gone(monotonic()))
            exchange.record.bytes_out = self._sent
            self.plane.done(exchange.record)

    def eof_received(self) -> bool | None:
        # A client that has closed its side is taken to be gone: there is no telling it from one that was killed.
        if self._exchange is not None or self._reader.busy:
            self.transport.abort()
        return None

    def pause_writing(self) -> None:
        self._paused = True
        if self._sending is not None:
            self._sending.pause()

    def resume_writing(self) -> None:
        self._paused = False
        self._touched = self.plane.now
        if self._sending is not None:
            self._sending.resume()
        else:
            self._proceed()

    # Time, and the end.

    def _unpark(self) -> None:
        if self._pool:
            self.plane.parked.get(self._pool, set()).discard(self)
            self._pool = ""

    def wake(self) -> None:
        """What this request waits for has changed, or its time is over."""
        if self._pool and self._exchange is not None:
            self._unpark()
            self._deadline = None
            self._do(self._exchange.feed(Woken(monotonic())))

    def sweep(self, now: float) -> None:
        """Called some ten times a second: ends what takes too long."""
        bounds = self.plane.bounds
        quiet = now - self._touched
        if self._ending:
            if quiet > (bounds.silence_s if self.transport.get_write_buffer_size() else bounds.linger_s):
                self.transport.abort()
        elif self._exchange is not None:
            if self._deadline is not None and now >= self._deadline:
                if self._pool:
                    self.wake()
                else:
                    self._time_out("the request's time is over")
            elif quiet > bounds.silence_s and self._sending is not None:
                if self._paused:
                    self.transport.abort()  # it is the client that takes nothing
                else:
                    self._time_out(f"nothing came for {bounds.silence_s:g} s")
        elif self._reader.in_body:
            if quiet > bounds.body_s:
                self._refuse(refuse(408, f"Nothing of the body came for {bounds.body_s:g} s.", close=True))
        elif self._reader.in_head:
            if now - self._began > bounds.head_s:
                self._refuse(refuse(408, f"The headers did not come within {bounds.head_s:g} s.", close=True))
        elif quiet > bounds.keep_alive_s:
            self._end()

    def _time_out(self, detail: str) -> None:
        self._let_go()
        self.failed("timeout", detail)

    def drain(self) -> None:
        """Finish what runs, take nothing more."""
        if self._exchange is None and not self._reader.busy and not self._ending:
            self._end()

    def abort(self) -> None:
        self.transport.abort()
