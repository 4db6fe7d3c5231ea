"""A server of raw bytes over a real socket: it answers each request with what a function of its path says."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress


class RawServer:
    """`answer(path)` → bytes to send, or (bytes, "close") to close after them, or None to say nothing at all."""

    def __init__(self, answer: Callable[[str], object]) -> None:
        self.answer = answer
        self.asked: list[str] = []  # paths, in order
        self.requests: list[bytes] = []  # heads and bodies
        self.connections = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                path = head.split(b" ")[1].decode()
                self.asked.append(path)
                said = self.answer(path)
                if said is None:
                    continue
                data, close = said if isinstance(said, tuple) else (said, "")
                writer.write(data)
                await writer.drain()
                if close:
                    break
        writer.close()

    def drop_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def serving(answer: Callable[[str], object], host: str = "127.0.0.1"):
    raw = RawServer(answer)
    server = await asyncio.start_server(raw._serve, host, 0)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        raw.drop_connections()


def ok(body: bytes | str, status: str = "200 OK", headers: str = "") -> bytes:
    if isinstance(body, str):
        body = body.encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until it holds; fails when it does not within the time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)
