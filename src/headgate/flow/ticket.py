"""A request, as far as queueing goes, and what may become of it."""

from math import inf
from typing import Any

from msgspec import Struct

DEFAULT_FLOW = "default-flow"

# Outcomes. What is dropped is so for a reason that is published (`x-llm-d-request-dropped-reason`).
QUEUED = "queued"
DISPATCHED = "dispatched"
SATURATED = "rejected-saturated"  # there was no room in its queue
EXPIRED = "rejected-ttl-expired"
NO_ENDPOINTS = "rejected-no-endpoints"
LEFT = "rejected-context-cancelled"  # its client went away, or its time was over
SHUTTING_DOWN = "rejected-shutting-down"
EVICTED = "evicted"  # it was under way
EVICTED_PRIORITY = "evicted-priority"  # one of a higher priority has its place in the queue
EVICTED_PRESSURE = "evicted-queue-pressure"  # the queue has become smaller than it is long


class Ticket(Struct, eq=False):
    """What a request tells of itself, then what becomes of it. Mutable: its Control writes the second part.

    `size` is in bytes, times in seconds. `ttft_s` is the client's objective for the first token; `ttl_s` how long it
    would wait at most, None where it does not say. `owner` is for whoever has to be told.
    """

    priority: int = 0
    flow: str = DEFAULT_FLOW
    size: int = 0
    came: float = 0.0
    ttft_s: float | None = None
    ttl_s: float | None = None
    owner: Any = None

    outcome: str = ""
    number: int = 0  # the later, the higher
    entered: float = 0.0  # its queue
    left: float = 0.0
    ahead: int = 0  # how many of its priority or a higher one were there before it
    expires: float = inf

    @property
    def waits(self) -> bool:
        return self.outcome == QUEUED


class Stay(Struct, frozen=True, gc=False):
    """How it was, for the record: `waited_s` 0 for who could go at once."""

    flow: str
    outcome: str
    waited_s: float = 0.0
    ahead: int = 0
