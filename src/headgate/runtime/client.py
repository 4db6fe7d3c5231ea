"""A small HTTP/1.1 client for what the gateway itself asks: metrics, model lists, probes, adapters. Keeps connections."""

import asyncio
from collections.abc import Sequence

import httptools
from msgspec import Struct


class ClientError(Exception):
    """No answer: refused, reset, timed out or not HTTP. The text says which, for people."""


class Answer(Struct, frozen=True):
    """`headers` as they came, names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Client:
    """Asks servers, one question at a time on a connection; idle connections are kept per server and bounded."""

    def __init__(self, idle_per_server: int = 2) -> None:
        self._idle_per_server = idle_per_server
        self._idle: dict[tuple[str, int], list[_Connection]] = {}

    async def fetch(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 5.0,  # noqa: ASYNC109 - one bound over connect, send and answer is what callers want
    ) -> Answer:
        """The server's answer. Raises ClientError when there is none within `timeout` seconds."""
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"{method} {path} HTTP/1.1", f"host: {name}", *(f"{key}: {value}" for key, value in headers)]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
        try:
            async with asyncio.timeout(timeout):
                return await self._ask(host, port, request)
        except TimeoutError:
            raise ClientError(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise ClientError(error.strerror or str(error) or type(error).__name__) from None

    async def _ask(self, host: str, port: int, request: bytes) -> Answer:
        idle = self._idle.setdefault((host, port), [])
        while idle:
            connection = idle.pop()
            if connection.usable:
                try:
                    return await self._use(connection, host, port, request)
                except ConnectionError:
                    break  # the server closed it while it was idle: that says nothing about the server
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, host, port)
        return await self._use(connection, host, port, request)

    async def _use(self, connection: "_Connection", host: str, port: int, request: bytes) -> Answer:
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        idle = self._idle.setdefault((host, port), [])
        if connection.usable and len(idle) < self._idle_per_server:
            idle.append(connection)
        else:
            connection.close()
        return answer

    def forget(self, host: str, port: int) -> None:
        """Close what is kept for a server that is gone."""
        for connection in self._idle.pop((host, port), ()):
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        for host, port in list(self._idle):
            self.forget(host, port)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._keep = True
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    @property
    def usable(self) -> bool:
        return self._keep and self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a Transport

    async def ask(self, request: bytes) -> Answer:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._headers, self._body = [], []
        self._transport.write(request)
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionResetError(f"not an HTTP answer: {error}"))
            self.close()

    def eof_received(self) -> None:
        # An answer without a length ends where the connection does.
        if self._waiter is not None and not self._waiter.done() and self._headers:
            self._keep = False
            if not any(name in ("content-length", "transfer-encoding") for name, _ in self._headers):
                self.on_message_complete()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(ConnectionResetError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers, self._body = [], []
            return
        self._keep = self._keep and self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Answer(status, tuple(self._headers), b"".join(self._body)))
