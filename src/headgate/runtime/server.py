"""A small HTTP/1.1 server: what the model server simulator and the gateway's admin face answer with.

A handler that answers at once costs no task. One that must wait, or that streams, runs in a task, which is cancelled
when the client goes away. Answers leave in the order in which the requests came (pipelining).
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from time import time
from urllib.parse import unquote

import httptools
from msgspec import Struct

from headgate.runtime.client import Answer

__all__ = ["Answer", "Handler", "Request", "Server", "Stream", "serve"]

_log = logging.getLogger(__name__)


class Request(Struct, frozen=True, gc=False):
    """`path` is percent-decoded and ends before `?`; `query` is what follows it, as it came.

    `headers` maps names in lower case to values; the values of a name that came twice are joined with ", ".
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Stream(Struct, frozen=True):
    """An answer whose body comes in pieces, each sent as one HTTP chunk as soon as it is there."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]


Handler = Callable[[Request], Answer | Stream | Awaitable[Answer | Stream]]


async def serve(
    handler: Handler,
    *,
    host: str | None = None,
    port: int | None = None,
    path: str | None = None,
    sock: socket.socket | None = None,
    server_name: str = "uvicorn",
    body_limit: int = 64 << 20,
    keep_alive: float = 5.0,
) -> "Server":
    """Listen on `host`:`port` (port 0: any free one), on the unix socket `path` or on `sock`; answer with `handler`.

    `body_limit` bounds a request's body in bytes (413 beyond it); `keep_alive` is how long, in seconds, a connection
    may idle between requests. Raises OSError when the address can't be had.
    """
    loop = asyncio.get_running_loop()
    server = Server(handler, server_name, body_limit, keep_alive)
    if path is not None:
        server.listener = await loop.create_unix_server(server.connect, path)
    elif sock is not None:
        server.listener = await loop.create_server(server.connect, sock=sock, backlog=2048)
    else:
        server.listener = await loop.create_server(server.connect, host, port or 0, backlog=2048)
    server.sweep()
    return server


class Server:
    """What `serve` returns: where it listens, and how to end it."""

    def __init__(self, handler: Handler, name: str, body_limit: int, keep_alive: float) -> None:
        self.handler = handler
        self.body_limit = body_limit
        self.listener: asyncio.Server
        self.connections: set[_Connection] = set()
        self.closing = False
        self._name = name.encode("latin-1")
        self._keep_alive = keep_alive
        self._stamp = b""
        self._stamp_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 on a unix socket."""
        name = self.listener.sockets[0].getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def close(self, grace: float | None = None) -> None:
        """Stop accepting, let what runs finish for `grace` seconds (None: as long as it takes), then cut the rest."""
        self.closing = True
        self.listener.close()
        for connection in list(self.connections):
            connection.close_when_idle()
        deadline = None if grace is None else self._loop.time() + grace
        while self.connections and (deadline is None or self._loop.time() < deadline):
            left = 3600.0 if deadline is None else deadline - self._loop.time()
            await asyncio.wait([connection.gone for connection in self.connections], timeout=left)
        for connection in list(self.connections):
            connection.cut()
        if self._timer is not None:
            self._timer.cancel()

    # What connections ask of it.

    def connect(self) -> "_Connection":
        return _Connection(self, self._loop)

    def preamble(self) -> bytes:
        """The `date` and `server` lines, made anew each second."""
        now = self._loop.time()
        if now >= self._stamp_until:
            date = formatdate(time(), usegmt=True).encode("latin-1")
            self._stamp = b"date: " + date + b"\r\nserver: " + self._name + b"\r\n"
            self._stamp_until = now + 1.0
        return self._stamp

    def sweep(self) -> None:
        """Close what has idled too long: one timer for all, so that a request costs none."""
        since = self._loop.time() - self._keep_alive
        for connection in list(self.connections):
            if connection.since < since:
                connection.close_when_idle()
        self._timer = self._loop.call_later(max(self._keep_alive / 4, 0.05), self.sweep)


class _Asked(Struct, frozen=True, gc=False):
    request: Request
    keep: bool  # the connection goes on after the answer
    chunked: bool  # HTTP/1.1: the client understands chunks


_PIPELINED = 16  # beyond this many requests in wait we stop reading from the connection
_HEADER_LIMIT = 256 << 10
_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("latin-1") for status in HTTPStatus}


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._reading = False
        self._refused = False
        self._paused = False
        self._asked: deque[_Asked] = deque()
        self._answering = False
        self._task: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.since = 0.0  # when it last began to idle, by the loop's clock
        self.gone = loop.create_future()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # both kinds of listener give a Transport
        self._server.connections.add(self)
        self.since = self._loop.time()
        if self._server.closing:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._task is not None:
            self._task.cancel()
        self._asked.clear()
        self.resume_writing()
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # We speak HTTP/1.1 only. The request has been handled without its body, as uvicorn does it: the parser
            # takes what follows for the other protocol.
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError:
            self._refuse(400, "Invalid HTTP request received.")

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._reading = True
        self._url = b""
        self._headers = {}
        self._header_bytes = 0
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _HEADER_LIMIT:
            self._refuse(431, "Request header fields too large.")
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue" and not self._answering:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self._server.body_limit:
            self._refuse(413, "Request body too large.")
        elif not self._refused:
            self._body.append(data)

    def on_message_complete(self) -> None:
        self._reading = False
        if self._refused:
            return
        parser = self._parser
        url = self._url
        if url[:1] != b"/":
            url = _path_of(url)
        if b"#" in url:
            url = url.partition(b"#")[0]
        raw, _, query = url.partition(b"?")
        path = raw.decode("latin-1")
        request = Request(
            parser.get_method().decode("latin-1"),
            unquote(path) if "%" in path else path,
            query.decode("latin-1"),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
        )
        modern = parser.get_http_version() != "1.0"
        self._asked.append(_Asked(request, modern and parser.should_keep_alive(), modern))
        if not self._answering:
            self._advance()
        elif len(self._asked) >= _PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    # Answering.

    def _advance(self) -> None:
        """Answer what waits, up to the first request whose answer takes time."""
        while self._asked and not self._transport.is_closing():
            asked = self._asked.popleft()
            self._answering = True
            try:
                answer = self._server.handler(asked.request)
            except Exception as error:
                answer = _mistake(asked.request, error)
            if not isinstance(answer, Answer):
                self._task = self._loop.create_task(self._answer_later(asked, answer))
                return
            self._send(asked, answer)
            self._answering = False
        self.since = self._loop.time()

    async def _answer_later(self, asked: _Asked, later: Stream | Awaitable[Answer | Stream]) -> None:
        try:
            answer = later if isinstance(later, Stream) else await later
        except Exception as error:
            answer = _mistake(asked.request, error)
        if isinstance(answer, Stream):
            await self._send_stream(asked, answer)
        else:
            self._send(asked, answer)
        self._task = None
        self._answering = False
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        self._advance()

    def _send(self, asked: _Asked, answer: Answer) -> None:
        keep = asked.keep and not self._server.closing
        parts = [_REASONS.get(answer.status) or _reason(answer.status), self._server.preamble()]
        for name, value in answer.headers:
            parts.append(f"{name}: {value}\r\n".encode("latin-1"))
        if answer.status >= 200 and answer.status not in (204, 304):
            parts.append(b"content-length: %d\r\n" % len(answer.body))
        parts.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
        if asked.request.method != "HEAD":
            parts.append(answer.body)
        self._transport.write(b"".join(parts))
        if not keep:
            self._transport.close()

    async def _send_stream(self, asked: _Asked, stream: Stream) -> None:
        parts = [_REASONS.get(stream.status) or _reason(stream.status), self._server.preamble()]
        for name, value in stream.headers:
            parts.append(f"{name}: {value}\r\n".encode("latin-1"))
        keep = asked.keep
        if asked.chunked and asked.request.method != "HEAD":
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
        write = self._transport.write
        write(b"".join(parts))
        if asked.request.method != "HEAD":
            try:
                async for chunk in stream.chunks:
                    if chunk:
                        write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if asked.chunked else chunk)
                    if self._drained is not None:
                        await self._drained
            except Exception as error:
                _mistake(asked.request, error)
                self._transport.abort()  # cut without the last chunk: the client must not take this for the whole
                return
            if asked.chunked:
                write(b"0\r\n\r\n")
        if not keep or self._server.closing:
            self._transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Answer what is not a request we can read, once, and close."""
        if self._refused:
            return
        self._refused = True
        if self._answering or self._asked:
            self._transport.abort()  # an answer is under way: nothing may be written into it
            return
        asked = _Asked(Request("GET", "", "", {}, b""), keep=False, chunked=True)
        self._send(asked, Answer(status, (("content-type", "text/plain; charset=utf-8"),), text.encode()))

    def close_when_idle(self) -> None:
        if not self._answering and not self._asked and not self._reading:
            self._transport.close()

    def cut(self) -> None:
        self._transport.abort()


def _path_of(url: bytes) -> bytes:
    """The path and query of a URL in absolute form; `*` and the like stay as they are."""
    scheme, found, rest = url.partition(b"://")
    if not found or not scheme.isalpha():
        return url
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"


def _reason(status: int) -> bytes:
    return b"HTTP/1.1 %d Unknown\r\n" % status


def _mistake(request: Request, error: Exception) -> Answer:
    """An exception in a handler is our mistake: one line for people, the traceback for those who debug."""
    _log.error("%s %s failed: %s: %s", request.method, request.path, type(error).__name__, error)
    _log.debug("the traceback", exc_info=error)
    return Answer(500, (("content-type", "text/plain; charset=utf-8"),), b"Internal Server Error")
