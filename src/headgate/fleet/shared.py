"""The ledger where several processes serve: each has a row of counters, and a column is an endpoint."""

import sys
from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct

from headgate.fleet.ledger import Ledger

CELL = 4  # bytes of a counter
_ORDER = sys.byteorder
_MOST = 2**31 - 1  # that all counters of a column may come to together


class SharedLedger(Ledger):
    """`counts` are this process' own; `count`, `total` and `reader` tell those of all.

    No locks: each process writes its own row, and reads the others'. `rows` are memory that all of them share, one
    writable memoryview of bytes each, zero at first; `own` is the place of ours, None for who only reads. Which column
    is whose, `assign` says: to all the same, and to none another before every one has forgotten the endpoint before.
    An endpoint without a column is counted here and seen by nobody else. `tokens` are further rows, for those.

    `take` and `give` cost 0.2 µs, reading 10 endpoints of 4 processes 0.6 µs: the rows are added as one integer each.
    """

    __slots__ = ("_cells", "_columns", "_own", "_rows", "_tokens_rows")

    follows = False  # others change theirs

    def __init__(self, rows: Sequence[memoryview], own: int | None, tokens: Sequence[memoryview] = ()) -> None:
        super().__init__()
        self._rows = tuple(rows)
        self._own = own
        self._cells = None if own is None else rows[own].cast("i")
        self._columns: dict[str, int] = {}
        self._tokens_rows = tuple(tokens)

    def _beside(self) -> Ledger:
        if not self._tokens_rows:
            return Ledger()
        beside = SharedLedger(self._tokens_rows, self._own)
        for endpoint, column in self._columns.items():
            beside.assign(endpoint, column)
        return beside

    def assign(self, endpoint: str, column: int) -> None:
        """The endpoint's counter. What it had before is forgotten."""
        if self._columns.get(endpoint) != column:
            self.forget(endpoint)
            self._columns[endpoint] = column
        if isinstance(self._tokens, SharedLedger):
            self._tokens.assign(endpoint, column)

    def take(self, endpoint: str) -> None:
        self._set(endpoint, self.counts[endpoint] + 1)

    def give(self, endpoint: str) -> None:
        count = self.counts.get(endpoint, 0)
        if count > 0:
            self._set(endpoint, count - 1)

    def add(self, endpoint: str, amount: int) -> None:
        self._set(endpoint, min(self.counts[endpoint] + amount, _MOST // len(self._rows)))

    def remove(self, endpoint: str, amount: int) -> None:
        count = self.counts.get(endpoint, 0)
        if count > 0:
            self._set(endpoint, max(0, count - amount))

    def _set(self, endpoint: str, count: int) -> None:
        self.counts[endpoint] = count
        column = self._columns.get(endpoint)
        if column is not None and self._cells is not None:
            self._cells[column] = count

    def forget(self, endpoint: str) -> None:
        super().forget(endpoint)
        column = self._columns.pop(endpoint, None)
        if column is not None and self._cells is not None:
            self._cells[column] = 0

    def count(self, endpoint: str) -> int:
        return self._one(endpoint)

    def total(self) -> int:
        return sum(self.reader(list(self._columns))()) + sum(
            count for endpoint, count in self.counts.items() if endpoint not in self._columns
        )

    def reader(self, endpoints: Sequence[str]) -> Callable[[], tuple[int, ...]]:
        columns = [self._columns.get(endpoint) for endpoint in endpoints]
        if None in columns:
            return lambda: tuple([self._one(endpoint) for endpoint in endpoints])
        known = [column for column in columns if column is not None]
        width = max(known, default=0) + 1
        size = width * CELL
        parts = [row[:size] for row in self._rows]
        from_bytes, unpack = int.from_bytes, Struct(f"={width}i").unpack
        pick = itemgetter(*known) if len(known) > 1 else lambda counts: tuple([counts[column] for column in known])

        def read() -> tuple[int, ...]:
            # Counters never reach their sign bits: sums of rows are rows of sums.
            total = 0
            for part in parts:
                total += from_bytes(part, _ORDER)
            found: tuple[int, ...] = pick(unpack(total.to_bytes(size, _ORDER)))
            return found

        return read

    def _one(self, endpoint: str) -> int:
        """The count of one that may have no column, or not yet."""
        if endpoint in self._columns:
            return self.reader([endpoint])()[0]
        return self.counts.get(endpoint, 0)
