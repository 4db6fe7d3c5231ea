"""How two policies' decisions about one request differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import endpoint, standing

from headgate.fleet.endpoint import Load
from headgate.pick.choose import choose
from headgate.pick.compare import CHANCE, Difference, compare
from headgate.pick.decision import Ask
from headgate.pick.filters import Sieve
from headgate.pick.profile import DEFAULT, Profile

QUEUE = Profile("queue", (("queue-scorer", 1.0),))
CACHE = Profile("cache", (("kv-cache-utilization-scorer", 3.0),))


def decide(profile, loads, die=0.0, **more):
    return choose(Ask("m"), standing(loads, **more), profile, lambda: die)


def test_the_same_endpoint_is_no_difference():
    loads = {"a": Load(0, 0, 0.1), "b": Load(9, 0, 0.9)}
    assert compare(decide(QUEUE, loads), decide(CACHE, loads)) == Difference(same=True)


def test_regret_and_cost_are_shares_of_the_weights_and_the_reason_is_the_scorer_that_tells_most():
    loads = {"a": Load(0, 0, 0.75), "b": Load(8, 0, 0.25)}
    found = compare(decide(QUEUE, loads), decide(CACHE, loads))
    assert found == Difference(same=False, regret=0.5, cost=1.0, reason="queue-scorer")
    assert compare(decide(CACHE, loads), decide(QUEUE, loads)).reason == "queue-scorer"


def test_what_both_score_alike_is_not_the_reason():
    both = Profile("both", (("queue-scorer", 1.0), ("kv-cache-utilization-scorer", 2.0)))
    loads = {"a": Load(0, 0, 0.9), "b": Load(8, 0, 0.1)}
    found = compare(decide(QUEUE, loads), decide(both, loads))
    assert (found.reason, found.same) == ("queue-scorer", False)  # 1 of 1 there, and 1 of 3 here
    assert found.cost == pytest.approx(1.0)
    assert found.regret == pytest.approx((2 * 0.8 - 1) / 3)


def test_among_equals_the_reason_is_chance():
    loads = {"a": Load(0, 0, 0.5), "b": Load(0, 0, 0.5)}
    found = compare(decide(QUEUE, loads, 0.0), decide(CACHE, loads, 0.9))
    assert (found.same, found.regret, found.cost, found.reason) == (False, 0.0, 0.0, CHANCE)


def test_where_a_filter_removed_one_of_them_nothing_can_be_weighed():
    only_b = Profile("sifted", QUEUE.scorers, sieves=(Sieve("mine", lambda ask, e, load, count: e.name != "a"),))
    loads = {"a": Load(0, 0, 0.5), "b": Load(4, 0, 0.5), "c": Load(9, 0, 0.5)}
    live, other = decide(QUEUE, loads), decide(only_b, loads)
    assert compare(live, other) == Difference(False, None, 1 - 5 / 9, "filter mine")
    assert compare(other, live) == Difference(False, pytest.approx(4 / 9), None, "filter mine")


def test_one_that_chooses_nobody_differs_from_one_that_does():
    nobody = Profile("none", QUEUE.scorers, sieves=(Sieve("mine", lambda ask, e, load, count: False),))
    loads = {"a": Load(0, 0, 0.5), "b": Load(4, 0, 0.5)}
    assert compare(decide(QUEUE, loads), decide(nobody, loads)) == Difference(False, None, None, "filter mine")
    assert compare(decide(nobody, loads), decide(nobody, loads)) == Difference(same=True)
    assert compare(decide(QUEUE, loads), decide(QUEUE, {})).reason == "no endpoints"


LOADS = st.builds(Load, st.integers(0, 30), st.integers(0, 30), st.floats(0, 1))


@given(st.lists(LOADS, min_size=2, max_size=6), st.floats(0, 0.99), st.floats(0, 0.99))
def test_who_chooses_the_best_neither_regrets_below_nothing_nor_above_all(loads, first, second):
    named = {f"{chr(97 + place)}": load for place, load in enumerate(loads)}
    found = compare(decide(DEFAULT, named, first), decide(CACHE, named, second))
    for share in (found.regret, found.cost):
        assert share is not None
        assert -1e-9 <= share <= 1.0 + 1e-9
    assert found.same or found.reason


def test_endpoints_are_told_apart_by_name():
    loads = {"a": Load(0, 0, 0.5), "b": Load(4, 0, 0.5)}
    live = decide(QUEUE, loads)
    again = choose(Ask("m"), standing(loads), QUEUE, lambda: 0.0)
    assert endpoint("a") == live.endpoint
    assert compare(live, again).same
