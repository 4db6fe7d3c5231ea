"""`Control`: the queues of one pool, as a state machine. Tickets go in; they go, or are dropped, exactly once.

new ──admit──→ dispatched
        ├────→ rejected-saturated, or rejected-shutting-down
        ╰────→ queued ──next───→ dispatched ──victims──→ evicted
                   ├───expire──→ rejected-ttl-expired, or rejected-no-endpoints
                   ├───leave───→ rejected-context-cancelled
                   ╰───admit of another, configure, close

Bands are strict: nobody goes while somebody of a higher priority could.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from math import ceil, inf

from headgate.fleet.endpoint import Endpoint, Load
from headgate.flow.band import Band
from headgate.flow.discipline import Discipline
from headgate.flow.gauge import Gauge
from headgate.flow.ticket import (
    DISPATCHED,
    EVICTED,
    EVICTED_PRESSURE,
    EVICTED_PRIORITY,
    EXPIRED,
    LEFT,
    NO_ENDPOINTS,
    QUEUED,
    SATURATED,
    SHUTTING_DOWN,
    Ticket,
)

_AT_A_TIME = 2  # requests that are evicted before it is seen what came of it
_LONGEST_S = 60  # that clients are told to stay away
_SMOOTH = 0.1


class Control:
    """Mutable, owned by the edge. `share` is how many processes dispatch to the same endpoints.

    What it decides about tickets that are not the one at hand it puts into `decided`: whoever calls takes them out.
    The pool's fullness is worked out where it has to be: at most once each time that loads come or requests end, and
    not at all for a request that fits in any case, which costs 1 µs.
    """

    def __init__(self, discipline: Discipline, gauge: Gauge, *, share: int = 1) -> None:
        self.discipline = discipline
        self.gauge = gauge
        self.decided: list[Ticket] = []
        self.queued = 0
        self.bytes = 0
        self.closing = False
        self.under_way: dict[int, Ticket] = {}  # what may be evicted
        self._share = share
        self._service = discipline.service()
        self._bands: dict[int, Band] = {}
        self._priorities: list[int] = []
        self._steady: dict[int, float] = {}  # ceilings by priority, where they follow from the priorities
        self._known_priorities: frozenset[int] = frozenset()
        self._number = 0
        self._turn = 0
        self._deadlines: list[tuple[float, int, Ticket]] = []
        self._empty = False  # whether the pool has no endpoint that takes requests
        self._since = -inf  # when that last changed
        self._level = inf  # saturation at the last look; inf: it has to be looked at
        self._used = 0  # requests that went since
        self._moved = False  # it may have fallen since
        self._looked_at = False  # loads have come since the last eviction
        self._dispatched_at = 0.0
        self._pace_s = 0.0  # between two that go from the queues
        self.priorities(())

    # What it goes by.

    def configure(self, discipline: Discipline, now: float) -> None:
        """Who waits goes on waiting, by the new rules. What is too much for them is dropped, the newest first."""
        if (discipline.half_life_s, discipline.forget_s, discipline.sweep_s) != (
            self.discipline.half_life_s,
            self.discipline.forget_s,
            self.discipline.sweep_s,
        ):
            self._service = discipline.service()
        self.discipline = discipline
        before, self._bands = self._bands, {}
        self.queued = self.bytes = 0
        self._deadlines.clear()
        self.priorities(self._known_priorities)
        waiting = [ticket for band in before.values() for ticket in band.tickets.values()]
        for ticket in sorted(waiting, key=lambda one: (-one.priority, one.number)):
            band = self._band(ticket.priority)
            if band.full_for(ticket.size) or self._over(1, ticket.size):
                self._drop(ticket, EVICTED_PRESSURE, now)
            else:
                self._put(band, ticket)
        self._level = inf

    def priorities(self, known: Iterable[int]) -> None:
        """Those that requests may have here, as far as is known: there is a ceiling for each."""
        self._known_priorities = frozenset(known)
        kept = self._known_priorities | self.discipline.rules.keys()
        self._bands = {priority: band for priority, band in self._bands.items() if band.count or priority in kept}
        for priority in kept - self._bands.keys():
            self._bands[priority] = Band(priority, self.discipline.rule(priority))
        self._rank()

    def _rank(self) -> None:
        self._priorities = sorted(self._bands, reverse=True)
        usage = self.discipline.usage
        ceilings = usage.compute(0.0, self._priorities, 0) if usage.steady else ()
        self._steady = dict(zip(self._priorities, ceilings, strict=False))
        self._level = inf

    def _band(self, priority: int) -> Band:
        band = self._bands.get(priority)
        if band is None:
            band = self._bands[priority] = Band(priority, self.discipline.rule(priority))
            self._rank()
        return band

    def watch(self, endpoints: Sequence[Endpoint], loads: Sequence[Load], now: float) -> None:
        """The pool's endpoints, or their loads, are these now."""
        self.gauge.watch(endpoints, loads)
        self._level, self._looked_at = inf, True
        empty = not self.gauge.size
        if empty is not self._empty:
            self._empty, self._since = empty, now
            self._deadlines = [
                (self._expires(ticket), ticket.number, ticket)
                for band in self._bands.values()
                for ticket in band.tickets.values()
            ]
            heapify(self._deadlines)

    def moved(self) -> None:
        """Requests of the pool have ended, of whichever process."""
        self._moved = True

    def served(self, flow: str, prompt: int, generated: int, now: float) -> None:
        """So many tokens were spent for a flow."""
        self._service.give(flow, prompt, generated, now)

    # How full it is.

    def saturation(self, now: float) -> float:
        return self.gauge.read(now)

    def _fits(self, priority: int, now: float) -> bool:
        """Whether one more of this priority may go. O(1) where it fits in any case, or it is known that it does not."""
        ceiling = self._steady.get(priority)
        if ceiling is None:
            self._level, self._used, self._moved = self.gauge.read(now), 0, False
            self._turn += 1
            ceilings = self.discipline.usage.compute(self._level, self._priorities, self._turn)
            return self._level < ceilings[self._priorities.index(priority)]
        if self._level != inf and now <= self.gauge.fresh_until:
            if self._level + self._used * self.gauge.unit * self._share < ceiling:
                return True
            if not self._used and not self._moved:
                return False
        self._level, self._used, self._moved = self.gauge.read(now), 0, False
        return self._level < ceiling

    # Requests.

    def admit(self, ticket: Ticket, now: float) -> str:
        """What becomes of a new one: its outcome."""
        band = self._band(ticket.priority)
        self._number += 1
        ticket.number, ticket.entered = self._number, now
        ahead = 0
        if self.queued:
            ahead = sum([other.count for priority, other in self._bands.items() if priority >= ticket.priority])
        if not ahead and self._fits(ticket.priority, now):
            return self._go(ticket, now)
        if self.closing:
            return self._refuse(ticket, SHUTTING_DOWN, now)
        if ticket.ttl_s == 0.0:
            return self._refuse(ticket, NO_ENDPOINTS if self._empty else EXPIRED, now)
        if band.full_for(ticket.size) or not self._make_room(ticket, now):
            return self._refuse(ticket, NO_ENDPOINTS if self._empty else SATURATED, now)
        ticket.outcome, ticket.ahead = QUEUED, ahead
        self._put(band, ticket)
        return QUEUED

    def next(self, now: float) -> Ticket | None:
        """The next one that goes now; ask until there is none whenever loads have come or requests have ended."""
        if not self.queued:
            return None
        for priority in self._priorities:
            band = self._bands[priority]
            if not band.count:
                continue
            if not self._fits(priority, now):
                return None  # no lower band has a higher ceiling
            ticket = band.next(self._service, now)
            assert ticket is not None
            if self._dispatched_at:
                gap = min(now - self._dispatched_at, float(_LONGEST_S))
                self._pace_s += _SMOOTH * (gap - self._pace_s)
            self._dispatched_at = now
            self._take_out(ticket, DISPATCHED, now)
            self._go(ticket, now)
            return ticket
        return None

    def leave(self, ticket: Ticket, now: float) -> None:
        """Its client went away, its time is over, or it has ended."""
        if ticket.outcome == QUEUED:
            self._take_out(ticket, LEFT, now)
        else:
            self.under_way.pop(ticket.number, None)

    answered = leave  # what a client has begun to read is not evicted

    def expire(self, now: float) -> list[Ticket]:
        """Those that have waited for as long as they may."""
        gone: list[Ticket] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            ticket = heappop(deadlines)[2]
            if ticket.outcome == QUEUED:
                self._take_out(ticket, NO_ENDPOINTS if self._empty else EXPIRED, now)
                gone.append(ticket)
        return gone

    @property
    def next_expiry(self) -> float:
        """When somebody will have waited for as long as he may; inf: nobody will."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].outcome != QUEUED:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else inf

    def close(self, now: float) -> None:
        """Drop all that wait: it ends."""
        self.closing = True
        for ticket in [ticket for band in self._bands.values() for ticket in band.tickets.values()]:
            self._take_out(ticket, SHUTTING_DOWN, now)
            self.decided.append(ticket)

    def disband(self, now: float) -> None:
        """There are no queues any more: all that wait may go."""
        for ticket in [ticket for band in self._bands.values() for ticket in band.tickets.values()]:
            self._take_out(ticket, DISPATCHED, now)
            self.decided.append(ticket)
        self.under_way.clear()

    def retry_after_s(self, priority: int) -> int:
        """When to try again: once those that wait now have gone, at the pace at which they do, within a minute."""
        before = sum([band.count for other, band in self._bands.items() if other >= priority])
        return max(1, min(_LONGEST_S, ceil(before * self._pace_s)))

    def victims(self, now: float) -> list[Ticket]:
        """Those under way that have to end for one of a higher priority that waits: the newest of the lowest.

        At most two, and no more before new loads tell what came of it.
        """
        if not self.discipline.evicts or not self._looked_at or not self.under_way or not self.queued:
            return []
        wanted = [
            priority for priority in self._priorities for _ in range(min(_AT_A_TIME, self._bands[priority].count))
        ]
        if self._fits(wanted[0], now):
            return []
        found: list[Ticket] = []
        for ticket in sorted(self.under_way.values(), key=lambda one: (one.priority, -one.number)):
            if len(found) >= min(_AT_A_TIME, len(wanted)) or wanted[len(found)] <= ticket.priority:
                break
            found.append(ticket)
        for ticket in found:
            del self.under_way[ticket.number]
            ticket.outcome = EVICTED
        self._looked_at = not found
        return found

    # For who looks on.

    def bands(self) -> Iterator[tuple[Band, float]]:
        """From the highest priority on, each with its ceiling as of now."""
        level = 1.0 if self._level == inf else self._level
        ceilings = self.discipline.usage.compute(level, self._priorities, self._turn)
        yield from zip([self._bands[priority] for priority in self._priorities], ceilings, strict=True)

    # How.

    def _go(self, ticket: Ticket, now: float) -> str:
        ticket.outcome, ticket.left = DISPATCHED, now
        self._used += 1
        if self.discipline.evicts and ticket.priority < 0:
            self.under_way[ticket.number] = ticket
        return DISPATCHED

    def _refuse(self, ticket: Ticket, why: str, now: float) -> str:
        ticket.outcome, ticket.left = why, now
        return why

    def _drop(self, ticket: Ticket, why: str, now: float) -> None:
        self._refuse(ticket, why, now)
        self.decided.append(ticket)

    def _put(self, band: Band, ticket: Ticket) -> None:
        band.add(ticket, self.discipline.ttl_s)
        self.queued += 1
        self.bytes += ticket.size
        ticket.expires = self._expires(ticket)
        if ticket.expires != inf:
            if len(self._deadlines) > 2 * self.queued + 64:
                self._deadlines = [entry for entry in self._deadlines if entry[2].outcome == QUEUED]
                heapify(self._deadlines)
            heappush(self._deadlines, (ticket.expires, ticket.number, ticket))

    def _take_out(self, ticket: Ticket, outcome: str, now: float) -> None:
        ticket.outcome, ticket.left = outcome, now
        self._bands[ticket.priority].remove(ticket)
        self.queued -= 1
        self.bytes -= ticket.size
        if not self.queued:
            self._dispatched_at = 0.0  # what is between two that need not wait says nothing

    def _expires(self, ticket: Ticket) -> float:
        """A pool that gets its first endpoint, or loses its last, gives each a time of its own for that; but nobody
        waits for longer than the longer of both."""
        usual = self._bands[ticket.priority].ttl_s(self.discipline.ttl_s)
        empty = self.discipline.no_endpoint_ttl_s
        budget = empty if self._empty else usual
        until = max(ticket.entered, self._since) + budget if budget > 0.0 else inf
        if usual > 0.0 and empty > 0.0:
            until = min(until, ticket.entered + max(usual, empty))
        return until if ticket.ttl_s is None else min(until, ticket.entered + ticket.ttl_s)

    def _over(self, requests: int, size: int) -> bool:
        """Whether so much more would be too much for all bands together."""
        limits = self.discipline
        return bool(
            (limits.max_requests and self.queued + requests > limits.max_requests)
            or (limits.max_bytes and self.bytes + size > limits.max_bytes)
        )

    def _make_room(self, ticket: Ticket, now: float) -> bool:
        """Whether there is room in the queue. What may be shed, and is of a lower priority, gives way: the newest of
        the lowest first, and nobody where that would not be enough."""
        if not self._over(1, ticket.size):
            return True
        leaving: list[Ticket] = []
        size = 0
        for priority in reversed(self._priorities):
            if priority >= min(0, ticket.priority):
                break
            for other in self._bands[priority].newest():
                leaving.append(other)
                size += other.size
                if not self._over(1 - len(leaving), ticket.size - size):
                    for one in leaving:
                        self._take_out(one, EVICTED_PRIORITY, now)
                        self.decided.append(one)
                    return True
        return False
