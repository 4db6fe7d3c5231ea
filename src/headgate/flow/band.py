"""The requests of one priority that wait."""

from collections.abc import Iterator

from headgate.flow.discipline import Rule
from headgate.flow.fairness import Service
from headgate.flow.line import Line
from headgate.flow.ticket import Ticket

_FLOWS = 1000  # lines of their own, at most: clients name flows, and what is kept for them is bounded
OTHERS = "other"


class Band:
    """Mutable. `count` and `bytes` are of all that wait; `sizes` the same by flow."""

    __slots__ = ("_everybody", "bytes", "lines", "priority", "rule", "sizes", "tickets")

    def __init__(self, priority: int, rule: Rule) -> None:
        self.priority = priority
        self.rule = rule
        self.bytes = 0
        self.tickets: dict[int, Ticket] = {}  # by number: the newest is the last
        self.sizes: dict[str, tuple[int, int]] = {}
        self.lines: dict[str, Line] = {}
        self._everybody = Line()  # where flows don't matter

    @property
    def count(self) -> int:
        return len(self.tickets)

    def ttl_s(self, usual: float) -> float:
        """How long one may wait here, 0 no limit."""
        return usual if self.rule.ttl_s is None else self.rule.ttl_s

    def full_for(self, size: int) -> bool:
        rule = self.rule
        return self.count >= rule.max_requests or self.bytes + size > rule.max_bytes

    def add(self, ticket: Ticket, usual_ttl_s: float) -> None:
        if ticket.flow not in self.sizes and len(self.sizes) >= _FLOWS:
            ticket.flow = OTHERS
        count, size = self.sizes.get(ticket.flow, (0, 0))
        self.sizes[ticket.flow] = count + 1, size + ticket.size
        self.bytes += ticket.size
        self.tickets[ticket.number] = ticket
        ttl_s = self.ttl_s(usual_ttl_s)
        if ticket.ttl_s is not None:
            ttl_s = min(ticket.ttl_s, ttl_s or ticket.ttl_s)
        self._line(ticket.flow).push(self.rule.order(ticket, ttl_s), ticket)

    def _line(self, flow: str) -> Line:
        if self.rule.fairness.choose is None:
            return self._everybody
        line = self.lines.get(flow)
        if line is None:
            line = self.lines[flow] = Line()
        return line

    def next(self, service: Service, now: float) -> Ticket | None:
        """Whose turn it is; it is still in the band."""
        choose = self.rule.fairness.choose
        if choose is None:
            return self._everybody.first()
        return self.lines[choose(self.lines, service, now)].first() if self.lines else None

    def remove(self, ticket: Ticket) -> None:
        """It waits no more: its outcome says so already."""
        del self.tickets[ticket.number]
        self.bytes -= ticket.size
        flow = ticket.flow
        count, size = self.sizes[flow]
        if count > 1:
            self.sizes[flow] = count - 1, size - ticket.size
        else:
            del self.sizes[flow]
        line = self._line(flow)
        line.gone()
        if not line.count:
            self.lines.pop(flow, None)

    def newest(self) -> Iterator[Ticket]:
        return reversed(self.tickets.values())
