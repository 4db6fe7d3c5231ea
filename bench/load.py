"""The load generator that is always there: keep-alive connections, one request at a time each, every answer checked.

    python -m bench.load DIRECTORY HOST PORT CONNECTIONS SECONDS

DIRECTORY holds request-*.bin (sent in turn, as they are) and answer.bin (what each answer's body must be). For SECONDS
new requests are sent; those on the way then finish, so that every request sent is one counted. Prints a Tally as JSON.
The times are from sending to the last byte; where answers are streams, from one read to the next within an answer.
"""

import asyncio
import itertools
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import httptools
import msgspec
import uvloop

_GIVE_UP = 100  # wrong answers: the run is void by the first, more of them tell nothing new
_GRACE_S = 20.0


class Tally(msgspec.Struct):
    """`requests` were answered rightly in `seconds`; `wrong` were not, the first of them because of `why`."""

    requests: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    wrong: int = 0
    why: str = ""


class _Run:
    def __init__(self, directory: Path, seconds: float) -> None:
        self.answer = (directory / "answer.bin").read_bytes()
        self.requests = [path.read_bytes() for path in sorted(directory.glob("request-*.bin"))]
        self.tally, self.times = Tally(), array("d")
        self.begin = self.end = time.perf_counter()
        self.until = self.begin + seconds
        self.open = 0
        self.done = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.until or self.tally.wrong >= _GIVE_UP

    def spoil(self, why: str) -> None:
        self.tally.wrong += 1
        self.tally.why = self.tally.why or why

    def closed(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run, turns: Iterator[bytes]) -> None:
        self._run, self._turns = run, turns
        self._streams = run.answer.startswith(b"data:")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._ask()

    def _ask(self) -> None:
        self._pieces: list[bytes] = []
        self._waiting = not self._run.over
        if self._waiting:
            self._since = time.perf_counter()
            self._transport.write(next(self._turns))
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._spoil(f"not HTTP: {error}")
            return
        if self._streams and self._pieces:
            now = time.perf_counter()
            self._run.times.append(now - self._since)
            self._since = now

    def on_body(self, body: bytes) -> None:
        if not self._pieces and self._streams:
            self._since = time.perf_counter()  # the time to the first chunk is not a gap between chunks
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        run = self._run
        status, body = self._parser.get_status_code(), b"".join(self._pieces)
        if status != 200 or body != run.answer:
            self._spoil(f"status {status}, {len(body)} bytes: {body[:200].decode(errors='replace')}")
            return
        run.end = time.perf_counter()
        run.tally.requests += 1
        if not self._streams:
            run.times.append(run.end - self._since)
        keep = self._parser.should_keep_alive()
        self._waiting = False
        if keep:
            self._ask()
        else:
            self._transport.close()

    def _spoil(self, why: str) -> None:
        self._run.spoil(why)
        self._waiting = False
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        run = self._run
        if self._waiting:
            run.spoil(f"the connection was closed before the answer was whole: {exc or 'end of file'}")
        if run.over:
            run.closed()
        else:
            asyncio.ensure_future(_connect(run, self._transport.get_extra_info("peername"), self._turns))  # noqa: RUF006


async def _connect(run: _Run, address: tuple[str, int], turns: Iterator[bytes]) -> None:
    try:
        await asyncio.get_running_loop().create_connection(lambda: _Connection(run, turns), *address)
    except OSError as error:
        run.spoil(f"no connection: {error.strerror}")
        run.closed()


async def _drive(directory: Path, address: tuple[str, int], connections: int, seconds: float) -> Tally:
    run = _Run(directory, seconds)
    run.open = connections
    for at in range(connections):
        start = at % len(run.requests)
        await _connect(run, address, itertools.cycle(run.requests[start:] + run.requests[:start]))
    try:
        await asyncio.wait_for(run.done, seconds + _GRACE_S)
    except TimeoutError:
        run.tally.wrong += run.open
        run.tally.why = run.tally.why or f"no whole answer within {_GRACE_S:g} s"
    tally, times = run.tally, sorted(run.times)
    tally.seconds = run.end - run.begin
    if times:
        tally.p50_ms, tally.p99_ms = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    return tally


def main() -> None:
    directory, host, port, connections, seconds = sys.argv[1:]
    tally = uvloop.run(_drive(Path(directory), (host, int(port)), int(connections), float(seconds)))
    print(msgspec.json.encode(tally).decode())


if __name__ == "__main__":
    main()
