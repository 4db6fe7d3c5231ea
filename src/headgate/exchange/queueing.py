"""A request in its pool's queues: the ticket that it gets there, and what a client hears whose request is dropped."""

from math import inf

from msgspec import Struct

from headgate.exchange.arrival import Job
from headgate.exchange.events import Respond, Wait
from headgate.exchange.record import Record
from headgate.exchange.refuse import refuse
from headgate.flow.control import Control
from headgate.flow.ticket import (
    DEFAULT_FLOW,
    DISPATCHED,
    EVICTED,
    EVICTED_PRESSURE,
    EVICTED_PRIORITY,
    EXPIRED,
    NO_ENDPOINTS,
    QUEUED,
    SATURATED,
    SHUTTING_DOWN,
    Stay,
    Ticket,
)

_WHY = {
    SATURATED: "The pool {pool} is saturated, and its queue for requests of priority {priority} is full.",
    EXPIRED: "The pool {pool} is saturated: the request has waited for {waited:.3g} s, as long as it may.",
    NO_ENDPOINTS: "No endpoint of the pool {pool} is ready.",
    SHUTTING_DOWN: "The gateway is shutting down, and the pool {pool} is saturated.",
    EVICTED: "The pool {pool} is saturated: the request had to give way to one of a higher priority.",
    EVICTED_PRIORITY: "The queue of the pool {pool} is full: the request had to give way to one of a higher priority.",
    EVICTED_PRESSURE: "The queue of the pool {pool} has become shorter: the request had to leave it.",
}
_UNAVAILABLE = (NO_ENDPOINTS, SHUTTING_DOWN)
# As metrics call it, where it is not what its status is called anyway.
_REFUSED = {
    EXPIRED: "ttl_expired",
    SHUTTING_DOWN: "shutting_down",
    EVICTED: "evicted",
    EVICTED_PRIORITY: "evicted",
    EVICTED_PRESSURE: "evicted",
}
_CODES = {
    SATURATED: "saturated",
    EXPIRED: "ttl_expired",
    NO_ENDPOINTS: "no_endpoint",
    SHUTTING_DOWN: "shutting_down",
}


class Place(Struct, eq=False):
    """Of one request. `passed`: it has had its turn, and needs no other one."""

    ticket: Ticket
    _control: Control
    _record: Record
    passed: bool = False

    def ask(self, ends: float | None, now: float) -> Wait | Respond | None:
        """What to do now; None where it may go. `ends` is when its time is over."""
        ticket, record = self.ticket, self._record
        if ticket.outcome == QUEUED:
            if ends is None or now < ends:
                return Wait(record.pool, inf if ends is None else ends, ticket=ticket)
            self.leave(now)
            why = f"The request's time is over: it stood in the queue of the pool {record.pool}."
            return refuse(504, why, code="timeout")
        self._note()
        if ticket.outcome == DISPATCHED:
            self.passed = True
            return None
        return self._drop()

    def may_be_told(self, owner: object) -> None:
        """Only where it may come to that: each would keep the other one alive."""
        if self._control.under_way.get(self.ticket.number) is self.ticket:
            self.ticket.owner = owner

    def answered(self, now: float) -> None:
        """The client has begun to hear what the server says."""
        self._control.answered(self.ticket, now)

    def leave(self, now: float) -> None:
        """It has ended, in whatever way."""
        self._control.leave(self.ticket, now)
        self.ticket.owner = None
        if self._record.stay is None:
            self._note()

    def evicted(self) -> Respond:
        """It was under way, and has to give way."""
        self._note()
        return self._drop()

    def _note(self) -> None:
        ticket = self.ticket
        self._record.stay = Stay(ticket.flow, ticket.outcome, ticket.left - ticket.entered, ticket.ahead)

    def _drop(self) -> Respond:
        """What the client hears: when to try again, and why it was, in the words that are published."""
        ticket, record = self.ticket, self._record
        why = ticket.outcome
        record.refused = _REFUSED.get(why, "")
        waited = ticket.left - ticket.entered
        message = _WHY[why].format(pool=record.pool, priority=ticket.priority, waited=waited)
        later = 1 if why in _UNAVAILABLE else self._control.retry_after_s(ticket.priority)
        headers = [(b"x-llm-d-request-dropped-reason", why.encode()), (b"retry-after", b"%d" % later)]
        return refuse(503 if why in _UNAVAILABLE else 429, message, code=_CODES.get(why, "evicted"), headers=headers)


def enter(control: Control, job: Job, size: int, record: Record, now: float) -> Place | Respond:
    """Ask for a turn. `size` is the body's, in bytes.

    Who is known by a key has one flow, his own, whatever he says; others say which flow is theirs.
    """
    wishes = job.wishes
    if wishes is None:
        ticket = Ticket(record.priority, record.client or DEFAULT_FLOW, size, record.asked_at)
    elif wishes.wrong:
        write = "write seconds such as 2.5, or a duration such as 1m30s"
        message = f"The header x-llm-d-inference-ttl is not valid: `{wishes.wrong[:64]}` is no time: {write}."
        return refuse(400, message, param="x-llm-d-inference-ttl")
    else:
        flow = record.client or wishes.flow or DEFAULT_FLOW
        ticket = Ticket(record.priority, flow, size, record.asked_at, wishes.ttft_s, wishes.ttl_s)
    control.admit(ticket, now)
    return Place(ticket, control, record)
