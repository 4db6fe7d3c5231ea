"""A pool that queues, on virtual time: its endpoints, what they report, and a clock."""

from typing import Any

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.flow.control import Control
from headgate.flow.discipline import Discipline
from headgate.flow.gauge import Bounds, Gauge
from headgate.flow.ticket import Ticket


class Detector(Struct, frozen=True):
    queue_depth: int = 5
    kv_usage: float = 0.8
    stale_after_s: float = 2.0
    concurrency: int = 0
    tokens: int = 0


class Pool:
    """By default one endpoint that takes one request at a time, and knows of it at once."""

    def __init__(
        self,
        discipline: Discipline | None = None,
        *,
        endpoints: int = 1,
        detector: Detector | None = None,
        bounds: Bounds | None = None,
        share: int = 1,
        **limits: Any,
    ) -> None:
        self.now = 100.0
        self.ledger = Ledger()
        self.gauge = Gauge(detector or Detector(concurrency=1), self.ledger, bounds)
        self.control = Control(discipline or Discipline(**limits), self.gauge, share=share)
        self.endpoints = [Endpoint(f"e{number}", "127.0.0.1", 8000 + number) for number in range(endpoints)]
        self.loads = [Load(0, 0, 0.0, at=self.now) for _ in self.endpoints]
        self.running: list[tuple[Ticket, str]] = []
        self.watch()

    def watch(self) -> None:
        self.control.watch(self.endpoints, self.loads, self.now)

    def report(self, waiting: int = 0, running: int = 0, usage: float = 0.0) -> None:
        """All endpoints say the same."""
        self.loads = [Load(waiting, running, usage, at=self.now) for _ in self.endpoints]
        self.watch()

    def ask(self, priority: int = 0, flow: str = "f", size: int = 10, **more: Any) -> Ticket:
        ticket = Ticket(priority=priority, flow=flow, size=size, came=self.now, **more)
        if self.control.admit(ticket, self.now) == "dispatched":
            self.send(ticket)
        return ticket

    def send(self, ticket: Ticket) -> None:
        name = min((one.name for one in self.endpoints), key=self.ledger.count)
        self.ledger.take(name)
        self.running.append((ticket, name))

    def go(self) -> list[Ticket]:
        """All that may go now."""
        gone = []
        while (ticket := self.control.next(self.now)) is not None:
            self.send(ticket)
            gone.append(ticket)
        return gone

    def end(self, ticket: Ticket | None = None) -> list[Ticket]:
        """One that runs (the first) has ended; who goes then."""
        place = 0 if ticket is None else [one for one, _ in self.running].index(ticket)
        ended, name = self.running.pop(place)
        self.ledger.give(name)
        self.control.leave(ended, self.now)
        self.control.moved()
        return self.go()

    def after(self, seconds: float) -> "Pool":
        self.now += seconds
        return self

    def flows(self, count: int) -> list[str]:
        """Whose turns the next ones are."""
        return [one.flow for _ in range(count) for one in self.end()]
