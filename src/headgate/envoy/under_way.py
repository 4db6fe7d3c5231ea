"""Where a request is under way, as the ledger counts it; another endpoint than was meant may have served it."""

from msgspec import Struct

from headgate.envoy.plane import Plane
from headgate.exchange.engaged import Engaged, engage
from headgate.exchange.events import Forward
from headgate.exchange.exchange import Exchange


class UnderWay(Struct, eq=False):
    """Mutable. `endpoint` is "" where it is not."""

    _plane: Plane
    endpoint: str = ""
    _engaged: Engaged | None = None

    def begin(self, command: Forward, exchange: Exchange, owner: object) -> None:
        """`owner` is who has to give way where another request needs its place."""
        plane = self._plane
        self.endpoint = name = command.endpoint.name
        plane.ledger.take(name)
        if command.burden is not None or command.helpers:
            self._engaged = engage(command, plane.ledger, plane.prefixes)
        if plane.queues.controls:
            exchange.may_be_told(owner)
        plane.prefixes.record(command.rungs, name)
        if plane.sent is not None:
            plane.sent(command)

    def served(self, hostport: str, exchange: Exchange) -> None:
        """By this one. A proxy takes the next of the list where it can't reach the first."""
        plane, record = self._plane, exchange.record
        view = exchange.site.pools.get(record.pool)
        if view is None or not self.endpoint or hostport == record.address:
            return
        other = next((one.name for one in view.standing.endpoints if one.hostport == hostport), None)
        if other is None:
            return
        plane.judge.failed(self.endpoint, "the proxy could not use it, and took another endpoint")
        plane.ledger.give(self.endpoint)
        plane.ledger.take(other)
        self.endpoint = record.endpoint = other
        record.tries += 1
        if record.ask is not None:
            plane.prefixes.record(record.ask.prefix, other)

    def answered(self, status: int, *, streamed: bool) -> None:
        plane = self._plane
        if status >= 500 or plane.judge.failing:
            plane.judged_by(self.endpoint, status)
        if self._engaged is not None and streamed:
            self._engaged.answered()

    def over(self, pool: str) -> None:
        """It has ended, in whatever way; whoever waits for its place may go."""
        if not self.endpoint:
            return
        plane = self._plane
        plane.ledger.give(self.endpoint)
        if self._engaged is not None:
            self._engaged.over()
        self.endpoint = ""
        if plane.waiting.crowded:
            plane.waiting.freed(pool)
        if plane.queues.controls:
            plane.queues.changed(pool)
