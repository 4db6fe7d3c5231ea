"""Which endpoints hold the beginning of this prompt in their KV cache?  `HeldBlocks`: rungs → endpoints, by KV events.

Servers tell of blocks by their tokens, requests have text. What joins them is learned once for each prompt, off the
path of requests: a server says what the tokens of a prompt are, and so which block each of its rungs ends in. A block
has a key of our own, from the tokens up to its end, so it is the same one wherever it is held.
"""

from array import array
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from xxhash import xxh3_64_intdigest

from headgate.fleet.kv_events import Cleared, Event, Hash, Removed, Stored
from headgate.fleet.prefix import Rungs

_ON_GPU = (None, "GPU", "gpu")  # what was moved elsewhere counts as gone
_WHOLE_KINDS = (None, "full_attention", "mla_attention", "sink_full_attention")  # those that a prefix can be found by
_WIDTH = 4  # bytes of a token
_SWEPT = 1024
_SILENT = 10  # ticks


class Full(Exception):
    """More blocks than may be known of."""


class Holding:
    """One endpoint's cache, as it told of it. `whole`: from its beginning, so what is not known is not there.
    `paused`: events are missing that may still come.
    """

    __slots__ = ("_copies", "_keys", "bit", "block_size", "ignored", "paused", "silent", "unheard", "whole")

    def __init__(self, bit: int) -> None:
        self.bit = bit
        self.whole = self.paused = False
        self.block_size = 0  # tokens, 0 before the first event
        self.unheard = 0  # prompts that must have brought new blocks, since an event came
        self.silent = 0  # ticks that this has been so
        self.ignored: set[int] = set()  # KV cache groups
        self._keys: dict[Hash, int] = {}  # the server's name of a block → ours
        self._copies: dict[Hash, int] = {}  # more than one

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def trusted(self) -> bool:
        """Whether it is known what the endpoint holds: all of its events have come, and they still do."""
        return self.whole and not self.paused and self.silent < _SILENT


class HeldBlocks:
    """Mutable; one for all pools that go by events, owned by the edge.

    Bounded: `limit` blocks at endpoints, `rungs` that are known to end in a block. About 140 bytes a block at each
    endpoint, 180 a rung. `take` costs 1 µs a block, `learn` 0.5 µs a block of the prompt, `match` 0.6 µs a rung and
    0.6 µs an endpoint.
    """

    def __init__(self, limit: int = 1_000_000, rungs: int = 200_000) -> None:
        self._limit = limit
        self._rungs = rungs
        self._holders: dict[int, int] = {}  # block → endpoints
        self._learned: OrderedDict[int, int] = OrderedDict()  # rung → the block that it ends in
        self._holdings: dict[str, Holding] = {}
        self._names: dict[int, str] = {}  # by bit
        self._sent: tuple[dict[int, int], dict[int, int]] = ({}, {})  # rung → endpoints, since and before the last tick
        self._leaving: deque[tuple[int, list[int]]] = deque()  # bits that are given up, and the blocks they stand at
        self._gone = 0
        self._resting = [0, 0]  # bits that stand at no block any more, since and before the last turn
        self.size = 0

    # What servers tell.

    def follow(self, endpoint: str, *, whole: bool) -> None:
        """Its events are heard from now on, `whole` from its start on. What was known of it is forgotten."""
        self.forget(endpoint)
        taken = self._gone
        for holding in self._holdings.values():
            taken |= holding.bit
        made = self._holdings[endpoint] = Holding(~taken & (taken + 1))  # the lowest that is free
        self._names[made.bit] = endpoint
        made.whole = whole

    def forget(self, endpoint: str) -> None:
        """It is not followed any more."""
        holding = self._holdings.pop(endpoint, None)
        if holding is not None:
            self._let_go(holding)

    def _let_go(self, holding: Holding) -> None:
        self.size -= len(holding)
        self._gone |= holding.bit
        del self._names[holding.bit]
        self._leaving.append((holding.bit, list(holding._keys.values())))
        holding._keys, holding._copies = {}, {}

    def take(self, endpoint: str, events: Sequence[Event]) -> None:
        """What an endpoint that is followed has told. Raises Full; then it is followed no more."""
        holding = self._holdings[endpoint]
        holding.unheard = holding.silent = 0
        for event in events:
            if isinstance(event, Stored):
                self._store(holding, event)
            elif isinstance(event, Removed):
                self._remove(holding, event)
            else:
                assert isinstance(event, Cleared)
                self.follow(endpoint, whole=True)
                block_size, holding = holding.block_size, self._holdings[endpoint]
                holding.block_size = block_size
        self._sweep(_SWEPT)
        if self.size > self._limit:
            self.forget(endpoint)
            raise Full

    def _store(self, holding: Holding, event: Stored) -> None:
        if event.kv_cache_spec_kind not in _WHOLE_KINDS or event.kv_cache_spec_sliding_window is not None:
            if event.group_idx is not None:
                holding.ignored.add(event.group_idx)
            return
        width, hashes = event.block_size * _WIDTH, event.block_hashes
        if event.medium not in _ON_GPU or len(event.token_ids) != len(hashes) * event.block_size:
            return
        keys, holders, copies = holding._keys, self._holders, holding._copies
        if event.parent_block_hash is None:
            key = _root(event.lora_name or "")
        else:
            parent = keys.get(event.parent_block_hash)
            if parent is None:  # it came before we did: nobody knows what this follows
                return
            key = parent
        if event.lora_id is not None and event.lora_name is None:
            return  # of an adapter that has no name
        holding.block_size = event.block_size
        content, bit, before = memoryview(_packed(event.token_ids)), holding.bit, len(keys)
        for place, name in enumerate(hashes):
            key = xxh3_64_intdigest(content[place * width : place * width + width], key)
            if event.extra_keys is not None and (extra := _extra(event, place)):
                key = xxh3_64_intdigest(extra, key)
            if name in keys:
                copies[name] = copies.get(name, 1) + 1
                continue
            keys[name] = key
            holders[key] = holders.get(key, 0) | bit
        self.size += len(keys) - before

    def _remove(self, holding: Holding, event: Removed) -> None:
        if event.medium not in _ON_GPU or event.group_idx in holding.ignored:
            return
        keys, holders, copies = holding._keys, self._holders, holding._copies
        for name in event.block_hashes:
            count = copies.get(name)
            if count is not None:
                if count > 2:
                    copies[name] = count - 1
                else:
                    del copies[name]
                continue
            key = keys.pop(name, None)
            if key is None:
                continue
            self.size -= 1
            rest = holders[key] & ~holding.bit
            if rest:
                holders[key] = rest
            else:
                del holders[key]

    # What prompts are.

    def knows(self, rungs: Rungs) -> bool:
        """Whether all of a prompt has been learned."""
        return not rungs or rungs[-1][1] in self._learned

    def learn(self, rungs: Rungs, size: int, tokens: Sequence[int], adapter: str, block_size: int) -> None:
        """A prompt of `size` bytes has these rungs, and these tokens for `adapter` ("" the base model).

        Where in the tokens a rung ends is reckoned from its length. Taken too far, it is found a little less often,
        never falsely; too short, it is told of where only most of it is held.
        """
        content, count, width = memoryview(_packed(tokens)), len(tokens), block_size * _WIDTH
        full = count // block_size
        key, at = _root(adapter), 0
        found: list[tuple[int, int]] = []
        for length, digest in rungs:
            place = min(full, max(1, round(count * length / size / block_size)))
            for start in range(at * width, place * width, width):
                key = xxh3_64_intdigest(content[start : start + width], key)
            at = max(at, place)
            found.append((digest, key))
        learned = self._learned
        for digest, key in reversed(found):  # what forgets is the end of a prompt before its beginning
            learned[digest] = key
            learned.move_to_end(digest)
        while len(learned) > self._rungs:
            learned.popitem(last=False)

    def sent(self, rungs: Rungs, endpoint: str) -> None:
        """The endpoint is sent a prompt: it counts as held for 2 to 4 ticks, until its blocks are told of."""
        holding = self._holdings.get(endpoint)
        if holding is None or not rungs:
            return
        bit, now, learned, holders = holding.bit, self._sent[0], self._learned.get, self._holders.get
        new = 0
        for length, digest in rungs:
            if not holders(learned(digest, 0), 0) & bit:
                now[digest] = now.get(digest, 0) | bit
                new = length
        if new >= 8 * holding.block_size:  # of two blocks at the least
            holding.unheard += 1
        if len(now) > self._rungs:
            now.clear()

    def tick(self) -> None:
        """Each second."""
        for holding in self._holdings.values():
            holding.silent = holding.silent + 1 if holding.unheard else 0
        self._sweep(4 * _SWEPT)

    def turn(self) -> None:
        """Each other tick: what was sent before the last turn is no longer taken on trust."""
        self._sent = ({}, self._sent[0])
        since, before = self._resting
        self._gone &= ~before
        self._resting = [0, since]

    # What is asked.

    @property
    def on_trust(self) -> int:
        """Rungs that count as held somewhere because they were sent."""
        return sum(map(len, self._sent))

    def holding(self, endpoint: str) -> Holding | None:
        return self._holdings.get(endpoint)

    def trusted(self, endpoint: str) -> bool:
        """Whether what it holds goes by its events, and by nothing else."""
        holding = self._holdings.get(endpoint)
        return holding is not None and holding.trusted

    def match(self, rungs: Rungs, sent: Mapping[str, int]) -> Mapping[str, int]:
        """For each endpoint that holds any of it: how many bytes from the beginning, without a gap.

        `sent` is what the index of what was sent says. It counts where an endpoint's events have not come from its
        start on, or have stopped, and for that part of a prompt of which nobody knows the blocks yet.
        """
        if not self._holdings:
            return sent
        learned, holders, (now, before) = self._learned.get, self._holders.get, self._sent
        alive, upto = ~self._gone, 0
        found: list[tuple[int, int]] = []
        for length, digest in rungs:
            key = learned(digest)
            if key is None:
                break
            upto = length
            if alive:
                alive &= holders(key, 0) | now.get(digest, 0) | before.get(digest, 0)
                found.append((length, alive))
        exact: dict[str, int] = {}
        known = 0
        for length, mask in reversed(found):
            new = mask & ~known
            known |= new
            while new:
                bit = new & -new
                exact[self._names[bit]] = length
                new ^= bit
        for name, claimed in sent.items():
            holding = self._holdings.get(name)
            if holding is None or claimed > upto or (claimed > exact.get(name, 0) and not holding.trusted):
                exact[name] = claimed
        return exact

    def _sweep(self, most: int) -> None:
        """Clear bits that were given up, a few at a time; each can be given again once it is nowhere."""
        while self._leaving and most > 0:
            bit, keys = self._leaving[0]
            holders = self._holders
            for key in keys[-most:]:
                rest = holders.get(key, 0) & ~bit
                if rest:
                    holders[key] = rest
                else:
                    holders.pop(key, None)
            done = min(most, len(keys))
            most -= max(done, 1)
            del keys[len(keys) - done :]
            if not keys:
                self._leaving.popleft()
                self._resting[0] |= bit


def _packed(tokens: Sequence[int]) -> bytes:
    return array("I", tokens).tobytes()


@lru_cache(maxsize=4096)
def _root(adapter: str) -> int:
    return xxh3_64_intdigest(adapter.encode("utf-8", "replace"), 1) or 1


def _extra(event: Stored, place: int) -> bytes:
    """What makes the block another one than its tokens say, beside its adapter."""
    assert event.extra_keys is not None
    found: Any = event.extra_keys[place] if place < len(event.extra_keys) else None
    rest = [one for one in found or () if one != event.lora_name]
    return repr(rest).encode() if rest else b""
