"""A client's connection that asks and checks; what all of them have seen is counted in one Recorder."""

import asyncio
import itertools
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import httptools
import msgspec

from bench.answers import CHECKS, stamps

Address = tuple[str, int]


class Tally(msgspec.Struct):
    """`requests` were answered rightly in `seconds`; `wrong` were not, the first of them because of `why`.

    The times are from sending to the last byte; of streams, from each chunk's leaving the server to its coming here.
    `first` are those from sending to a stream's first chunk.
    """

    requests: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    first_p50_ms: float = 0.0
    first_p99_ms: float = 0.0
    wrong: int = 0
    why: str = ""
    at_once: int = 0  # streams that ran at the same time, at most
    stayed: int = 0  # connections that were still open when nobody asked any more


class Recorder:
    """`directory` holds request-*.bin (sent in turn, as they are) and answer.bin (what each answer's body must be)."""

    def __init__(self, directory: Path, check: str) -> None:
        answer = (directory / "answer.bin").read_bytes()
        self.right = CHECKS[check](answer)
        self.streams = answer.startswith(b"data:")
        self.requests = [path.read_bytes() for path in sorted(directory.glob("request-*.bin"))]
        self.tally, self.times, self.firsts = Tally(), array("d"), array("d")  # seconds
        self.begin = self.end = time.perf_counter()
        self.streaming = 0

    def turns(self, at: int) -> Iterator[bytes]:
        """The requests in turn, for ever, from another one for each connection."""
        start = at % len(self.requests)
        return itertools.cycle(self.requests[start:] + self.requests[:start])

    def spoil(self, why: str) -> None:
        self.tally.wrong += 1
        self.tally.why = self.tally.why or why

    def result(self) -> Tally:
        tally = self.tally
        tally.seconds = self.end - self.begin
        tally.p50_ms, tally.p99_ms = _percentiles(self.times)
        tally.first_p50_ms, tally.first_p99_ms = _percentiles(self.firsts)
        return tally


def _percentiles(times: Sequence[float]) -> tuple[float, float]:
    """Milliseconds that half of them took at most, and 99 of 100."""
    told = sorted(times)
    return (told[len(told) // 2] * 1000, told[int(len(told) * 0.99)] * 1000) if told else (0.0, 0.0)


class Owner(Protocol):
    """Who decides what a connection does next."""

    def ready(self, asker: "Asker") -> None:
        """It is connected, or has its answer: let it ask, or close it, or leave it as it is."""

    def lost(self, asker: "Asker") -> None:
        """It is closed, by whoever."""


class Asker(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, owner: Owner, recorder: Recorder, turns: Iterator[bytes]) -> None:
        self._owner, self._recorder, self.turns = owner, recorder, turns
        self._waiting = False
        self._pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._owner.ready(self)

    @property
    def address(self) -> Address:
        host, port = self._transport.get_extra_info("peername")[:2]
        return host, port

    def ask(self) -> None:
        self._pieces, self._waiting = [], True
        self._since = time.perf_counter()
        self._transport.write(next(self.turns))

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._came = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._spoil(f"not HTTP: {error}")

    def on_body(self, body: bytes) -> None:
        if self._recorder.streams:
            if not self._pieces:
                self._recorder.streaming += 1
                self._recorder.tally.at_once = max(self._recorder.tally.at_once, self._recorder.streaming)
                self._recorder.firsts.append(time.perf_counter() - self._since)
            for sent in stamps(body):
                self._recorder.times.append((self._came - sent) / 1e9)
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        recorder, body = self._recorder, b"".join(self._pieces)
        status = self._parser.get_status_code()
        if status != 200 or not recorder.right(body):
            self._spoil(f"status {status}, {len(body)} bytes: {body[:200].decode(errors='replace')}")
            return
        self._over()
        recorder.end = time.perf_counter()
        recorder.tally.requests += 1
        if not recorder.streams:
            recorder.times.append(recorder.end - self._since)
        if self._parser.should_keep_alive():
            self._owner.ready(self)
        else:
            self._transport.close()

    def _over(self) -> None:
        if self._recorder.streams and self._pieces:
            self._recorder.streaming -= 1
        self._waiting, self._pieces = False, []

    def _spoil(self, why: str) -> None:
        self._recorder.spoil(why)
        self._over()
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._recorder.spoil(f"the connection was closed before the answer was whole: {exc or 'end of file'}")
            self._over()
        self._owner.lost(self)


async def connect(owner: Owner, recorder: Recorder, turns: Iterator[bytes], address: Address) -> bool:
    """False, and one answer less than there should be, when there is no connection to be had."""
    try:
        await asyncio.get_running_loop().create_connection(lambda: Asker(owner, recorder, turns), *address)
    except OSError as error:
        recorder.spoil(f"no connection: {error.strerror}")
        return False
    return True
