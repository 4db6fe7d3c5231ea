"""Copies of requests on their way to mirrors: nobody waits for them, and what they are answered is thrown away.

How many are under way, and how many bytes they hold, is bounded: what a slow mirror can't take is left out.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from headgate.exchange.answer import AnswerHead
from headgate.exchange.events import Forward
from headgate.exchange.helped import alone
from headgate.fleet.endpoint import Endpoint
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.proxy.sending import Reason, Sending
from headgate.proxy.upstreams import Upstreams

if TYPE_CHECKING:
    from headgate.proxy.plane import Bounds


class Mirrors:
    """Owned by the edge: mutable, one for each event loop. The ledger counts copies as it counts requests."""

    def __init__(self, upstreams: Upstreams, ledger: Ledger, prefixes: PrefixIndex, bounds: "Bounds") -> None:
        self.outcomes = {"answered": 0, "failed": 0, "left_out": 0}  # so far
        self._upstreams = upstreams
        self._ledger = ledger
        self._prefixes = prefixes
        self._bounds = bounds
        self._under_way: set[_Copy] = set()
        self._held = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def send(self, command: Forward, no_body: bool) -> None:
        """A copy of what is forwarded to each of its mirrors, as far as there is room."""
        now, size = monotonic(), len(command.body)
        head = alone(command.head) if command.helpers else command.head
        for endpoint in command.mirrors:
            if len(self._under_way) >= self._bounds.mirrored or self._held + size > self._bounds.mirrored_bytes:
                self.outcomes["left_out"] += 1
                continue
            self._held += size
            ends = now + self._bounds.silence_s if command.deadline is None else command.deadline
            copy = _Copy(self, endpoint, size, ends)
            self._under_way.add(copy)
            self._ledger.take(endpoint.name)
            self._prefixes.record(command.rungs, endpoint.name)
            copy.sending = self._upstreams.send(copy, endpoint, head, command.body, no_body, command.repeat)

    def free(self, copy: "_Copy") -> None:
        self._held -= copy.size
        copy.size = 0

    def over(self, copy: "_Copy", outcome: str) -> None:
        self.outcomes[outcome] += 1
        self.free(copy)
        self._under_way.discard(copy)
        self._ledger.give(copy.endpoint.name)

    def sweep(self, now: float) -> None:
        """Called some ten times a second: ends what takes too long."""
        for copy in [copy for copy in self._under_way if now >= copy.ends]:
            copy.abort()

    def close(self) -> None:
        for copy in list(self._under_way):
            copy.abort()


class _Copy:
    """The `Owner` of one copy."""

    __slots__ = ("_mirrors", "endpoint", "ends", "sending", "size")

    def __init__(self, mirrors: Mirrors, endpoint: Endpoint, size: int, ends: float) -> None:
        self._mirrors = mirrors
        self.endpoint = endpoint
        self.size = size
        self.ends = ends
        self.sending: Sending | None = None

    def abort(self) -> None:
        if self.sending is not None:
            self.sending.abort()
        self.failed("timeout", "")

    # From the server (proxy.upstream.Owner).

    def whole(self, answer: AnswerHead, body: bytes) -> None:
        self.ended()

    def answered(self, answer: AnswerHead) -> None:
        """The upstream has let go of the body."""
        self._mirrors.free(self)

    def body(self, data: bytes) -> None:
        """Read, so that the server can do all of its work, and thrown away."""

    def chunk(self, data: bytes, framed: bytes, last: bool) -> None:
        """The same."""

    def flush(self) -> None:
        """Nothing is held back."""

    def ended(self) -> None:
        self._mirrors.over(self, "answered")

    def interim(self, answer: AnswerHead) -> None:
        """Nobody waits for it."""

    def trailer(self, name: bytes, value: bytes) -> None:
        """The same."""

    @property
    def switches(self) -> bool:
        return False

    def switched(self, answer: AnswerHead, rest: bytes, transport: asyncio.Transport) -> None:
        """It was not asked for."""
        transport.abort()

    def failed(self, reason: Reason, detail: str) -> None:
        self._mirrors.over(self, "failed")
