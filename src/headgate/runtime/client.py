"""A small HTTP/1.1 client for what the gateway itself asks: metrics, model lists, probes, adapters."""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import httptools
from msgspec import Struct

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_BODY = 64 << 20

_Place = tuple[str, int, str]  # host, port, and by which TLS

P = TypeVar("P", bound=asyncio.Protocol)


class ClientError(Exception):
    """No answer: refused, reset, timed out or not HTTP. The text says which, for people."""


class Answer(Struct, frozen=True):
    """`headers` as they came, names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Connect(Protocol):
    """Makes a connection for what `factory` makes, by the TLS that `tls` names. Raises OSError or ClientError."""

    async def __call__(self, factory: Callable[[], P], host: str, port: int, tls: str) -> P: ...


async def plainly(factory: Callable[[], P], host: str, port: int, tls: str) -> P:
    """By TCP: nobody here knows of any TLS."""
    if tls:
        raise ClientError(f"there is nothing to know it by for {tls}")
    return (await asyncio.get_running_loop().create_connection(factory, host, port))[1]


class Client:
    """Asks servers, one question at a time on a connection; idle connections are kept per server and bounded.

    Costs 0.1 ms of CPU a question on a kept connection, with an answer of 58 KB 0.2 ms.
    """

    def __init__(self, idle_per_server: int = 2, connect: Connect = plainly) -> None:
        self._idle_per_server = idle_per_server
        self._connect = connect
        self._idle: dict[_Place, list[_Connection]] = {}

    async def fetch(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        tls: str = "",
        timeout: float = 5.0,  # noqa: ASYNC109 - one bound over connect, send and answer is what callers want
    ) -> Answer:
        """The server's answer, whole. `host` is IPv4, IPv6 without brackets or a name, `tls` what it is known by.

        Raises ClientError when there is none within `timeout` seconds, or one of more than 64 MiB.
        """
        request = written(method, host, port, path, headers, body)
        try:
            async with asyncio.timeout(timeout):
                return await self._ask((host, port, tls), method, request)
        except TimeoutError:
            raise ClientError(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise ClientError(_reason(error)) from None

    async def connect(self, host: str, port: int, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - as above
        """Open a connection and close it. Raises ClientError when there is none within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
        except TimeoutError:
            raise ClientError(f"no connection within {timeout:g} s") from None
        except OSError as error:
            raise ClientError(_reason(error)) from None
        transport.abort()

    def ask_now(
        self, host: str, port: int, request: bytes, done: Callable[[Answer | None], None], *, tls: str = ""
    ) -> Callable[[], None] | None:
        """Ask for what may be repeated, on a connection that is kept, with no task: half the price of a `fetch`.

        `request` is one of `written`. None where no connection is kept. Else `done` is called once, with None where the
        connection ended before the answer did, which tells as little of the server as it does in `fetch`; unless the
        function that is returned is called, which gives up.
        """
        place = (host, port, tls)
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if connection.usable:
                connection.begin(request, partial(self._answered, connection, place, done))
                return connection.give_up
        return None

    def _answered(
        self,
        connection: "_Connection",
        place: _Place,
        done: Callable[[Answer | None], None],
        answer: Answer | ConnectionResetError,
    ) -> None:
        self._keep(connection, place)
        done(answer if isinstance(answer, Answer) else None)

    async def _ask(self, place: _Place, method: str, request: bytes) -> Answer:
        # A kept connection may be closed by the server at any moment, which says nothing about the server. Only what
        # may be repeated goes there: nobody knows whether a POST that got no answer was heard.
        idle = self._idle.get(place)
        while idle and method in _REPEATABLE:
            connection = idle.pop()
            if connection.usable:
                try:
                    return await self._use(connection, place, method, request)
                except ConnectionError:
                    break
        connection = await self._connect(_Connection, *place)
        return await self._use(connection, place, method, request)

    async def _use(self, connection: "_Connection", place: _Place, method: str, request: bytes) -> Answer:
        try:
            answer = await connection.ask(method, request)
        except BaseException:
            connection.close()
            raise
        self._keep(connection, place)
        return answer

    def _keep(self, connection: "_Connection", place: _Place) -> None:
        idle = self._idle.setdefault(place, [])
        if connection.usable and len(idle) < self._idle_per_server:
            idle.append(connection)
        else:
            connection.close()

    def forget(self, host: str, port: int) -> None:
        """Close what is kept for a server that is gone."""
        for place in [place for place in self._idle if place[:2] == (host, port)]:
            for connection in self._idle.pop(place):
                connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        for host, port, _ in list(self._idle):
            self.forget(host, port)


def written(
    method: str, host: str, port: int, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """The request as it goes out."""
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"{method} {path} HTTP/1.1", f"host: {name}", *(f"{key}: {value}" for key, value in headers)]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def _reason(error: OSError) -> str:
    # An event loop may wrap the reason in a sentence with the address, which the caller knows.
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error) or type(error).__name__


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: Callable[[Answer | ConnectionResetError], None] | None = None  # of the question under way
        self._answer: Answer | None = None  # to it, complete
        self._keep = True
        self._head_only = False
        self._head_read = False
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0

    @property
    def usable(self) -> bool:
        return self._keep and self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a Transport

    def begin(self, request: bytes, done: Callable[[Answer | ConnectionResetError], None]) -> None:
        """Ask; `done` is called once with what came of it, unless it is given up before."""
        assert self._transport is not None
        self._done = done
        self._transport.write(request)

    async def ask(self, method: str, request: bytes) -> Answer:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._head_only = method == "HEAD"
        self.begin(request, partial(_settle, waiter))
        return await waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def give_up(self) -> None:
        """Nobody wants the answer any more."""
        self._done = None
        self.close()

    @property
    def _asked(self) -> bool:
        return self._done is not None and self._answer is None

    def _tell(self, what: Answer | ConnectionResetError) -> None:
        done, self._done, self._answer = self._done, None, None
        if done is not None:
            done(what)

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self.close()  # an answer to nothing: whatever comes next on this connection can't be trusted
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"not an HTTP answer: {error}")
        if self._answer is not None:
            self._tell(self._answer)

    def eof_received(self) -> None:
        # An answer without a length ends where the connection does.
        self._keep = False
        if self._asked and self._head_read and not self._delimited():
            self.on_message_complete()
            if self._answer is not None:
                self._tell(self._answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("the server closed the connection")

    def _delimited(self) -> bool:
        return any(name in ("content-length", "transfer-encoding") for name, _ in self._headers)

    def _fail(self, reason: str) -> None:
        self._tell(ConnectionResetError(reason))
        self.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        if not self._asked:
            self._keep = False  # a second answer to one question

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._head_read = True
        if self._head_only and self._parser.get_status_code() >= 200:
            self._keep = False  # the parser would wait for the body that the headers speak of
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _LONGEST_BODY:
            self._fail(f"an answer of more than {_LONGEST_BODY >> 20} MiB")
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, body = tuple(self._headers), b"".join(self._body)
        self._headers, self._body, self._size, self._head_read = [], [], 0, False
        if status < 200:
            return  # 100 Continue and the like: the answer is still to come
        self._keep = self._keep and self._parser.should_keep_alive()
        if self._asked:
            self._answer = Answer(status, headers, body)


def _settle(waiter: "asyncio.Future[Answer]", what: Answer | ConnectionResetError) -> None:
    if waiter.done():
        return
    if isinstance(what, Answer):
        waiter.set_result(what)
    else:
        waiter.set_exception(what)
