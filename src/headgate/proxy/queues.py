"""Who stands in the pools' queues is told when it is decided on: when loads come, requests end, time is over."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING

from headgate.flow.control import Control

if TYPE_CHECKING:
    from headgate.flow.ticket import Ticket
    from headgate.proxy.waiting import Waiter

_AT_ONCE = 64  # requests that are woken before others get their turn of the event loop


class Queues:
    """Mutable, one for each event loop. `controls` is by pool, and kept current by the edge; mostly it is empty."""

    __slots__ = ("controls",)

    def __init__(self, controls: Mapping[str, Control]) -> None:
        self.controls = controls

    def stand(self, pool: str, turn: "Waiter", ticket: "Ticket") -> None:
        """From now on the turn waits to be told."""
        ticket.owner = turn
        self._tell(self.controls[pool])
        self._evict(self.controls[pool])

    def changed(self, pool: str) -> None:
        """The pool's endpoints, their loads or its rules are others than before, or requests there have ended."""
        control = self.controls.get(pool)
        if control is None:
            return
        control.moved()
        if not (control.queued or control.decided):
            return
        self._tell(control)
        now = monotonic()
        for _ in range(_AT_ONCE):
            ticket = control.next(now)
            if ticket is None:
                self._evict(control)
                return
            _owner(ticket).wake()
        asyncio.get_running_loop().call_soon(self.changed, pool)

    def sweep(self, now: float) -> None:
        """Called some ten times a second: requests of other processes end without a word, and time passes."""
        for pool, control in list(self.controls.items()):
            if control.queued or control.decided:
                for ticket in control.expire(now):
                    _owner(ticket).wake()
                self.changed(pool)

    def close(self, now: float) -> bool:
        """It ends: who has not had his turn by now has none. Whether there was anybody."""
        standing = any(control.queued for control in self.controls.values())
        for control in self.controls.values():
            control.close(now)
            self._tell(control)
        return standing

    def leaving(self) -> None:
        """From now on nobody begins to stand in a queue."""
        for control in self.controls.values():
            control.closing = True

    def _tell(self, control: Control) -> None:
        while control.decided:
            _owner(control.decided.pop(0)).wake()

    def _evict(self, control: Control) -> None:
        if control.under_way:
            for ticket in control.victims(monotonic()):
                _owner(ticket).evict()


def _owner(ticket: "Ticket") -> "Waiter":
    """The turn, which is told this once: each would keep the other one alive."""
    turn: Waiter = ticket.owner
    ticket.owner = None
    return turn
