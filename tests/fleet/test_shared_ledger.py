"""The ledger of several processes: each reads what all of them have in flight, and locks nothing."""

import mmap

from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.ledger import Ledger
from headgate.fleet.shared import CELL, SharedLedger

_NAMES = "abc"


def _rows(count: int, columns: int = 16) -> list[memoryview]:
    memory = memoryview(mmap.mmap(-1, count * columns * CELL))
    return [memory[row * columns * CELL : (row + 1) * columns * CELL] for row in range(count)]


def _ledgers(count: int, columns: int = 3) -> list[SharedLedger]:
    rows = _rows(count)
    ledgers = [SharedLedger(rows, row) for row in range(count)]
    for ledger in ledgers:
        for column, name in enumerate(_NAMES[:columns]):
            ledger.assign(name, column)
    return ledgers


_moves = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from(_NAMES)), max_size=60)


@given(_moves)
def test_each_process_reads_the_sum_of_all_and_the_sum_is_that_of_ledgers_of_their_own(
    moves: list[tuple[int, bool, str]],
) -> None:
    shared, alone = _ledgers(3), [Ledger() for _ in range(3)]
    readers = [ledger.reader("cab") for ledger in shared]
    for who, take, name in moves:
        for ledger in (shared[who], alone[who]):
            (ledger.take if take else ledger.give)(name)
        expected = {name: sum(one.count(name) for one in alone) for name in _NAMES}
        for ledger, read in zip(shared, readers, strict=True):
            assert read() == tuple(expected[name] for name in "cab")
            assert ledger.reader(["b"])() == (expected["b"],)
            assert {name: ledger.count(name) for name in _NAMES} == expected
            assert ledger.total() == sum(expected.values())


def test_an_endpoint_without_a_column_is_counted_by_the_process_that_sends_there() -> None:
    first, second = _ledgers(2, columns=1)
    for ledger in (first, second):
        ledger.take("a")
        ledger.take("late")
    assert first.reader(["late", "a"])() == (1, 2)
    assert first.reader([])() == ()
    assert second.total() == 3
    read = first.reader(["late", "a"])
    second.assign("late", 5)
    first.assign("late", 5)
    first.take("late")
    assert read() == second.reader(["late", "a"])() == (1, 2)


def test_who_only_reads_sees_all_and_changes_nothing() -> None:
    rows = _rows(2)
    worker, reader = SharedLedger(rows, 1), SharedLedger(rows, None)
    for ledger in (worker, reader):
        ledger.assign("a", 2)
    worker.take("a")
    assert reader.count("a") == reader.total() == 1
    reader.forget("a")
    assert worker.count("a") == 1


def test_a_forgotten_endpoint_leaves_its_column_to_the_next() -> None:
    first, second = _ledgers(2)
    first.take("a")
    second.take("a")
    for ledger in (first, second):
        ledger.forget("a")
        ledger.assign("new", 0)
    assert first.count("new") == second.count("new") == 0
    first.give("a")  # its end comes late, and counts for nothing
    assert second.count("new") == 0


def test_another_column_begins_at_zero() -> None:
    (ledger,) = _ledgers(1)
    ledger.take("a")
    ledger.assign("a", 0)
    assert ledger.count("a") == 1
    ledger.assign("a", 7)
    assert ledger.count("a") == 0
    ledger.assign("next", 0)
    assert ledger.count("next") == 0
