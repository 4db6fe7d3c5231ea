"""Envoy's process: started, watched, started again with back-off when it ends, and ended with us."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from headgate.runtime.envoy.admin import Face
from headgate.runtime.pods.backoff import Backoff
from headgate.runtime.pods.process import Process, Spawner, SpawnError

_LOOK_S = 0.01
_START_S = 30.0  # for Envoy to read its configuration


class Child:
    """`say` hears of each end that nobody asked for. Its output goes to the file `log`."""

    def __init__(
        self, argv: Sequence[str], spawner: Spawner, face: Face, log: Path, say: Callable[[str], None]
    ) -> None:
        self._argv = argv
        self._spawner = spawner
        self._face = face
        self._log = log
        self._say = say
        self._process: Process | None = None
        self._serves = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Returns once it serves, or has had time enough to. Raises SpawnError where it can't be started."""
        await self._spawn()
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            async with asyncio.timeout(_START_S):
                await self._serves.wait()
        except TimeoutError:
            self._say(f"Envoy does not serve after {_START_S:.0f} s: {self._log} says why.")

    async def stop(self) -> None:
        """Its requests are over, or have no more time."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._process is not None:
            self._process.kill()
        await self._spawner.close()

    async def _spawn(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = await self._spawner.start(self._argv, os.environ, str(self._log.parent), str(self._log))

    async def _watch(self) -> None:
        backoff = Backoff()
        while True:
            process, began = self._process, monotonic()
            assert process is not None
            ready_at = await self._until_it_serves(process)
            code = await asyncio.shield(process.ended)
            self._serves.clear()
            ended = monotonic()
            wait, backoff = backoff.after(ended - began, ended - ready_at if ready_at else 0.0)
            when = f"in {wait:g} s" if wait else "now"
            self._say(f"Envoy has ended ({_words(code)}) and is started again {when}: {self._log} says why.")
            await asyncio.sleep(wait)
            try:
                await self._spawn()
            except SpawnError as error:
                self._say(f"Envoy can't be started: {error}")

    async def _until_it_serves(self, process: Process) -> float | None:
        """When that was; None where it has ended before."""
        while not process.ended.done():
            if await self._face.serves():
                self._serves.set()
                return monotonic()
            await asyncio.sleep(_LOOK_S)
        return None


def _words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"
