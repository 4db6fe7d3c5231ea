"""A body that comes in pieces, until it is whole: bounded, and counted as held."""

from headgate.envoy.plane import Budget
from headgate.exchange.events import Respond
from headgate.exchange.refuse import refuse

_COUNTED = 16 << 10  # bytes from which on it is counted
_TOO_MUCH = refuse(503, "The processor holds as much as it may. Try again later.", code="overloaded")


class Gathering:
    """Mutable, of one request. What was counted is to be let go of."""

    __slots__ = ("_budget", "_counted", "_pieces", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pieces: list[bytes] = []
        self._size = self._counted = 0

    def add(self, data: bytes) -> Respond | None:
        """Why there must be no more of it; None where there may."""
        budget = self._budget
        if data:
            self._pieces.append(data)
        self._size += len(data)
        if self._size - self._counted > _COUNTED:
            budget.held.change(self._size - self._counted)
            self._counted = self._size
        limit = budget.bounds.body
        if self._size > limit:
            return refuse(413, f"The body is larger than {limit} bytes.", code="body_too_large")
        return _TOO_MUCH if budget.held.over and self._counted else None

    def whole(self) -> bytes:
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def let_go(self) -> None:
        self._pieces.clear()
        if self._counted:
            self._budget.held.change(-self._counted)
            self._counted = 0
