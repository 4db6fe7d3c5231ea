"""The canned model server where there is no C compiler: bench/backend.c again, in Python (uvloop, httptools).

    python -m bench.fallback DIR PORT INTERVAL_MS ADDRESS...

Same files, same answers, byte for byte; slower, so the system under test waits for it more often.
"""

import asyncio
import errno
import functools
import sys
import time
from collections import deque
from pathlib import Path

import httptools
import uvloop
from msgspec import Struct

_DATE_AND_SERVER = b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    + _DATE_AND_SERVER
    + b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
_PORT_TAKEN = 3
_SCANNED_BODY = 256 << 10  # a longer body is no stream of ours: it is not searched
_STAMP = b"sent-" + b"0" * 19


class _Canned(Struct, frozen=True):
    """Whole answers by path, and a stream's events framed as chunks; the last comes without and with the usage."""

    answers: dict[bytes, bytes]
    missing: bytes
    pages: tuple[tuple[bytes, bytes], ...]
    events: tuple[bytes, ...]
    last: bytes
    last_with_usage: bytes


def _answer(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\n%scontent-length: %d\r\ncontent-type: %s\r\n\r\n"
    return head % (status, _DATE_AND_SERVER, len(body), kind) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _read(directory: Path, endpoints: int) -> _Canned:
    json = b"application/json"
    answers = {
        b"/v1/chat/completions": _answer(b"200 OK", json, (directory / "chat.json").read_bytes()),
        b"/v1/models": _answer(b"200 OK", json, (directory / "models.json").read_bytes()),
        b"/health": _answer(b"200 OK", b"text/plain; charset=utf-8", b""),
    }
    pages = [(directory / f"metrics-{at}.txt").read_bytes().split(b"@RUNNING@") for at in range(endpoints)]
    *events, done, _ = (_chunk(event + b"\n\n") for event in (directory / "stream.sse").read_bytes().split(b"\n\n"))
    usage = _chunk((directory / "usage.sse").read_bytes())
    return _Canned(
        answers,
        _answer(b"404 Not Found", json, b'{"detail":"Not Found"}'),
        tuple((page[0], page[1]) for page in pages),
        tuple(events),
        done + b"0\r\n\r\n",
        usage + done + b"0\r\n\r\n",
    )


class _Server(asyncio.Protocol):
    """One connection. Requests that come while a stream runs wait for its end."""

    def __init__(self, canned: _Canned, running: list[int], served: list[int], endpoint: int, interval: float) -> None:
        self._canned, self._running, self._endpoint, self._interval = canned, running, endpoint, interval
        self._served = served  # metrics pages, by all endpoints together: one number
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._path, self._body = b"", list[bytes]()
        self._waiting: deque[tuple[bytes, bytes]] = deque()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
            self._running[self._endpoint] -= 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._path, self._body = b"", []

    def on_url(self, piece: bytes) -> None:
        self._path += piece

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._waiting.append((self._path, b"".join(self._body)))
        self._answer()

    def _answer(self) -> None:
        canned = self._canned
        while self._waiting and not self._timer:
            path, body = self._waiting.popleft()
            if path == b"/metrics":
                start, end = canned.pages[self._endpoint]
                page = start + b"%d.0" % self._running[self._endpoint] + end
                self._served[0] += 1
                self._transport.write(_answer(b"200 OK", b"text/plain; version=1.0.0; charset=utf-8", page))
            elif path == b"/pages":
                self._transport.write(_answer(b"200 OK", b"text/plain", b"%d" % self._served[0]))
            elif path == b"/v1/chat/completions" and len(body) <= _SCANNED_BODY and _has(body, b'"stream":', b"true"):
                self._start_stream(canned.last_with_usage if _has(body, b'"include_usage":', b"true") else canned.last)
            else:
                self._transport.write(canned.answers.get(path, canned.missing))

    def _start_stream(self, last: bytes) -> None:
        self._transport.write(_STREAM_HEAD)
        self._running[self._endpoint] += 1
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._interval
        self._timer = loop.call_at(self._due, self._step, 0, last)

    def _step(self, at: int, last: bytes) -> None:
        events = self._canned.events
        event = events[at].replace(_STAMP, b"sent-%019d" % time.monotonic_ns())
        if at + 1 == len(events):
            self._transport.write(event + last)
            self._timer = None
            self._running[self._endpoint] -= 1
            self._answer()
            return
        self._transport.write(event)
        self._due += self._interval
        self._timer = asyncio.get_running_loop().call_at(self._due, self._step, at + 1, last)


def _has(body: bytes, name: bytes, value: bytes) -> bool:
    return name + value in body or name + b" " + value in body


async def _serve(directory: Path, port: int, interval: float, addresses: list[str]) -> None:
    canned, running, served = _read(directory, len(addresses)), [0] * len(addresses), [0]
    loop = asyncio.get_running_loop()
    for at, address in enumerate(addresses):
        connect = functools.partial(_Server, canned, running, served, at, interval)
        server = await loop.create_server(connect, address, port, backlog=4096)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    directory, port, interval_ms, *addresses = sys.argv[1:]
    try:
        uvloop.run(_serve(Path(directory), int(port), float(interval_ms) / 1000, addresses))
    except OSError as error:
        print(f"fallback: {error}", file=sys.stderr)
        sys.exit(_PORT_TAKEN if error.errno == errno.EADDRINUSE else 1)


if __name__ == "__main__":
    main()
