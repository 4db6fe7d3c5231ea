"""KV cache on its way between servers, where one prefills a prompt and another one decodes the answer.

Who decodes holds blocks for the whole prompt and pulls what it does not have, beside its steps; its network takes one
pull after the other. Who has prefilled keeps the blocks until they are pulled, or for as long as the lease is. Source:
vllm/distributed/kv_transfer/kv_connector/v1/nixl/pull_scheduler.py and vllm/v1/core/sched/scheduler.py of 0.32.
"""

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct

from headgate.sim.blocks import Block

if TYPE_CHECKING:
    from headgate.sim.sequence import Queued


class Kept(Struct):
    """Blocks that wait for another server: `until` when, how many tokens they hold, how many of them were `cached`."""

    until: float
    blocks: list[Block]
    tokens: int
    cached: int


class Transfers:
    """Mutable, of one engine. `next_at`: when a pull or a lease ends, never where there is none."""

    __slots__ = ("_coming", "_kept", "_network_free_at", "_token_s", "next_at", "pulled")

    def __init__(self, token_s: float) -> None:
        """`token_s` is what a token's KV cache takes."""
        self.next_at = inf
        self.pulled: list[str] = []  # those whose blocks are here, or not wanted any more; who wants to know clears it
        self._token_s = token_s
        self._network_free_at = 0.0
        self._coming: deque[tuple[float, Queued]] = deque()
        self._kept: dict[str, Kept] = {}

    @property
    def coming(self) -> int:
        """Sequences that wait for what they pull."""
        return len(self._coming)

    def pull(self, sequence: "Queued", tokens: int, now: float) -> None:
        """Begin, once the network has done with those before."""
        self._network_free_at = max(now, self._network_free_at) + tokens * self._token_s
        self._coming.append((self._network_free_at, sequence))
        self._look()

    def arrived(self, now: float) -> list["Queued"]:
        """Those whose pull has ended, in their order."""
        found = []
        while self._coming and self._coming[0][0] <= now:
            sequence = self._coming.popleft()[1]
            found.append(sequence)
            self.pulled.append(sequence.work.id)
        self._look()
        return found

    def abandon(self, identity: str) -> "Queued | None":
        """The sequence of that id, where it pulls: it does not want it any more."""
        for entry in self._coming:
            if entry[1].work.id == identity:
                self._coming.remove(entry)
                self.pulled.append(identity)
                self._look()
                return entry[1]
        return None

    def keep(self, identity: str, kept: Kept) -> None:
        self._kept[identity] = kept
        self._look()

    def kept(self, identity: str) -> Kept | None:
        """What is kept of a sequence, if anything."""
        return self._kept.get(identity)

    def extend(self, identity: str, until: float) -> None:
        """It is kept for longer."""
        kept = self._kept[identity]
        kept.until = max(kept.until, until)
        self._look()

    def let_go(self, identity: str) -> list[Block]:
        """What was kept of it, for the caller to give back."""
        found = self._kept.pop(identity, None)
        self._look()
        return [] if found is None else found.blocks

    def expired(self, now: float) -> list[list[Block]]:
        """Of those whose lease is over, for the caller to give back."""
        over = [identity for identity, kept in self._kept.items() if kept.until <= now]
        return [self.let_go(identity) for identity in over]

    def blocks(self) -> dict[str, tuple[Block, ...]]:
        """What is held for pulls, and kept: what the laws in the tests are about."""
        held = {sequence.work.id: tuple(sequence.blocks) for _, sequence in self._coming}
        return held | {identity: tuple(kept.blocks) for identity, kept in self._kept.items()}

    def _look(self) -> None:
        self.next_at = min([kept.until for kept in self._kept.values()], default=inf)
        if self._coming and self._coming[0][0] < self.next_at:
            self.next_at = self._coming[0][0]
