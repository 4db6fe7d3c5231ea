"""The load generator that is always there: keep-alive connections, one request at a time each, every answer checked.

    python -m bench.load DIRECTORY HOST PORT CONNECTIONS SECONDS CHECK STAGGER

The connections begin STAGGER seconds after each other. For SECONDS new requests are sent; those on the way then finish,
so that every request sent is one counted. CHECK says how answers are compared (bench/answers.py). Prints a Tally as
JSON.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from bench.asker import Address, Asker, Recorder, Tally, connect

_GIVE_UP = 100  # wrong answers: the run is void by the first, more of them tell nothing new
_GRACE_S = 45.0


class _Loop:
    """Asks again and again until the time is over; a connection that is closed early is made anew."""

    def __init__(self, recorder: Recorder, address: Address, connections: int, seconds: float) -> None:
        self._recorder, self._address = recorder, address
        self._until = recorder.begin + seconds
        self.open = connections
        self.done = asyncio.get_running_loop().create_future()

    def _ended(self) -> bool:
        return time.perf_counter() >= self._until or self._recorder.tally.wrong >= _GIVE_UP

    def ready(self, asker: Asker) -> None:
        if self._ended():
            asker.close()
        else:
            asker.ask()

    def lost(self, asker: Asker) -> None:
        if self._ended():
            self.closed()
        else:
            asyncio.ensure_future(self.connect(asker.turns))  # noqa: RUF006

    async def connect(self, turns: Iterator[bytes]) -> None:
        if not await connect(self, self._recorder, turns, self._address):
            self.closed()

    def closed(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


async def _drive(
    directory: Path, address: Address, connections: int, seconds: float, check: str, stagger: float
) -> Tally:
    recorder = Recorder(directory, check)
    loop = _Loop(recorder, address, connections, seconds)
    for at in range(connections):
        await loop.connect(recorder.turns(at))
        if stagger:
            await asyncio.sleep(stagger)
    try:
        await asyncio.wait_for(loop.done, seconds + _GRACE_S)
    except TimeoutError:
        recorder.tally.wrong += loop.open
        recorder.tally.why = recorder.tally.why or f"no whole answer within {_GRACE_S:g} s"
    return recorder.result()


def main() -> None:
    directory, host, port, connections, seconds, check, stagger = sys.argv[1:]
    address, times = (host, int(port)), (float(seconds), float(stagger))
    tally = uvloop.run(_drive(Path(directory), address, int(connections), times[0], check, times[1]))
    print(msgspec.json.encode(tally).decode())


if __name__ == "__main__":
    main()
