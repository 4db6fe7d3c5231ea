"""Compressed bodies that are being decoded: however many there are, no turn of the event loop has to wait for them."""

import asyncio
from typing import Protocol

from headgate.exchange.events import Decoded
from headgate.exchange.inflate import Inflater

_AT_ONCE = 8 << 10  # bytes that came: so few are decoded in less time than the rest of a request takes


class Reader(Protocol):
    """Whose body it is."""

    def decoded(self, done: Decoded) -> None: ...


class Decoding:
    """Mutable, one for each event loop. A step of one body at each turn of the loop; they take turns."""

    __slots__ = ("_scheduled", "_under_way")

    def __init__(self) -> None:
        self._under_way: dict[Reader, Inflater] = {}
        self._scheduled = False

    def begin(self, turn: Reader, coding: str, body: bytes, limit: int) -> None:
        """`turn.decoded` gets what comes of it, maybe before this returns. `limit`: bytes of the decoded body."""
        inflater = Inflater(coding, body, limit)
        done = inflater.step() if len(body) <= _AT_ONCE else None
        if done is not None:
            turn.decoded(done)
            return
        self._under_way[turn] = inflater
        self._schedule()

    def drop(self, turn: Reader) -> None:
        """Nobody waits for it any more."""
        self._under_way.pop(turn, None)

    def _schedule(self) -> None:
        if self._under_way and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = False
        if not self._under_way:
            return
        turn = next(iter(self._under_way))
        inflater = self._under_way.pop(turn)
        done = inflater.step()
        if done is None:
            self._under_way[turn] = inflater
        else:
            turn.decoded(done)
        self._schedule()
