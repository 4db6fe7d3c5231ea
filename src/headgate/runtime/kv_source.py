"""One endpoint's stream of KV events: where it is, how far it was read, and why it is not gone by."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from headgate.fleet.kv_events import Event

if TYPE_CHECKING:
    import zmq

CONNECTING = "no connection"
EARLY = "no event yet"
LATE = "events from before it was followed are missing"
REPLAYING = "missed events are asked for"
TOO_MUCH = "more blocks than are followed"
UNREADABLE = "an event can't be read"
SILENT = "no events, though there were new prompts"


class Where(Struct, frozen=True):
    """Where an endpoint's events are to be had. `replay` is None where it has no such port."""

    endpoint: str
    address: str
    port: int
    replay: int | None
    topic: str


class Source:
    """One endpoint's stream."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.note = CONNECTING  # why it is not trusted, "" where it is
        self.next: int | None = None  # the number that is due
        self.live: int = -1  # the last one that came by itself
        self.last = 0  # the digest of the last payload that was taken
        self.work: deque[Event] = deque()  # of messages that were taken, in order
        self.held: deque[tuple[int, bytes]] = deque()  # that wait for a replay
        self.replay: zmq.Socket[bytes] | None = None
        self.verified = False  # that the replay is of the server that we know
        self.give_up: asyncio.TimerHandle | None = None
        self.events = self.gaps = 0
        self.lag = 0.0
        self.sub: zmq.Socket[bytes] | None = None
        self.monitor: zmq.Socket[bytes] | None = None


class Missing(Exception):
    """pyzmq is not installed."""


def place(address: str, port: int) -> str:
    """As ZeroMQ writes it."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"
