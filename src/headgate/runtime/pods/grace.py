"""How long may a stop take? A deadline that can be drawn nearer while the stop is under way."""

import asyncio
from typing import Any


class Grace:
    """Counts from when it is made. `hurried`: nobody routes here any more, so there is nothing to sleep for."""

    def __init__(self, seconds: float, *, hurried: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self.hurried = hurried

    def hurry(self, seconds: float) -> None:
        """From now on at most so many seconds, and no sleeping."""
        self._deadline = min(self._deadline, self._loop.time() + seconds)
        self.hurried = True
        self._changed.set_result(None)
        self._changed = self._loop.create_future()

    async def wait(self, what: "asyncio.Future[Any]") -> bool:
        """Whether it was done in time; it is left alone when it was not."""
        while not what.done():
            left = self._deadline - self._loop.time()
            if left <= 0:
                return False
            await asyncio.wait({what, self._changed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def sleep(self, seconds: float) -> None:
        """So long, unless the deadline comes first or there is a hurry."""
        end = min(self._loop.time() + seconds, self._deadline)
        while not self.hurried and self._loop.time() < end:
            await asyncio.wait({self._changed}, timeout=end - self._loop.time())
