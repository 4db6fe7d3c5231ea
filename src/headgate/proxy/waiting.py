"""Requests that wait: for their pool to change, or for one that runs there to end. First come, first served."""

import asyncio
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

_AT_ONCE = 64  # requests that are woken before others get their turn of the event loop


class Waiter(Protocol):
    """A request's turn. `ticket` is its place among those that wait, 0 before it did; `queued`: in a queue."""

    ticket: int
    queued: bool

    @property
    def model(self) -> str: ...  # that the server is asked for
    def wake(self) -> None: ...  # what it waits for has changed, or its time is over
    def evict(self) -> None: ...  # another request needs its place


_Queue = list[tuple[int, Waiter]]  # a heap, by ticket; a turn that does not wait any more may still be in it


class Waiting:
    """Mutable, one for each event loop.

    `parked` are all that wait, by pool; `crowded` those of them that wait for room, by pool and model: not all
    endpoints serve all models, so that one may have to wait while a later one of another model can go.
    """

    __slots__ = ("_tickets", "crowded", "parked")

    def __init__(self) -> None:
        self.parked: dict[str, set[Waiter]] = {}
        self.crowded: dict[str, dict[str, _Queue]] = {}
        self._tickets = count(1)

    def park(self, pool: str, turn: Waiter, *, room: bool) -> None:
        """A turn that asks again, in vain, keeps its place."""
        turn.ticket = turn.ticket or next(self._tickets)
        self.parked.setdefault(pool, set()).add(turn)
        if room and not turn.queued:
            turn.queued = True
            heappush(self.crowded.setdefault(pool, {}).setdefault(turn.model, []), (turn.ticket, turn))

    def unpark(self, pool: str, turn: Waiter) -> None:
        self.parked.get(pool, set()).discard(turn)

    def changed(self, pool: str) -> None:
        """Who waits for the pool asks again."""
        self._wake(pool, sorted(self.parked.get(pool, ()), key=lambda turn: turn.ticket))

    def _wake(self, pool: str, turns: Sequence[Waiter]) -> None:
        waiting = self.parked.get(pool, set())
        for turn in turns[:_AT_ONCE]:
            if turn in waiting:
                turn.wake()
        if len(turns) > _AT_ONCE:
            asyncio.get_running_loop().call_soon(self._wake, pool, turns[_AT_ONCE:])

    def freed(self, pool: str) -> None:
        """A request has ended there: the first of those that can go now goes."""
        queues = self.crowded.get(pool)
        if queues is None:
            return
        for _, model in sorted((queue[0][0], model) for model, queue in queues.items()):
            if self._admit(self.parked[pool], queues[model]):
                break
        for model in [model for model, queue in queues.items() if not queue]:
            queues.pop(model, None)
        if not queues:
            self.crowded.pop(pool, None)

    def _admit(self, waiting: set[Waiter], queue: _Queue) -> bool:
        """Whether the first that still waits could go."""
        while queue:
            _, turn = heappop(queue)
            turn.queued = False
            if turn in waiting:
                turn.wake()  # if there is no room for it, it parks itself again, and stands in the queue as before
                return turn not in waiting
        return False
