"""A body that comes in pieces, until it is whole: bounded, and counted as held."""

from headgate.envoy.plane import Plane
from headgate.exchange.events import Respond
from headgate.exchange.refuse import refuse

_COUNTED = 16 << 10  # bytes from which on it is counted
_TOO_MUCH = refuse(503, "The picker holds as much as it may. Try again later.", code="overloaded")


class Gathering:
    """Mutable, of one request. What was counted is to be let go of."""

    __slots__ = ("_counted", "_pieces", "_plane", "_size")

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._pieces: list[bytes] = []
        self._size = self._counted = 0

    def add(self, data: bytes) -> Respond | None:
        """Why there must be no more of it; None where there may."""
        plane = self._plane
        if data:
            self._pieces.append(data)
        self._size += len(data)
        if self._size - self._counted > _COUNTED:
            plane.held.change(self._size - self._counted)
            self._counted = self._size
        limit = plane.bounds.body
        if self._size > limit:
            return refuse(413, f"The body is larger than {limit} bytes.", code="body_too_large")
        return _TOO_MUCH if plane.held.over and self._counted else None

    def whole(self) -> bytes:
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def let_go(self) -> None:
        self._pieces.clear()
        if self._counted:
            self._plane.held.change(-self._counted)
            self._counted = 0
