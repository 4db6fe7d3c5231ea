"""A request to rehearse with: when it comes, how long it is, and what of it is equal to others. There is no text."""

from array import array
from collections.abc import Sequence

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.prefix import LENGTHS, Rungs

_PLACE = 22  # bits of a key that tell a place in a prompt


class Chains:
    """Prompts as chains of blocks of `size` tokens, as recorded traces tell them: what is equal from the first block on
    is there once, 8 bytes for each block. A prompt is its last block, which knows the one before it.
    """

    __slots__ = ("_before", "_known", "_places", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._before = array("q")
        self._places: dict[object, int] = {}  # of blocks, by name; most names have one block before them only
        self._known: dict[tuple[int, object], int] = {}  # those that have others

    def add(self, names: Sequence[object], alone: bool = False) -> int:
        """A chain: its last block, -1 where it has none. Two are equal as far as their names are.

        `alone`: it goes on with what no other has.
        """
        last = -1
        for name in names:
            place = self._places.setdefault(name, len(self._before))
            if place < len(self._before) and self._before[place] != last:
                place = self._known.setdefault((last, name), len(self._before))
            if place == len(self._before):
                self._before.append(last)
            last = place
        if alone:
            self._before.append(last)
            last = len(self._before) - 1
        return last

    def path(self, last: int) -> list[int]:
        """The blocks from the first one to this one."""
        found = []
        while last >= 0:
            found.append(last)
            last = self._before[last]
        found.reverse()
        return found

    def done(self) -> None:
        """No more will be added: forget the names."""
        self._places, self._known = {}, {}


class Request(Struct, frozen=True, gc=False):
    """`at` in seconds from the beginning; lengths in tokens.

    Two requests of one `group` are equal in their first `shared` tokens (those of a group have the same), two of one
    group and `number` in all of them, and all others in nothing; nor are those of different adapters. What `grows` is a
    turn of a conversation, its number: the answer stands in the prompts that follow. Where there are `chains`, they
    alone tell what is equal, by the prompt's `last` block.

    `priority` is that of an objective (Critical 1, Standard 0, Sheddable -1); `flow` is who asks, and may not lose a
    share to others.
    """

    at: float
    prompt: int
    output: int
    group: int
    number: int = 0
    shared: int = 0
    adapter: str = ""
    priority: int = 0
    flow: str = ""
    grows: bool = False
    chains: Chains | None = None
    last: int = -1

    def keys(self, block_size: int) -> list[int]:
        """The content of its full blocks, as the engine knows it: equal where the prompts are, up to there."""
        full = (self.prompt + self.output if self.grows else self.prompt) // block_size
        if self.chains is not None:
            names = self._names(self.chains)
            size, most = self.chains.size, len(names) - 1
            return [names[min(((place + 1) * block_size - 1) // size, most)] - place for place in range(full)]
        common = min(self.shared // block_size, full)
        first, own = self._roots()
        return [*(first | place for place in range(common)), *(own | place for place in range(common, full))]

    def rungs(self) -> Rungs:
        """The same as the gateway's prefix index knows it."""
        whole, common = self.prompt * BYTES_PER_TOKEN, self.shared * BYTES_PER_TOKEN
        if self.chains is not None:
            names = self._names(self.chains)
            size, most = self.chains.size * BYTES_PER_TOKEN, len(names) - 1
            found = enumerate(LENGTHS)
            return tuple([(n, names[min((n - 1) // size, most)] - place) for place, n in found if n <= whole])
        first, own = self._roots()
        rungs = []
        for place, length in enumerate(LENGTHS):
            if length > whole:
                break
            rungs.append((length, (first if length <= common else own) | place))
        return tuple(rungs)

    def _roots(self) -> tuple[int, int]:
        """What the group shares, and what is the number's own; a place in it goes into the lowest 22 bits."""
        first = self.group << 2 * _PLACE
        if self.adapter:
            first |= xxh3_64_intdigest(self.adapter.encode()) << 4 * _PLACE
        return first, first | (self.number + 1) << _PLACE

    def _names(self, chains: Chains) -> list[int]:
        """Of the chain's blocks. Below 0, where no root is; a place is taken off."""
        own = xxh3_64_intdigest(self.adapter.encode()) << 4 * _PLACE if self.adapter else 0
        return [-(own | (block + 1) << _PLACE) for block in chains.path(self.last)]
