"""Slow start: how the share of an endpoint that has just begun to serve grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.slow_start import FIRST_SHARE, SlowStart, Young


def names(young) -> list[str]:
    return [one.name for one in young]


def test_an_endpoint_that_joins_others_is_young_for_a_while():
    slow = SlowStart(10.0)
    slow.serve("ab", 0.0)
    assert slow.serve("ab", 10.0) == ()
    (young,) = slow.serve("abc", 11.0)
    assert (young.name, young.share) == ("c", FIRST_SHARE)
    assert slow.serve("abc", 16.0) == (young,)
    assert young.share == 0.5
    assert slow.serve("abc", 20.9)[0].share == pytest.approx(0.99)
    assert slow.serve("abc", 21.0) == ()


def test_where_all_are_young_none_is_spared():
    slow = SlowStart(10.0)
    assert slow.serve("a", 0.0) == ()
    assert slow.serve("ab", 1.0) == ()
    assert names(slow.serve("ab", 10.5)) == ["b"], "a has grown up"


def test_one_that_comes_back_begins_anew():
    slow = SlowStart(10.0)
    slow.serve("ab", 0.0)
    slow.serve("a", 20.0)
    assert names(slow.serve("ab", 21.0)) == ["b"]
    slow.serve("a", 22.0)
    (young,) = slow.serve("ab", 30.0)
    assert young.share == FIRST_SHARE


def test_with_no_time_to_grow_nobody_is_young():
    slow = SlowStart(0.0)
    slow.serve("a", 0.0)
    assert slow.serve("ab", 1.0) == ()


@given(st.floats(FIRST_SHARE, 1.0), st.integers(1, 300))
def test_of_any_number_of_requests_it_takes_its_share_and_not_one_more(share, requests):
    young = Young("a", 0.0, share)
    taken = sum(young.takes() for _ in range(requests))
    assert share * requests - 1.001 < taken <= share * requests + 0.001
