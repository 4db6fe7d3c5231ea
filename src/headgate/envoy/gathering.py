"""What comes in pieces, until it is whole or may go on: bounded, and counted as held."""

from headgate.envoy.messages import Disorder, Message
from headgate.envoy.plane import Budget
from headgate.exchange.events import Respond
from headgate.exchange.refuse import refuse

_COUNTED = 16 << 10  # bytes from which on it is counted
_PIECE = 64  # bytes that each takes besides its own
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
        more = self._size + len(self._pieces) * _PIECE - self._counted
        if more > _COUNTED:
            budget.held.change(more)
            self._counted += more
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


class Later:
    """Mutable: messages of one request that its turn has no use for yet. `trailers`: those of it have come before."""

    __slots__ = ("_gathering", "_messages", "_trailers")

    def __init__(self, budget: Budget, *, trailers: bool) -> None:
        self._gathering = Gathering(budget)
        self._messages: list[Message] = []
        self._trailers = trailers

    def add(self, message: Message) -> Respond | None:
        """As Gathering's. Raises Disorder here, where the proxy hears of it, rather than when it is taken."""
        if message.phase == "request_headers" or (message.phase == "request_trailers" and self._trailers):
            raise Disorder("a head, or trailers, for the second time")
        self._trailers |= message.phase == "request_trailers"
        self._messages.append(message)
        return self._gathering.add(message.data)

    def take(self) -> list[Message]:
        self._gathering.let_go()
        messages, self._messages = self._messages, []
        return messages
