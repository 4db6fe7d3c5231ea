"""Who of a flow goes first?  A key for each ticket: the lowest goes, of equals who came first."""

from collections.abc import Callable, Mapping
from math import inf

from headgate.flow.ticket import Ticket

Order = Callable[[Ticket, float], float]  # with the seconds that it may wait, 0 no limit; it holds while it waits


def first_come(ticket: Ticket, ttl_s: float) -> float:
    return ticket.came


def earliest_deadline(ticket: Ticket, ttl_s: float) -> float:
    """Who may wait for ever comes after all others."""
    return ticket.entered + ttl_s if ttl_s > 0.0 else inf


def earliest_objective(ticket: Ticket, ttl_s: float) -> float:
    """By when the first token is to be there; who does not say comes after all who do."""
    return inf if ticket.ttft_s is None else ticket.came + ticket.ttft_s


ORDERS: Mapping[str, Order] = {
    "fcfs-ordering-policy": first_come,
    "edf-ordering-policy": earliest_deadline,
    "slo-deadline-ordering-policy": earliest_objective,
}
