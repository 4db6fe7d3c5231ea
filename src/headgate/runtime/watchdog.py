"""How late does the event loop come to what is due?  While it stands still, no request moves."""

import asyncio
from collections.abc import Callable
from time import monotonic, process_time

from headgate.runtime.exposition import Page
from headgate.runtime.histogram import Histogram

_EACH_S = 0.01  # a stall shorter than this may be missed, a longer one seems shorter by up to this
_LONG_S = 0.05
_SAY_EACH_S = 60.0
_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Watchdog:
    """Of one event loop. Costs 0.05 % of a core.

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
        self._schedule(monotonic())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, now: float) -> None:
        self._due_at, self._worked = now + _EACH_S, process_time()
        self._timer = asyncio.get_running_loop().call_later(_EACH_S, self._tick)

    def _tick(self) -> None:
        now = monotonic()
        late = max(0.0, now - self._due_at)
        self._late.observe(late)
        self.longest = max(self.longest, late)
        if late > _LONG_S:
            self._stalled(late, process_time() - self._worked, now)
        self._schedule(now)

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
        page.family(name, "histogram", "How late the event loop came to what was due, looked at each 10 ms.")
        self._late.write(page, name, ())
        text = "The longest that the event loop has stood still."
        page.one("headgate_loop_longest_stall_seconds", "gauge", text, round(self.longest, 6), peak=True)
