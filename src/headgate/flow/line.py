"""Tickets in order, one flow's or a whole band's."""

from heapq import heapify, heappop, heappush

from headgate.flow.ticket import QUEUED, Ticket

_Entry = tuple[float, int, Ticket]
_SPARE = 16


class Line:
    """A heap by (key, number). Who has left stays in it until it comes to the front, or until half of it has left.

    `push`, `first` and `take` cost O(log n); `gone` must be told of each that leaves otherwise.
    """

    __slots__ = ("_heap", "count")

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self.count = 0

    def push(self, key: float, ticket: Ticket) -> None:
        heappush(self._heap, (key, ticket.number, ticket))
        self.count += 1

    def first(self) -> Ticket | None:
        heap = self._heap
        while heap:
            ticket = heap[0][2]
            if ticket.outcome == QUEUED:
                return ticket
            heappop(heap)
        return None

    def gone(self) -> None:
        """One of it waits no more."""
        self.count -= 1
        if len(self._heap) > 2 * self.count + _SPARE:
            self._heap = [entry for entry in self._heap if entry[2].outcome == QUEUED]
            heapify(self._heap)
