"""Who of a band, and who of a flow, is next."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import Pool

from headgate.flow.ceilings import holdback, reflective, static
from headgate.flow.discipline import Rule
from headgate.flow.fairness import FAIR, Fairness, Service, least_served
from headgate.flow.ordering import ORDERS

TURNS = FAIR["round-robin-fairness-policy"]
LEAST = FAIR["program-aware-fairness"]


def jain(values):
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def busy(fairness=FAIR["global-strict-fairness-policy"], order="fcfs-ordering-policy", **more):
    pool = Pool(default=Rule(fairness=fairness, order=ORDERS[order]), **more)
    pool.ask(flow="first")
    return pool


def test_strict_looks_at_no_flow():
    pool = busy()
    for flow in "aaab":
        pool.ask(flow=flow)
    assert pool.flows(4) == ["a", "a", "a", "b"]


def test_flows_take_turns_each_in_the_order_of_its_own():
    pool = busy(TURNS)
    asked = [pool.after(0.1).ask(flow=flow) for flow in "aaabbc"]
    gone = [pool.end()[0] for _ in range(6)]
    assert [one.flow for one in gone] == ["a", "b", "c", "a", "b", "a"]
    assert [one for one in gone if one.flow == "a"] == asked[:3]


def test_a_flow_that_has_waited_for_nobody_comes_last():
    pool = busy(TURNS)
    for flow in "ab":
        pool.ask(flow=flow)
    assert pool.flows(1) == ["a"]
    pool.ask(flow="a")
    assert pool.flows(2) == ["b", "a"]


def test_the_flow_that_was_given_least_is_next():
    pool = busy(Fairness(least_served(1.0, 0.0)))
    for flow in "aabb":
        pool.ask(flow=flow)
    pool.control.served("a", 100, 100, pool.now)
    pool.control.served("b", 299, 0, pool.now)
    assert pool.flows(1) == ["b"]
    pool.control.served("b", 0, 1, pool.now)
    assert pool.flows(3) == ["a", "a", "b"]


def test_who_waits_for_long_is_next_though_he_was_given_more():
    pool = busy(Fairness(least_served(0.4, 0.6)))
    pool.ask(flow="a")
    pool.after(5.0).ask(flow="b")
    pool.control.served("a", 1000, 0, pool.now)
    assert pool.flows(2) == ["a", "b"]


def test_generated_tokens_count_twice_and_what_was_is_forgotten():
    service = Service(half_life_s=60.0, forget_s=200.0, sweep_s=10.0)
    service.give("a", 100, 50, 0.0)
    assert service.of("a", 0.0) == 200.0
    assert service.of("a", 60.0) == pytest.approx(100.0)
    assert service.of("nobody", 5.0) == 0.0
    service.give("b", 1, 0, 201.0)
    assert len(service) == 1
    assert Service(0.0).of("a", 5.0) == 0.0
    lasting = Service(half_life_s=0.0)
    lasting.give("a", 10, 0, 0.0)
    assert lasting.of("a", 1e6) == 10.0


def test_the_earliest_deadline_goes_first():
    pool = busy(order="edf-ordering-policy")
    late, early = pool.ask(), pool.ask(ttl_s=3.0)
    pool.after(1.0)
    assert [pool.end(), pool.end()] == [[early], [late]]


def test_who_may_wait_for_ever_goes_last():
    pool = busy(order="edf-ordering-policy", ttl_s=0.0)
    ever, some = pool.ask(), pool.ask(ttl_s=9.0)
    assert [pool.end(), pool.end()] == [[some], [ever]]


def test_the_earliest_objective_goes_first_and_who_has_none_last():
    pool = busy(order="slo-deadline-ordering-policy")
    none, late = pool.ask(), pool.ask(ttft_s=5.0)
    early = pool.after(1.0).ask(ttft_s=0.5)
    assert [pool.end() for _ in range(3)] == [[early], [late], [none]]


def test_too_many_flows_share_a_line():
    pool = busy(TURNS)
    for number in range(1100):
        pool.ask(flow=str(number))
    band = next(band for band, _ in pool.control.bands() if band.priority == 0)
    assert len(band.lines) == 1001
    assert band.sizes["other"] == (100, 1000)
    assert sum(count for count, _ in band.sizes.values()) == 1100


@pytest.mark.parametrize("fairness", [TURNS, LEAST])
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_however_much_each_flow_asks_for_all_are_given_the_same(fairness, eagerness, dice):
    """Jain's index of the tokens that each was given, while all of them want more."""
    pool = busy(fairness, ttl_s=0.0)
    given: Counter[str] = Counter()
    for flow, eager in enumerate(eagerness):
        for _ in range(40 + eager * 5):
            pool.ask(flow=str(flow))
    for _ in range(len(eagerness) * 30):
        pool.after(0.01)
        ended = pool.running[0][0]
        cost = 100 if fairness is TURNS else dice.choice((20, 100, 400))
        if ended.flow != "first":
            given[ended.flow] += cost
            pool.control.served(ended.flow, cost, 0, pool.now)
        pool.end()
    assert jain([given[str(flow)] for flow in range(len(eagerness))]) > 0.97


# Ceilings.


def test_ceilings_are_spread_by_rank_or_by_value():
    assert static(0.7).compute(0.0, [1, 0], 0) == [0.7, 0.7]
    assert holdback(0.4, 0.9).compute(0.0, [100, 0, -1], 0) == pytest.approx([0.9, 0.65, 0.4])
    assert holdback(0.4, 0.9, by_value=True).compute(0.0, [10, 8, 0], 0) == pytest.approx([0.9, 0.8, 0.4])
    assert holdback(0.4, 0.9).compute(0.0, [3], 0) == [0.9]
    assert holdback(0.4).compute(0.0, [], 0) == []


def test_the_reflective_ceiling_opens_seldom_where_the_pool_is_nearly_full():
    compute = reflective().compute
    assert compute(0.3, [2, 1, 0], 1) == [1.0, 1.0, 1.0]
    assert compute(1.2, [2, 1, 0], 4) == [1.0, 0.0, 0.0]
    opened = [compute(0.8, [2, 1, 0], turn)[2] for turn in range(40)]
    assert sum(opened) == 10
    assert {tuple(compute(0.8, [2, 1, 0], turn)) for turn in range(9)} == {(1.0, 0.0, 0.0), (1.0, 1.0, 1.0)}
    assert compute(0.9, [5], 0) == [1.0]


@given(
    st.lists(st.integers(-100, 100), min_size=1, max_size=8, unique=True),
    st.floats(0.0, 3.0),
    st.integers(0, 100),
    st.sampled_from([static(), static(0.4), holdback(0.2), holdback(0.0, 0.5, by_value=True), reflective()]),
)
def test_no_ceiling_is_above_that_of_a_higher_priority(priorities, saturation, turn, usage):
    ceilings = usage.compute(saturation, sorted(priorities, reverse=True), turn)
    assert len(ceilings) == len(priorities)
    assert ceilings == sorted(ceilings, reverse=True)
