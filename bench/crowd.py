"""Many clients at once: each connects, asks once, and stays.

    python -m bench.crowd DIRECTORY HOST PORT CONNECTIONS CHECK

Prints a Tally as JSON when each has its answer (or can't have one any more), and another one when standard input
ends: then with `stayed`, the connections that are still open.
"""

import asyncio
import sys
from pathlib import Path

import msgspec
import uvloop

from bench.asker import Address, Asker, Recorder, connect

_CONNECTING = 128  # at once: a crowd that comes in a second, not a flood that fills the listening queue
_LIMIT_S = 60.0  # for all of them to have their answers


class _Crowd:
    def __init__(self, recorder: Recorder, size: int) -> None:
        self._recorder, self._size = recorder, size
        self._asked: set[Asker] = set()
        self.open = 0
        self.answered = asyncio.Event()

    def ready(self, asker: Asker) -> None:
        if asker in self._asked:
            self._count()
        else:
            self.open += 1
            self._asked.add(asker)
            asker.ask()

    def lost(self, asker: Asker) -> None:
        self.open -= 1
        self._count()

    def _count(self) -> None:
        if self._recorder.tally.requests + self._recorder.tally.wrong >= self._size:
            self.answered.set()

    async def come(self, address: Address) -> None:
        turns = iter(range(self._size))

        async def connect_some() -> None:
            for at in turns:
                await connect(self, self._recorder, self._recorder.turns(at), address)
            self._count()

        tally = self._recorder.tally
        try:
            async with asyncio.timeout(_LIMIT_S):
                await asyncio.gather(*(connect_some() for _ in range(_CONNECTING)))
                await self.answered.wait()
        except TimeoutError:
            missing = self._size - tally.requests - tally.wrong
            tally.wrong += missing
            tally.why = tally.why or f"{missing} without a whole answer after {_LIMIT_S:g} s"


async def _drive(directory: Path, address: Address, size: int, check: str) -> None:
    recorder = Recorder(directory, check)
    crowd = _Crowd(recorder, size)
    await crowd.come(address)
    recorder.tally.stayed = crowd.open
    _say(recorder)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    recorder.tally.stayed = crowd.open
    _say(recorder)


def _say(recorder: Recorder) -> None:
    print(msgspec.json.encode(recorder.result()).decode(), flush=True)


def main() -> None:
    directory, host, port, size, check = sys.argv[1:]
    uvloop.run(_drive(Path(directory), (host, int(port)), int(size), check))


if __name__ == "__main__":
    main()
