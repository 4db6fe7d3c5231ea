"""Tokens in flight, beside requests: of one process, and of several."""

import mmap

from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.ledger import Ledger
from headgate.fleet.shared import CELL, SharedLedger

_NAMES = "abc"


def _shared(count: int) -> list[SharedLedger]:
    memory = memoryview(mmap.mmap(-1, 2 * count * 16 * CELL))
    rows = [memory[row * 16 * CELL : (row + 1) * 16 * CELL] for row in range(2 * count)]
    ledgers = [SharedLedger(rows[:count], row, rows[count:]) for row in range(count)]
    for ledger in ledgers:
        for column, name in enumerate(_NAMES):
            ledger.assign(name, column)
    return ledgers


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(_NAMES), st.integers(0, 10**6)), max_size=40))
def test_what_is_added_is_read_by_all_until_it_is_removed(moves: list[tuple[int, str, int]]) -> None:
    ledgers = [*_shared(2), Ledger()]
    for who, name, amount in moves:
        for ledger in (ledgers[who], ledgers[2]):
            ledger.tokens.add(name, amount)
    expected = tuple(sum(amount for _, name, amount in moves if name == one) for one in _NAMES)
    for ledger in ledgers:
        assert ledger.tokens.reader(_NAMES)() == expected
        assert ledger.reader(_NAMES)() == (0, 0, 0)  # requests are counted apart
    for who, name, amount in moves:
        for ledger in (ledgers[who], ledgers[2]):
            ledger.tokens.remove(name, amount)
    assert all(ledger.tokens.total() == 0 for ledger in ledgers)


def test_an_endpoint_that_is_forgotten_takes_its_tokens_with_it() -> None:
    for ledger in (Ledger(), *_shared(1)):
        ledger.tokens.add("a", 500)
        ledger.forget("a")
        ledger.tokens.remove("a", 500)
        assert ledger.tokens.count("a") == 0


def test_one_who_gets_its_column_later_counts_there_from_then_on() -> None:
    first, second = _shared(2)
    for ledger in (first, second):
        assert ledger.tokens.count("late") == 0
        ledger.assign("late", 9)
    first.tokens.add("late", 70)
    assert second.tokens.count("late") == 70


def test_counters_stop_short_of_their_sign() -> None:
    first, second = _shared(2)
    for ledger in (first, second):
        ledger.tokens.add("a", 2**40)
    assert first.tokens.reader("ab")() == (2 * ((2**31 - 1) // 2), 0)
