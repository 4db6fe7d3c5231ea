"""`choose`: the laws of picking, and what its decisions carry."""

import random
from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from pools import endpoint, served, standing

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT, SERVICE, Profile
from headgate.pick.standing import Standing

LOADS = st.builds(
    Load,
    waiting=st.one_of(st.none(), st.integers(0, 9)),
    running=st.one_of(st.none(), st.integers(0, 9)),
    kv_usage=st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])),
    adapters_running=st.frozensets(st.sampled_from("xy")),
    max_adapters=st.sampled_from([None, 1, 2]),
)
POOLS = st.lists(st.tuples(LOADS, st.integers(0, 12), st.sampled_from([0, 600, 1100, 3000])), min_size=1, max_size=6)
DICE = st.floats(0, 1, exclude_max=True)
PROFILES = st.sampled_from(
    [DEFAULT, SERVICE, Profile("other", (("running-requests-size-scorer", 0.5), ("queue-scorer", 0.0)))]
)
PROMPT = random.Random(1).randbytes(3000)
ASKS = st.builds(Ask, st.sampled_from(["m", "x", ""]), st.sampled_from([(), ladder("m", PROMPT)]))


def pool(given_pool, order=None, sent_more=()):
    """A standing with these loads, requests in flight, and bytes of PROMPT seen before."""
    ledger, index = Ledger(), PrefixIndex()
    names = [f"e{n}" for n in range(len(given_pool))]
    for name, (_, sent, seen) in zip(names, given_pool, strict=True):
        ledger.counts[name] = sent
        index.record(ladder("m", PROMPT[:seen]), name)
    loads = {name: load for name, (load, _, _) in zip(names, given_pool, strict=True)}
    endpoints = [endpoint(names[n]) for n in (order or range(len(names)))]
    return Standing("ns/pool", endpoints, loads, ledger, index)


def totals_by_name(decision):
    return {one.name: total for one, total in zip(decision.candidates, decision.totals, strict=False)}


@given(POOLS, ASKS, PROFILES, DICE, st.randoms(use_true_random=False))
def test_the_order_of_the_endpoints_does_not_matter(given_pool, ask, profile, die, chance):
    order = list(range(len(given_pool)))
    chance.shuffle(order)
    first = choose(ask, pool(given_pool), profile, lambda: die)
    second = choose(ask, pool(given_pool, order), profile, lambda: die)
    assert totals_by_name(first) == totals_by_name(second)
    assert first.tied == second.tied
    if first.tied == 1:
        assert first.endpoint == second.endpoint


@given(POOLS, ASKS, PROFILES, DICE)
def test_totals_are_the_sums_of_weight_times_score(given_pool, ask, profile, die):
    decision = choose(ask, pool(given_pool), profile, lambda: die)
    assume(len(given_pool) > 1)
    assert [(term.scorer, term.weight) for term in decision.terms] == list(profile.scorers)
    for place, total in enumerate(decision.totals):
        assert abs(total - sum(term.weight * term.scores[place] for term in decision.terms)) < 1e-9
        assert all(0.0 <= term.scores[place] <= 1.0 for term in decision.terms)


@given(POOLS, ASKS, PROFILES, DICE)
def test_the_winner_has_the_best_total_and_the_fallbacks_follow_in_order(given_pool, ask, profile, die):
    decision = choose(ask, pool(given_pool), profile, lambda: die)
    assume(len(given_pool) > 1)
    totals = totals_by_name(decision)
    chain = [decision.endpoint, *decision.fallbacks]
    assert len({one.name for one in chain}) == len(chain) == min(3, len(given_pool))
    assert [totals[one.name] for one in chain] == sorted(totals.values(), reverse=True)[: len(chain)]
    assert decision.tied == list(totals.values()).count(max(totals.values()))


@given(POOLS, ASKS, DICE, DICE)
def test_the_dice_decide_only_among_equals(given_pool, ask, one, other):
    first = choose(ask, pool(given_pool), DEFAULT, lambda: one)
    second = choose(ask, pool(given_pool), DEFAULT, lambda: other)
    assert first.totals == second.totals
    if first.tied == 1:
        assert first.endpoint == second.endpoint


def test_the_dice_are_not_thrown_where_there_is_nothing_to_decide():
    def never():
        raise AssertionError("thrown")

    assert choose(Ask("m"), standing({"a": Load(waiting=1), "b": Load(waiting=0)}), DEFAULT, never).endpoint.name == "b"
    assert choose(Ask("m"), standing({"a": Load()}), DEFAULT, never).endpoint.name == "a"


def better(load: Load, how: str) -> Load:
    if how == "waiting" and load.waiting:
        return replace(load, waiting=load.waiting - 1, running=(load.running or 0) + 1)
    if how == "kv_usage" and load.kv_usage:
        return replace(load, kv_usage=load.kv_usage / 2)
    if how == "adapter":
        return replace(load, adapters_running=load.adapters_running | {"x"})
    return load


@given(POOLS, ASKS, DICE, st.sampled_from(["waiting", "kv_usage", "adapter", "prefix", "sent"]))
def test_improving_the_winner_keeps_it(given_pool, ask, die, how):
    before = choose(ask, pool(given_pool), DEFAULT, lambda: die)
    winner = int(before.endpoint.name[1:])
    load, sent, seen = given_pool[winner]
    # Only a request for x learns from this that x is an adapter: to the others it is news about all endpoints alike.
    assume(how != "adapter" or any("x" in one.adapters_running for one, _, _ in given_pool))
    improved = list(given_pool)
    improved[winner] = (
        better(load, how),
        max(0, sent - 1) if how == "sent" else sent,
        3000 if how == "prefix" else seen,
    )
    after = choose(ask, pool(improved), DEFAULT, lambda: die)
    if before.tied == 1:
        assert after.endpoint == before.endpoint
    elif after.totals:
        assert totals_by_name(after)[before.endpoint.name] >= max(after.totals) - 1e-9


def test_equals_are_chosen_equally_often():
    state = standing({name: Load() for name in "abcd"})
    chance = random.Random(7)
    wins = Counter(choose(Ask("m"), state, DEFAULT, chance.random).endpoint.name for _ in range(4000))
    assert set(wins) == set("abcd")
    assert all(900 < count < 1100 for count in wins.values())


def test_a_burst_between_two_scrapes_spreads_over_the_endpoints():
    ledger = Ledger()
    state = standing({"a": Load(0, 0, 0.0), "b": Load(0, 0, 0.1), "c": Load(0, 0, 0.2)}, ledger=ledger)
    for _ in range(30):
        ledger.take(choose(Ask("m"), state, DEFAULT, lambda: 0.0).endpoint.name)
    assert sorted(ledger.counts.values()) == [10, 10, 10]


def test_a_burst_of_one_prompt_spreads_over_the_endpoints_too():
    ledger, index = Ledger(), PrefixIndex()
    rungs = ladder("m", PROMPT)
    state = standing({name: Load(0, 0, 0.0) for name in "abc"}, ledger=ledger, index=index)
    for _ in range(300):
        name = choose(Ask("m", rungs), state, DEFAULT, lambda: 0.0).endpoint.name
        ledger.take(name)
        index.record(rungs, name)
    assert max(ledger.counts.values()) - min(ledger.counts.values()) <= 5


def test_a_conversation_goes_where_its_beginning_is_cached():
    index = PrefixIndex()
    rungs = ladder("m", PROMPT)
    index.record(rungs, "c")
    state = standing({name: Load(0, 0, 0.1) for name in "abcd"}, index=index)
    assert choose(Ask("m", rungs), state, DEFAULT, lambda: 0.0).endpoint.name == "c"


def test_an_adapter_goes_where_it_is_loaded():
    models = served("m", "m/x")
    loads = {
        "a": Load(0, 0, 0.0, max_adapters=2, models=models),
        "b": Load(0, 0, 0.1, frozenset({"x"}), max_adapters=2, models=models),
    }
    assert choose(Ask("x"), standing(loads), DEFAULT, lambda: 0.0).endpoint.name == "b"
    assert choose(Ask("m"), standing(loads), DEFAULT, lambda: 0.0).endpoint.name == "a"


def test_a_service_takes_the_endpoint_with_the_fewest_requests_in_flight():
    ledger = Ledger()
    for name in "aab":
        ledger.take(name)
    state = standing({"a": Load(), "b": Load(waiting=50), "c": Load(waiting=99, kv_usage=1.0)}, ledger=ledger)
    assert choose(Ask(""), state, SERVICE, lambda: 0.0).endpoint.name == "c"


def test_the_only_candidate_is_taken_unscored_and_the_trail_says_so():
    decision = choose(Ask("m"), standing({"a": Load(), "b": Load()}, b={"ready": False}), DEFAULT, lambda: 0.0)
    assert decision.endpoint.name == "a"
    assert decision.why == "the only candidate"
    assert decision.terms == decision.totals == decision.fallbacks == ()
    assert decision.removed == {"ready": ("b",)}


def test_a_decision_shows_loads_and_requests_in_flight_as_they_were():
    ledger = Ledger()
    ledger.take("b")
    loads = {"a": Load(waiting=1), "b": Load(waiting=2)}
    decision = choose(Ask("m"), standing(loads, ledger=ledger), DEFAULT, lambda: 0.0)
    ledger.take("b")
    assert decision.loads == (Load(waiting=1), Load(waiting=2))
    assert decision.in_flight == (0, 1)


def test_what_is_remembered_for_a_model_is_not_used_for_another_model_or_profile():
    state = standing({"a": Load(models=served("m")), "b": Load(models=served("n")), "c": Load(models=served("n"))})
    assert choose(Ask("m"), state, DEFAULT, lambda: 0.0).endpoint.name == "a"
    assert len(choose(Ask("n"), state, DEFAULT, lambda: 0.0).candidates) == 2
    assert choose(Ask("n", exclude=frozenset("b")), state, DEFAULT, lambda: 0.0).endpoint.name == "c"
    assert len(choose(Ask("n"), state, DEFAULT, lambda: 0.0).candidates) == 2
    assert len(choose(Ask("n"), state, SERVICE, lambda: 0.0).terms) == 1


def test_clients_who_make_up_model_names_fill_no_memory():
    state = standing({"a": Load(), "b": Load()})
    for number in range(2000):
        choose(Ask(f"made-up-{number}"), state, DEFAULT, lambda: 0.0)
    assert len(state._fields) <= 256
