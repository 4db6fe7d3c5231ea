"""How much do all connections hold together?  More than they may, and what comes is refused until there is less."""


class Held:
    """Mutable, one for each event loop. `total` bytes: of requests' bodies, and of answers that clients don't take.

    What is small is not counted: the number of connections bounds it.
    """

    __slots__ = ("_limit", "over", "total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.total = 0
        self.over = False

    def change(self, by: int) -> None:
        self.total += by
        self.over = self.total > self._limit
