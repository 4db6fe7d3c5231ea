"""A raw server and a raw client, byte by byte, and the messages that tests send with them."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE_S = 20.0  # for anything that a test waits for

GET = b"GET /a HTTP/1.1\r\nhost: gw\r\n\r\n"
CHAT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n"
    b'{"model":"m"}'
)
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as the kernel does for a killed process that had bytes to read: with RST."""
    if writer.transport.is_closing():
        return
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Reply:
    """An answer as it came; `whole` is False when the connection ended before it did."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, *, whole: bool = True) -> None:
        self.status, self.body, self.whole = status, body, whole
        self.trailers: dict[str, str] = {}
        self.headers = dict(headers)
        assert len(self.headers) == len(headers), headers

    @property
    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)["error"]


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    if not size:
        return b""
    data = await reader.readexactly(size + 2)
    assert data.endswith(b"\r\n")
    return data[:-2]


async def read_trailers(reader: asyncio.StreamReader) -> dict[str, str]:
    lines = []
    while line := (await reader.readuntil(b"\r\n"))[:-2]:
        lines.append(line.decode("latin-1").split(": ", 1))
    assert len(dict(lines)) == len(lines)
    return dict(lines)


class Client:
    """A raw HTTP/1.1 client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        """What can be sent before the gateway closes."""
        if self.writer.transport.is_closing():
            return
        self.writer.write(raw)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        first, *lines = raw.decode("latin-1")[:-4].split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        return int(status), [(name, value) for name, value in (line.split(": ", 1) for line in lines)]

    async def answer(self, *, to: str = "GET") -> Reply:
        return await asyncio.wait_for(self._answer(to), DEADLINE_S)

    async def _answer(self, to: str) -> Reply:
        status, headers = await self.head()
        given, trailers = dict(headers), {}
        body = bytearray()
        try:
            if to == "HEAD" or status in (204, 304) or status < 200:
                pass
            elif "content-length" in given:
                body += await self.reader.readexactly(int(given["content-length"]))
            elif given.get("transfer-encoding") == "chunked":
                while chunk := await self.chunk():
                    body += chunk
                trailers = await read_trailers(self.reader)
            else:
                body += await self.reader.read()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return Reply(status, headers, bytes(body + getattr(error, "partial", b"")), whole=False)
        reply = Reply(status, headers, bytes(body))
        reply.trailers = trailers
        return reply

    async def chunk(self) -> bytes:
        """The next one; b"" when there are no more, and trailers come, if any."""
        return await read_chunk(self.reader)

    async def ended(self) -> bool:
        """Whether the gateway closes, with nothing more to say."""
        try:
            return await asyncio.wait_for(self.reader.read(1), DEADLINE_S) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        reset(self.writer)


class Request:
    """One request as a backend has read it, and the raw connection to answer it on."""

    reader: asyncio.StreamReader  # for what is no request
    trailers: dict[str, str]

    def __init__(self, backend: "Server", head: bytes, body: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.body, self.backend, self.writer, self.number = body, backend, writer, number

    async def write(self, raw: bytes) -> None:
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self, body: bytes = b"ok", *, status: str = "200 OK", headers: str = "") -> None:
        await self.write(
            b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status.encode(), headers.encode(), len(body), body)
        )

    def reset(self) -> None:
        reset(self.writer)

    def close(self) -> None:
        self.writer.close()


Answer = Callable[[Request], Awaitable[None]]


def post(body: bytes, path: str = "/v1/chat/completions", extra: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: gw\r\n%bcontent-length: %d\r\n\r\n%b" % (path.encode(), extra, len(body), body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def writes(raw: bytes, *, then: str = "") -> Answer:
    """A server that writes these bytes, and then may `close` or `reset`."""

    async def answer(request: Request) -> None:
        await request.write(raw)
        if then:
            getattr(request, then)()

    return answer


async def ok(request: Request) -> None:
    await request.reply()


async def echo(request: Request) -> None:
    """Says back what it was asked."""
    await request.reply(request.line.encode() + b"\n" + request.body)


async def hang(request: Request) -> None:
    await asyncio.Event().wait()


class Server:
    """A raw server: it reads requests, by their length or in chunks, and `answer` writes whatever it wants."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name, self.answer = name, answer
        self.requests: list[Request] = []
        self.open: set[asyncio.StreamWriter] = set()
        self.accepted = 0
        self.port = 0
        self.server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open.add(writer)
        playing: asyncio.Task[None] | None = None
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                given = {k: v for k, _, v in (h.partition(b": ") for h in head.split(b"\r\n"))}
                assert not {b"content-length", b"transfer-encoding"} <= set(given)
                body, trailers = b"", {}
                if given.get(b"transfer-encoding") == b"chunked":
                    while chunk := await read_chunk(reader):
                        body += chunk
                    trailers = await read_trailers(reader)
                else:
                    body = await reader.readexactly(int(given.get(b"content-length", 0)))
                request = Request(self, head, body, writer, len(self.requests))
                request.reader, request.trailers = reader, trailers
                self.requests.append(request)
                playing = asyncio.create_task(self._play(request))
                await self._watch(reader, playing)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if playing is not None:
                playing.cancel()
            self.open.discard(writer)
            writer.close()

    async def _play(self, request: Request) -> None:
        with contextlib.suppress(ConnectionError):
            await self.answer(request)

    async def _watch(self, reader: asyncio.StreamReader, playing: "asyncio.Task[None]") -> None:
        """Until the answer is played, or the gateway hangs up."""
        while not playing.done():
            if reader.at_eof() or reader.exception() is not None:
                raise ConnectionResetError
            await asyncio.wait([playing], timeout=0.002)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in list(self.open):
            writer.transport.abort()
        await asyncio.sleep(0)
