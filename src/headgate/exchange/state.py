"""Where a request is on its way."""

from enum import Enum


class State(Enum):
    NEW = "new"
    DECODING = "decoding"
    WAITING = "waiting"
    SENT = "sent"
    RELAYING = "relaying"
    DONE = "done"
