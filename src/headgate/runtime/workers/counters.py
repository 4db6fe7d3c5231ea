"""The counters that all processes share: memory, which column is whose, and what workers are told of it."""

import mmap
import os
import tempfile

from headgate.fleet.prefix import PrefixIndex
from headgate.fleet.shared import CELL, SharedLedger
from headgate.runtime.workers.latest import Latest

COLUMNS = 8192  # endpoints at one time; those beyond are counted by each worker for itself


class Counters:
    """A row of COLUMNS counters for each worker, and another of `tokens`. `file` is what to give to other processes.

    Pages that nobody writes to take no memory: where no profile counts tokens, those are free.
    """

    def __init__(self, file: int, rows: int) -> None:
        self.file = file
        self._memory = mmap.mmap(file, 2 * rows * COLUMNS * CELL)
        whole, size = memoryview(self._memory), COLUMNS * CELL
        all_rows = [whole[row * size : (row + 1) * size] for row in range(2 * rows)]
        self.rows, self.tokens = all_rows[:rows], all_rows[rows:]

    def clear(self, row: int) -> None:
        """Whose row it was has ended."""
        self.rows[row][:] = bytes(COLUMNS * CELL)
        if any(self.tokens[row]):
            self.tokens[row][:] = bytes(COLUMNS * CELL)


def make(rows: int) -> Counters:
    """New ones, all zero. Raises OSError."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("headgate-counters", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, 2 * rows * COLUMNS * CELL)
    return Counters(file, rows)


class Columns(SharedLedger):
    """The controller's ledger: it reads, and says which column is whose.

    A column is given again only when every worker has forgotten who had it: until then one of them may still count
    there.
    """

    __slots__ = ("_free", "_given", "_latest", "_next", "_resting")

    def __init__(self, counters: Counters, latest: Latest) -> None:
        super().__init__(counters.rows, None, counters.tokens)
        self._latest = latest
        self._given: dict[str, int] = {}
        self._next = 0  # columns from here on were never used
        self._free: list[int] = []
        self._resting: list[tuple[int, int]] = []  # the version from which on it is nobody's, and the column

    def admit(self, endpoint: str) -> None:
        """It is served: it gets a column, as long as there are any."""
        if endpoint in self._given:
            return
        if self._free:
            column = self._free.pop()
        elif self._next < COLUMNS:
            column, self._next = self._next, self._next + 1
        else:
            return
        self._given[endpoint] = column
        self.assign(endpoint, column)
        self._latest.put("column", endpoint, column)

    def forget(self, endpoint: str) -> None:
        super().forget(endpoint)
        column = self._given.pop(endpoint, None)
        if column is not None:
            self._latest.drop("column", endpoint)
            self._resting.append((self._latest.version, column))

    def rested(self, version: int) -> None:
        """Every worker has seen all up to that version."""
        rested = [column for since, column in self._resting if since <= version]
        if rested:
            self._resting = self._resting[len(rested) :]
            # The lowest first: what is read at each choice ends at the highest.
            self._free = sorted([*self._free, *rested], reverse=True)


class Lives(PrefixIndex):
    """The controller's prefix index: it knows no prefixes, and tells workers whose cache is lost."""

    __slots__ = ("_latest", "_lives")

    def __init__(self, latest: Latest) -> None:
        super().__init__(limit=0)
        self._latest = latest
        self._lives: dict[str, int] = {}

    def fit(self, endpoint: str, capacity: int | None) -> None:
        """Workers read it from the loads themselves."""

    def forget(self, endpoint: str) -> None:
        self._lives[endpoint] = self._lives.get(endpoint, 0) + 1
        self._latest.put("life", endpoint, self._lives[endpoint])

    def leave(self, endpoint: str) -> None:
        """It is in no pool any more."""
        if self._lives.pop(endpoint, None) is not None:
            self._latest.drop("life", endpoint)
