"""A pool's queues in a rehearsal: the gateway's own flow control, on virtual time."""

from collections.abc import Iterator

from msgspec import Struct

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.ledger import Ledger
from headgate.flow.control import Control
from headgate.flow.discipline import DEFAULT, Discipline
from headgate.flow.gauge import Detector, Gauge
from headgate.flow.ticket import DEFAULT_FLOW, DISPATCHED, Ticket
from headgate.pick.saturation import USUAL
from headgate.pick.standing import Standing
from headgate.trial.request import Request


class Queueing(Struct, frozen=True):
    """How requests queue, and when the pool is full."""

    discipline: Discipline = DEFAULT
    detector: Detector = USUAL


class Queues:
    """Mutable, of one run. Requests are known by their numbers."""

    def __init__(self, queueing: Queueing, ledger: Ledger) -> None:
        self._control = Control(queueing.discipline, Gauge(queueing.detector, ledger))
        self._dropped: list[int] = []

    @property
    def waiting(self) -> int:
        return self._control.queued

    def watch(self, standing: Standing, now: float) -> None:
        """The servers were scraped."""
        self._control.watch(standing.endpoints, standing.loads, now)
        self._dropped += [ticket.owner for ticket in self._control.expire(now)]

    def admit(self, number: int, request: Request, now: float) -> bool:
        """Whether a request that has come goes at once."""
        size = request.prompt * BYTES_PER_TOKEN
        ticket = Ticket(request.priority, request.flow or DEFAULT_FLOW, size, request.at, owner=number)
        outcome = self._control.admit(ticket, now)
        if outcome != DISPATCHED and not ticket.waits:
            self._dropped.append(number)
        self._dropped += [other.owner for other in self._control.decided]
        self._control.decided.clear()
        return outcome == DISPATCHED

    def ended(self, request: Request, now: float) -> None:
        self._control.moved()
        self._control.served(request.flow or DEFAULT_FLOW, request.prompt, request.output, now)

    def ready(self, now: float) -> Iterator[int]:
        """Those that go now: send each before the next is asked for."""
        while (ticket := self._control.next(now)) is not None:
            yield ticket.owner

    def dropped(self) -> list[int]:
        """Those that were, since this was asked last."""
        dropped, self._dropped = self._dropped, []
        return dropped
