"""One timer and a bounded number of tasks, for those who ask many servers in turn."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic

AT_ONCE = 64
_WHOLE_S = 0.001  # uvloop counts whole milliseconds: what comes a little too early finds nothing due, and comes again


class Rounds:
    """`tick(now)` begins what is due, and returns when it wants to be called again (seconds of `monotonic`)."""

    def __init__(self, tick: Callable[[float], float]) -> None:
        self._tick = tick
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._started = False

    @property
    def begun(self) -> int:
        """How many are under way. From AT_ONCE on, what is due has to wait for one of the next ticks."""
        return len(self._tasks)

    def start(self) -> None:
        """Begin; from inside the event loop."""
        self._started = True
        self.soon()

    async def stop(self) -> None:
        """Begin nothing more, and end what is under way."""
        self._started = False
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def soon(self) -> None:
        """What is due has changed: the next tick comes at once."""
        if self._started:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(0, self._turn)

    def begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _turn(self) -> None:
        now = monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._tick(now) - now + _WHOLE_S, self._turn)
