"""How late does the event loop come to what is due?  While it stands still, no request moves."""

import asyncio
from collections.abc import Callable
from time import monotonic, process_time

from headgate.runtime.exposition import Page
from headgate.runtime.histogram import Histogram

_EACH_S = 0.01  # a stall shorter than this may be missed, a longer one seems shorter by up to this
_AT_REST_S = 0.05  # the same where nothing went on before
_REST_S = 0.001  # of computing, between two looks: less is rest
_LONG_S = 0.05
_SAY_EACH_S = 60.0
_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Watchdog:
    """Of one event loop. Costs 0.1 % of a core at rest, where each look is a wake-up of its own.

    `say` hears of stalls over 50 ms, once a minute at most, and only of those in which this process was computing: in
    others the machine had something else to do.
    """

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say
        self._late = Histogram(_BOUNDS)
        self.longest = 0.0
        self._due_at = self._worked = 0.0
        self._untold: list[float] = []
        self._told_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; from inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._schedule(monotonic(), _EACH_S)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, now: float, later: float) -> None:
        self._due_at = now + later
        self._timer = self._loop.call_later(later, self._tick)

    def _tick(self) -> None:
        now, worked = monotonic(), process_time()
        late = now - self._due_at
        worked, self._worked = worked - self._worked, worked
        self._late.observe(late if late > 0.0 else 0.0)
        if late > self.longest:
            self.longest = late
        if late > _LONG_S:
            self._stalled(late, worked, now)
        self._schedule(now, _EACH_S if worked > _REST_S else _AT_REST_S)

    def _stalled(self, late: float, worked: float, now: float) -> None:
        if self._say is None or worked < late / 2:
            return
        self._untold.append(late)
        if now - self._told_at < _SAY_EACH_S:
            return
        stalls, self._untold, self._told_at = self._untold, [], now
        since = f" ({len(stalls)} times since this was said last)" if len(stalls) > 1 else ""
        self._say(f"The event loop stood still for {max(stalls) * 1000:.0f} ms{since}: meanwhile no request moved.")

    def describe(self, page: Page) -> None:
        name = "headgate_loop_stall_seconds"
        page.family(name, "histogram", "How late the event loop came to what was due.")
        self._late.write(page, name, ())
        text = "The longest that the event loop has stood still."
        page.one("headgate_loop_longest_stall_seconds", "gauge", text, round(self.longest, 6), peak=True)
