"""A client's connection: requests in, their turns one after the other, so that answers keep the order of requests."""

import asyncio
import socket
from typing import cast

from msgspec.structs import replace

from headgate.exchange.events import Asked, Forward, Respond
from headgate.exchange.exchange import Exchange
from headgate.exchange.refuse import refuse
from headgate.exchange.site import Site
from headgate.proxy.answer import CONTINUE, connection, whole
from headgate.proxy.plane import Plane
from headgate.proxy.reader import RequestReader
from headgate.proxy.turn import Turn

# Bytes held for a client that reads slowly, before the server is made to wait. uvloop reads up to 256,000 bytes at
# once: together that is 256 KiB at most.
_WRITE_AHEAD = 4 << 10
_READ_AHEAD = 64 << 10  # bytes of bodies held for requests that wait for the answer to one before
_EARLY = 64 << 10  # bytes held that are for a tunnel which is not there yet
_REST_S = 4.0
_LOOK_S = 0.02  # within which a client on the same machine is found to be gone
_LARGE = 4 << 20
_SMALL = 16 << 10  # bytes of a body up to which it is not counted
_SPARE = 16  # connections, or a tenth of those that are allowed, that are answered beyond them
OVERLOADED = "overloaded"
_LATER = [(b"retry-after", b"1")]
_TOO_MUCH = refuse(503, "The gateway holds as much as it may. Try again later.", code=OVERLOADED, headers=_LATER)
_TOO_MANY = refuse(
    503, "The gateway has as many connections as it may. Try again later.", code=OVERLOADED, headers=_LATER, close=True
)


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
    """`_turn` is the one that runs. `_ending`: nothing more is taken, what is written goes out, then it closes.

    `_silent`: the client has closed its side, and may still listen.
    """

    __slots__ = (
        "_began",
        "_ending",
        "_paused",
        "_proceeding",
        "_reader",
        "_reading",
        "_refusal",
        "_silent",
        "_touched",
        "_turn",
        "counted",
        "listening",
        "plane",
        "rests_until",
        "transport",
    )

    _reader: RequestReader
    transport: asyncio.Transport

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.plane = listening.plane
        self._turn: Turn | None = None
        self._refusal: Respond | None = None
        self._began = self._touched = self.plane.now  # when the request began to come, and when it last moved
        self.rests_until = 0.0
        self._reading = True
        self.counted = 0  # bytes that are counted as held
        self._proceeding = self._paused = self._ending = self._silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_AHEAD)
        peer = transport.get_extra_info("peername")
        address = peer[0].encode() if isinstance(peer, tuple) else b"unix"
        self._reader = RequestReader(self.plane.bounds, address, self.plane.next_id, self.plane.request_heads)
        self.plane.connections.add(self)
        surplus = len(self.plane.connections) - self.plane.bounds.connections
        if surplus > 0:
            self._refusal = _TOO_MANY  # what it asks is not even read
            if surplus > max(_SPARE, self.plane.bounds.connections // 10):
                self.plane.turned_away += 1
                self.transport.abort()
        if self.leaving_now:
            self._end()  # it came just as the gateway left

    # Requests in.

    def data_received(self, data: bytes) -> None:
        if self._ending or self._refusal is not None:
            if self._refusal is not None and not self._ending and self._turn is None and self._reader.rests:
                self._refuse(self._refusal)
            return  # read all the same: closing with bytes unread would take the answer from the client
        self._touched, self.rests_until = self.plane.now, 0.0
        reader = self._reader
        if not (reader.in_head or reader.in_body):
            if self._turn is None and not self._paused:
                known = reader.whole(data)
                if known is not None:
                    asked, keep_alive = known
                    self._begin(asked, keep_alive)
                    return
                if reader.in_body:
                    self.count()
                    return
            self._began = self._touched
        self._refusal = reader.feed(data)
        if reader.in_body or reader.requests:
            self.count()
            if reader.held > _LARGE and not reader.in_body:
                # To put it together took long enough, and to read it does too: others have their turn in between.
                asyncio.get_running_loop().call_soon(self._proceed)
                return
        self._proceed()

    def count(self) -> None:
        """Count what is held, now that it is more or less than before."""
        turn, held = self._turn, self._reader.held
        if turn is not None:
            held += turn.held
        if self._paused:
            held += self.transport.get_write_buffer_size()
        if held <= _SMALL:
            held = 0
        plane, more = self.plane, held - self.counted
        if more:
            self.counted = held
            plane.held.change(more)
        if plane.held.over and more >= 0 and self._refusal is None and self._reader.in_body:
            self._refusal = _TOO_MUCH

    def _begin(self, asked: Asked, keep_alive: bool) -> None:
        plane = self.plane
        exchange = Exchange(self.listening.site)
        if plane.held.over:
            exchange.record.refused = OVERLOADED
            asked = replace(asked, head=replace(asked.head, refusal=_TOO_MUCH))
        self._turn = turn = Turn(self, plane, self.transport, exchange, asked.head, keep_alive, plane.now)
        command = exchange.feed(asked)
        if type(command) is Forward:
            turn.forward(command)
        else:
            turn.do(command)
        if len(asked.body) > _SMALL:
            self.count()

    def _proceed(self) -> None:
        """Begin what waits, in the order in which it came, as far as that can be done now."""
        if self._proceeding:
            return
        self._proceeding = True
        requests = self._reader.requests
        while requests and self._turn is None and not self._paused and not self._ending:
            self._begin(*requests.popleft())
        self._proceeding = False
        if requests or not self._reading or self._reader.early or self._reader.in_body:
            self._read_on()
        if self._turn is None and not requests and not self._ending:
            self._rest()

    def _rest(self) -> None:
        """Every request that is whole has been answered."""
        reader = self._reader
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif reader.expects:
            reader.expects = False
            self.plane.outbox.write(self.transport, CONTINUE)
        elif self._silent or (not reader.busy and self.leaving_now):
            self._end()

    def _read_on(self) -> None:
        """Take more from the client, unless it has asked for much that is not answered yet.

        While it does not read, the gateway sees a client leave only if that resets the connection; few get that far.
        """
        requests, early = self._reader.requests, self._reader.early or b""
        few = len(requests) < self.plane.bounds.pipelined and self._reader.held <= _READ_AHEAD
        wanted = (self._turn is None or few) and len(early) <= _EARLY
        if wanted is not self._reading and not self._silent and not self.transport.is_closing():
            self._reading = wanted
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()

    def take_early(self) -> bytes:
        """What has come for the tunnel that there is now; more may come."""
        early = bytes(self._reader.early or b"")
        self._reader.early = bytearray()
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()
        return early

    @property
    def leaving(self) -> bool:
        """Whether the connection is to end after its next answer."""
        return self.plane.draining or self.listening.closed

    @property
    def leaving_now(self) -> bool:
        """Whether it is to end as soon as nothing is under way."""
        return self.plane.closing or self.listening.closed

    def _refuse(self, refusal: Respond) -> None:
        """Answer what is no request. The client may still be sending it: it is heard out, so that it reads this."""
        request_id = self.plane.next_id()
        record = self._reader.record(refusal, request_id)
        if refusal.status == 503:
            record.refused = OVERLOADED
        framing = b"x-request-id: %b\r\n" % request_id + connection(False, False)
        self.plane.outbox.flush()
        self.transport.write(whole(refusal, record.method.encode(), self.plane.date, framing))
        self._ending = True
        self._reader.forget()
        if self.counted:
            self.count()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # the sweep closes it, if the client does not
        else:
            self.transport.close()
        self.plane.done(record)

    def turn_over(self) -> None:
        """The answer is written."""
        turn, self._turn = self._turn, None
        assert turn is not None
        plane, reader = self.plane, self._reader
        self._began = self._touched = plane.now
        if self.counted:
            self.count()
        if not turn.keep_alive:
            self._end()
        elif self._reading and self._refusal is None and not (reader.requests or reader.in_head or reader.in_body):
            if plane.draining or self.listening.closed or self._silent:
                self._rest()
        else:
            self._proceed()

    # The connection.

    def _end(self) -> None:
        self._ending = True
        self.rests_until = 0.0
        self._touched = self.plane.now
        self._reader.forget()
        self.plane.outbox.flush()
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._ending = True
        self._paused = False
        self.plane.left(self)
        self._reader.forget()
        turn, self._turn = self._turn, None
        if self.counted:
            self.count()
        if turn is not None:
            turn.gone()

    def eof_received(self) -> bool:
        """The client has closed the connection, or only its side of it: it looks the same. Whether to keep it open."""
        self._proceed()  # a large request may have been put off
        turn, transport = self._turn, self.transport
        if turn is None or transport.get_extra_info("ssl_object") is not None:
            if turn is not None or self._reader.busy:
                transport.abort()
            return False
        self._silent = True
        # Who is gone answers anything with a reset, which nobody tells us of while nothing is read.
        turn.probe()
        asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        return True

    def _look(self) -> None:
        """Whether a client that nothing is read from is there at all."""
        raw = self.transport.get_extra_info("socket")
        if not self.transport.is_closing() and raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()

    def pause_writing(self) -> None:
        self._paused = True
        self.count()
        if self._turn is not None:
            self._turn.pause()

    def resume_writing(self) -> None:
        self._paused = False
        self._touched = self.plane.now
        if self.counted:
            self.count()
        if self._turn is not None:
            self._turn.resume()
        else:
            self._proceed()

    def sweep(self, now: float) -> None:
        """Called some ten times a second: ends what takes too long."""
        bounds = self.plane.bounds
        quiet = now - self._touched
        if self._silent or not self._reading:
            self._look()
        if self._turn is not None:
            self._turn.sweep(now, paused=self._paused)
        elif self._ending or self.transport.is_closing():
            if quiet > (bounds.silence_s if self.transport.get_write_buffer_size() else bounds.linger_s):
                self.transport.abort()
        elif self._reader.in_body:
            if quiet > bounds.body_s:
                self._refuse(refuse(408, f"Nothing of the body came for {bounds.body_s:g} s.", close=True))
        elif self._reader.in_head:
            if now - self._began > bounds.head_s:
                self._refuse(refuse(408, f"The headers did not come within {bounds.head_s:g} s.", close=True))
        elif quiet > (self.plane.keep_alive_s if self._refusal is None else bounds.linger_s):
            self._end()
        elif not self._silent and self._reading and self._refusal is None:
            self.rests_until = now + min(_REST_S, self.plane.keep_alive_s - quiet)

    def drain(self) -> None:
        """Finish what runs, take nothing more; or no more than one request, where there is time for it."""
        self.rests_until = 0.0
        if not self.leaving_now:
            self._touched = self.plane.now
        elif self._turn is None and not self._reader.busy and not self._ending:
            self._end()

    def abort(self) -> None:
        self.transport.abort()
