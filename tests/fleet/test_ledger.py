"""The ledger of requests in flight."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.ledger import Ledger


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab"))))
def test_counts_are_takes_less_gives_and_never_below_zero(moves):
    ledger, expected = Ledger(), {"a": 0, "b": 0}
    for take, name in moves:
        (ledger.take if take else ledger.give)(name)
        expected[name] = max(0, expected[name] + (1 if take else -1))
    assert {name: ledger.counts[name] for name in "ab"} == expected
    assert ledger.total() == sum(expected.values())


def test_an_end_that_comes_after_the_endpoint_was_forgotten_counts_for_nothing():
    ledger = Ledger()
    ledger.take("a")
    ledger.forget("a")
    ledger.give("a")
    assert dict(ledger.counts) == {}
    ledger.take("a")
    assert ledger.counts["a"] == 1
