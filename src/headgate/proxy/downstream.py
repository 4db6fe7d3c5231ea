"""A client's connection: HTTP/1.1 requests in, exchanges run, answers out, in the order of the requests."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic

import httptools

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
from headgate.proxy.plane import Plane
from headgate.proxy.upstream import Sending

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}
_WRITE_AHEAD = 256 << 10  # bytes held for a client that reads slowly, before the server is made to wait
_BODILESS = (204, 304)


class Listening:
    """One socket address. `site` is replaced when the plan changes; requests that run keep the one they began with."""

    def __init__(self, plane: Plane, site: Site) -> None:
        self.plane = plane
        self.site = site
        self.closed = False

    def close(self) -> None:
        """Connections end as soon as they have nothing under way."""
        self.closed = True
        for connection in list(self.plane.connections):
            if connection.listening is self:
                connection.drain()

    def accept(self) -> "Downstream":
        return Downstream(self)


class Downstream(asyncio.Protocol):
    """httptools calls the `on_` methods while it is fed."""

    __slots__ = (
        "_asked",
        "_body",
        "_body_size",
        "_chunked",
        "_close",
        "_deadline",
        "_edit",
        "_error",
        "_exchange",
        "_expects",
        "_head_size",
        "_headers",
        "_in_body",
        "_in_head",
        "_keep_alive",
        "_ledger_name",
        "_method",
        "_old_client",
        "_out",
        "_parser",
        "_paused",
        "_peer",
        "_pool",
        "_sending",
        "_sent",
        "_touched",
        "_url",
        "_waiting_requests",
        "listening",
        "plane",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.plane = listening.plane
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        self._sending: Sending | None = None
        self._ledger_name = ""
        self._waiting_requests: deque[tuple[Asked, bool, bool]] = deque()
        self._error: Respond | None = None
        self._in_head = self._in_body = False
        self._head_size = 0
        self._out: list[bytes] = []
        self._sent = 0
        self._close = False
        self._paused = False
        self._deadline: float | None = None
        self._touched = self.plane.now
        self._pool = ""
        self._peer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a server's connection is a Transport
        self.transport.set_write_buffer_limits(high=_WRITE_AHEAD)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0].encode() if isinstance(peer, tuple) else b"unix"
        self.plane.connections.add(self)

    # Bytes in.

    def data_received(self, data: bytes) -> None:
        if self._close:
            return
        self._touched = self.plane.now
        if not self._in_body:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer that we do not take: the request was read whole, and what follows is plain HTTP/1.1.
            rest = data[upgrade.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
            if rest and not self._error:
                self.data_received(rest)
                return
        except httptools.HttpParserCallbackError:
            if self._error is None:
                raise
        except httptools.HttpParserError as error:
            self._error = refuse(400, f"This is not a valid HTTP/1.1 request: {_reason(error)}.", close=True)
        if self._in_head and self._head_size > 2 * self.plane.bounds.head:
            self._error = self._too_large()
        if self._error is not None:
            self._refuse_connection(self._error)
        elif len(self._waiting_requests) >= self.plane.bounds.pipelined:
            self.transport.pause_reading()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._in_head, self._in_body = True, False
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self.plane.bounds.head:
            self._fail(refuse(414, "The request target is too long.", close=True))

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self._headers
        headers.append((name, value))
        if name == b"expect":
            self._expects = True
        elif name == b"content-length" and value.isdigit() and int(value) > self.plane.bounds.body:
            self._fail(self._body_too_large())
        if len(headers) > self.plane.bounds.headers:
            self._fail(self._too_large())

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._head_size = 0
        if sum(map(len, [part for pair in self._headers for part in pair])) > self.plane.bounds.head:
            self._fail(self._too_large())
        if self._expects and self._exchange is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._body_size += len(data)
        if self._body_size > self.plane.bounds.body:
            self._fail(self._body_too_large())

    def on_message_complete(self) -> None:
        self._in_body = False
        parser, body = self._parser, self._body
        asked = Asked(
            parser.get_method(),
            self._url,
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            self.plane.next_id(),
            self._peer,
            b"http",
            monotonic(),
        )
        keep_alive = parser.should_keep_alive() and not self.plane.draining
        old_client = parser.get_http_version() == "1.0"
        if self._exchange is None and not self._waiting_requests:
            self._begin(asked, keep_alive, old_client)
        else:
            self._waiting_requests.append((asked, keep_alive, old_client))

    def _fail(self, refusal: Respond) -> None:
        self._error = self._error or refusal
        raise ValueError(refusal.status)  # stops the parser; data_received answers

    def _too_large(self) -> Respond:
        return refuse(431, "The request's headers are too large or too many.", code="headers_too_large", close=True)

    def _body_too_large(self) -> Respond:
        limit = self.plane.bounds.body
        return refuse(413, f"The body is larger than {limit} bytes.", code="body_too_large", close=True)

    def _refuse_connection(self, refusal: Respond) -> None:
        """Answer what is no request; if answers are still owed before it, the connection just ends after them."""
        self._close = True
        self.transport.pause_reading()
        if self._exchange is None:
            self._write_response(refusal, keep_alive=False, head=False)
            self.transport.close()
        self._waiting_requests.clear()

    # The exchange.

    def _begin(self, asked: Asked, keep_alive: bool, old_client: bool) -> None:
        self._method = asked.method
        self._keep_alive, self._old_client = keep_alive, old_client
        self._sent = 0
        exchange = self._exchange = Exchange(self.listening.site)
        self._do(exchange.feed(asked))

    def _do(self, command: Command) -> None:
        kind = type(command)
        if kind is Forward:
            self._forward(command)  # type: ignore[arg-type]  # `kind` says so
        elif kind is Respond:
            self._write_response(command, self._keep_alive, self._method == b"HEAD")  # type: ignore[arg-type]
            self._finish()
        elif kind is Wait:
            assert isinstance(command, Wait)
            self._pool, self._deadline = command.pool, command.until
            self.plane.park(command.pool, self)

    def _forward(self, command: Forward) -> None:
        endpoint = command.endpoint
        plane = self.plane
        self._deadline = command.deadline
        self._ledger_name = endpoint.name
        plane.ledger.take(endpoint.name)
        plane.prefixes.record(command.rungs, endpoint.name)
        self._sending = plane.upstreams.send(self, endpoint, command.head, command.body, self._method == b"HEAD")

    def _give_back(self) -> None:
        if self._ledger_name:
            self.plane.ledger.give(self._ledger_name)
            self._ledger_name = ""

    # From the server (proxy.upstream.Owner).

    def answered(self, status: int, headers: Headers) -> None:
        exchange = self._exchange
        assert exchange is not None
        command = exchange.feed(Answered(status, headers, monotonic()))
        if type(command) is not Relay:
            self._drop_sending()
            self._do(command)
            return
        bodiless = self._method == b"HEAD" or status in _BODILESS
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        lines += [b"%b: %b\r\n" % pair for pair in command.headers]
        self._chunked = False
        if command.length is not None:
            lines.append(b"content-length: %d\r\n" % command.length)
        elif not bodiless:
            if self._old_client:
                self._keep_alive = False
            else:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if self.plane.draining or self.listening.closed:
            self._keep_alive = False
        if not self._keep_alive:
            lines.append(b"connection: close\r\n")
        elif self._old_client:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._edit = command.edit
        self._out.append(b"".join(lines))

    def body(self, data: bytes) -> None:
        self._touched = self.plane.now
        if self._edit:
            assert self._exchange is not None
            command = self._exchange.feed(Chunk(data))
            assert isinstance(command, Send)
            data = command.data
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
        command = exchange.feed(Ended(monotonic()))
        assert isinstance(command, Send)
        if command.data:
            self._put(command.data)
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self.flush()
        self._finish()

    def failed(self, reason: str, detail: str) -> None:
        self._sending = None
        self._give_back()
        exchange = self._exchange
        if exchange is None:
            return
        command = exchange.feed(Failed(reason, detail, monotonic()))  # type: ignore[arg-type]  # the owner's words
        if not isinstance(command, Cut):
            self._do(command)
            return
        self._keep_alive = False
        if command.data and not self._old_client:
            self._put(command.data)
            if self._chunked:
                self._out.append(b"0\r\n\r\n")
            self.flush()
            self._finish()
        else:
            self.flush()
            self._finish(cut=True)

    # The end of an exchange.

    def _write_response(self, response: Respond, keep_alive: bool, head: bool) -> None:
        lines = [_STATUS_LINES.get(response.status) or b"HTTP/1.1 %d \r\n" % response.status]
        lines += [b"%b: %b\r\n" % pair for pair in response.headers]
        lines.append(b"content-length: %d\r\n" % len(response.body))
        if response.close or not keep_alive:
            lines.append(b"connection: close\r\n")
            self._keep_alive = False
        lines.append(b"\r\n")
        if not head:
            lines.append(response.body)
            self._sent = len(response.body)
        self.transport.write(b"".join(lines))

    def _finish(self, *, cut: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        self._deadline = None
        self._touched = self.plane.now
        assert exchange is not None
        record = exchange.record
        record.bytes_out = self._sent
        self.plane.done(record)
        if cut:
            self.transport.abort()  # the client must see that the answer is not whole
        elif not self._keep_alive or self._close:
            self.transport.close()
        elif self._waiting_requests and not self.transport.is_closing():
            asked, keep_alive, old_client = self._waiting_requests.popleft()
            if len(self._waiting_requests) < self.plane.bounds.pipelined:
                self.transport.resume_reading()
            # Not called from here: a client could otherwise stack up as many frames as it pipelines requests.
            asyncio.get_running_loop().call_soon(self._begin_later, asked, keep_alive, old_client)
            self._exchange = Exchange(self.listening.site)
        elif self.plane.draining or self.listening.closed:
            self.transport.close()

    def _begin_later(self, asked: Asked, keep_alive: bool, old_client: bool) -> None:
        if not self.transport.is_closing():
            self._begin(asked, keep_alive, old_client)

    # The client, and time.

    def connection_lost(self, error: Exception | None) -> None:
        self.plane.left(self)
        self._drop_sending()
        self._unpark()
        exchange, self._exchange = self._exchange, None
        self._waiting_requests.clear()
        if exchange is not None and exchange.record.asked_at:
            exchange.feed(Gone(monotonic()))
            exchange.record.bytes_out = self._sent
            self.plane.done(exchange.record)

    def eof_received(self) -> bool | None:
        # A client that has closed its side is taken to be gone: there is no telling it from one that was killed.
        if self._exchange is None and not self._in_head and not self._in_body:
            return None
        self.transport.abort()
        return None

    def pause_writing(self) -> None:
        if self._sending is not None:
            self._paused = True
            self._sending.pause()

    def resume_writing(self) -> None:
        if self._paused and self._sending is not None:
            self._sending.resume()
        self._paused = False

    def _drop_sending(self) -> None:
        self._give_back()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.abort()
        self._out.clear()

    def _unpark(self) -> None:
        if self._pool:
            parked = self.plane.parked.get(self._pool)
            if parked is not None:
                parked.discard(self)
            self._pool = ""

    def wake(self) -> None:
        """What this request waits for has changed, or its time is over."""
        self._unpark()
        self._deadline = None
        if self._exchange is not None:
            self._do(self._exchange.feed(Woken(monotonic())))

    def sweep(self, now: float) -> None:
        """Called some ten times a second: ends what takes too long."""
        bounds = self.plane.bounds
        quiet = now - self._touched
        if self._exchange is not None:
            if self._deadline is not None and now >= self._deadline:
                if self._pool:
                    self.wake()
                else:
                    self._time_out("the request's time is over")
            elif self._sending is not None and not self._paused and quiet > bounds.silence_s:
                self._time_out(f"nothing came for {bounds.silence_s:g} s")
        elif self._in_body and quiet > bounds.body_s:
            self._refuse_connection(refuse(408, f"The body did not come within {bounds.body_s:g} s.", close=True))
        elif self._in_head and quiet > bounds.head_s:
            self._refuse_connection(refuse(408, f"The headers did not come within {bounds.head_s:g} s.", close=True))
        elif quiet > bounds.keep_alive_s:
            self.transport.close()

    def _time_out(self, detail: str) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.abort()
        self.failed("timeout", detail)

    def drain(self) -> None:
        """Finish what runs, take nothing more."""
        if self._exchange is None and not self._in_head and not self._in_body:
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


Accept = Callable[[], Downstream]
