"""How many requests of a pool may be sent again?  A share of all, so that many failures don't become more requests.

Source of the idea: Finagle's RetryBudget, Envoy's retry budget. What was sent again and then answered is paid back: one
server of two that dies takes half of the requests with it, and the other one can have them.
"""

SHARE = 0.2  # of the requests of the window and those that are under way
FLOOR = 10  # retries that may be made in a window, however few requests there are
WINDOW_S = 10.0
_PARTS = 10


class Budget:
    """Of one pool. Mutable, owned by the edge, which counts the requests that have ended."""

    __slots__ = ("_floor", "_part", "_requests", "_spent")

    def __init__(self, floor: int = FLOOR) -> None:
        self._floor = floor
        self._part = 0  # of time; a window has _PARTS of them
        self._requests = [0] * _PARTS
        self._spent = [0] * _PARTS

    def ended(self, requests: int, now: float) -> None:
        """So many requests have ended."""
        self._move(now)
        self._requests[self._part % _PARTS] += requests

    def spend(self, under_way: int, now: float) -> bool:
        """Whether one more may be sent again; if so, that is counted. `under_way`: requests of the pool."""
        self._move(now)
        if sum(self._spent) + 1 > max(self._floor, SHARE * (sum(self._requests) + under_way)):
            return False
        self._spent[self._part % _PARTS] += 1
        return True

    def pay_back(self, retries: int, now: float) -> None:
        """What was sent again has been answered: so many times less than was counted, the latest first."""
        self._move(now)
        for part in range(self._part, self._part - _PARTS, -1):
            back = min(retries, self._spent[part % _PARTS])
            self._spent[part % _PARTS] -= back
            retries -= back

    def _move(self, now: float) -> None:
        """Forget what was before the window."""
        part = int(now * _PARTS / WINDOW_S)
        for gone in range(max(self._part + 1, part - _PARTS + 1), part + 1):
            self._requests[gone % _PARTS] = self._spent[gone % _PARTS] = 0
        self._part = max(self._part, part)
