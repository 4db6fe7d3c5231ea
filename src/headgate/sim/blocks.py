"""The KV cache: blocks of tokens with owners, shared by prefix, evicted least recently used first (as vLLM v1 does).

A block is free (nobody holds it), or held by one or more sequences. A free block may still be cached: its content is
known by its key and it can be taken up again until it is needed for something else. Free blocks wait in the order in
which they were given back, the tail of a sequence before its head, so that heads, which others share, live longest.

The same content may be in several blocks: whoever computes it anew (all of a prompt, or its last block) has a copy of
its own, and the content is cached until the last copy is needed for something else. Source: BlockHashToBlockMap in
vllm/v1/core/block_pool.py.
"""

from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct

Key = int
Block = int


class Note(Struct, frozen=True):
    """What happened to the cached content: `--kv-events-config` has it published."""


class Removed(Note, frozen=True):
    """One block with this content, of perhaps several, was needed for something else."""

    key: Key


class Cleared(Note, frozen=True):
    """Nothing is cached any more."""


class Blocks:
    """A pool of `total` blocks. Blocks are numbers; what they hold is known by a key (0: nothing that others may
    share).
    """

    def __init__(self, total: int, caching: bool = True) -> None:
        self.total = total
        self.notes: list[Note] | None = None  # where somebody wants to know; who does takes them out
        self._caching = caching
        self._free: OrderedDict[Block, None] = OrderedDict.fromkeys(range(total))
        self._holders = [0] * total
        self._keys = [0] * total
        self._cached: dict[Key, list[Block]] = {}  # never an empty list

    @property
    def free(self) -> int:
        """How many blocks nobody holds."""
        return len(self._free)

    @property
    def usage(self) -> float:
        """The share of blocks that somebody holds, 0 to 1 (`vllm:kv_cache_usage_perc`)."""
        return 1.0 - len(self._free) / self.total

    def find(self, keys: Sequence[Key], most: int) -> list[Block]:
        """The cached blocks of the longest prefix of `keys`, at most `most` of them; nothing is taken yet."""
        found: list[Block] = []
        if self._caching:
            cached = self._cached
            for key in keys[:most]:
                copies = cached.get(key)
                if copies is None:
                    break
                found.append(copies[0])
        return found

    def take(self, shared: Sequence[Block], fresh: int) -> list[Block] | None:
        """Hold the `shared` blocks (found just now) and `fresh` new ones; None, and nothing held, when too few are
        free.
        """
        holders = self._holders
        idle = [block for block in shared if not holders[block]]
        if fresh + len(idle) > len(self._free):
            return None
        for block in idle:
            del self._free[block]
        for block in shared:
            holders[block] += 1
        taken = list(shared)
        for _ in range(fresh):
            block, _ = self._free.popitem(last=False)
            if self._keys[block]:
                self._forget(block)
            holders[block] = 1
            taken.append(block)
        return taken

    def know(self, block: Block, key: Key) -> None:
        """The block, newly taken, is full now, and its content has this key: others may share it from now on."""
        if self._caching:
            copies = self._cached.get(key)
            if copies is None:
                self._cached[key] = [block]
            else:
                copies.append(block)
            self._keys[block] = key

    def give_back(self, blocks: Sequence[Block]) -> None:
        """One holder lets go of these blocks, which are in the order of their sequence."""
        holders = self._holders
        for block in reversed(blocks):
            holders[block] -= 1
            if not holders[block]:
                self._free[block] = None

    def holders(self) -> list[int]:
        """How many hold each block: what the laws in the tests are about."""
        return list(self._holders)

    def clear(self) -> bool:
        """Forget all cached content. False, and nothing done, while blocks are held (`reset_prefix_cache`)."""
        if len(self._free) != self.total:
            return False
        self._cached.clear()
        self._keys = [0] * self.total
        if self.notes is not None:
            self.notes.append(Cleared())
        return True

    def cached(self) -> set[Key]:
        """The content that is cached: what the laws in the tests are about."""
        return set(self._cached)

    def _forget(self, block: Block) -> None:
        key = self._keys[block]
        if self.notes is not None:
            self.notes.append(Removed(key))
        copies = self._cached[key]
        copies.remove(block)
        if not copies:
            del self._cached[key]
        self._keys[block] = 0
