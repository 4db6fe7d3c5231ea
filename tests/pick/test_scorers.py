"""The scorers' arithmetic, by the tables of the endpoint pickers of the field."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import endpoint, served

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.scorers import SCORERS

NAMES = "abcdefgh"


def scores(scorer, loads, *, model="m", sent=(), prefix=(), index=None):
    ledger = Ledger()
    for name, count in zip(NAMES, sent, strict=False):
        ledger.counts[name] = count
    among = Candidates([endpoint(name) for name in NAMES[: len(loads)]], loads, ledger, index or PrefixIndex())
    return list(SCORERS[scorer](Ask(model, prefix), among, among.in_flight(), among.depths(among.in_flight())))


def waiting(*counts):
    return [Load(waiting=count, running=0) for count in counts]


def test_the_queue_scorer_spreads_from_the_longest_queue_to_the_shortest():
    assert scores("queue-scorer", waiting(0, 5, 10)) == [1.0, 0.5, 0.0]
    assert scores("queue-scorer", waiting(3, 3)) == [1.0, 1.0]
    assert scores("queue-scorer", waiting(7)) == [1.0]


def test_requests_that_no_metric_knows_yet_count_as_waiting():
    assert scores("queue-scorer", waiting(0, 0, 0), sent=(0, 1, 2)) == [1.0, 0.5, 0.0]
    busy = [Load(waiting=0, running=4), Load(waiting=1, running=4)]
    assert scores("queue-scorer", busy, sent=(4, 0)) == [1.0, 0.0]  # the four are those that run
    assert scores("queue-scorer", busy, sent=(6, 0)) == [0.0, 1.0]  # two more were sent since


def test_an_endpoint_that_has_not_reported_is_judged_by_what_we_sent_there():
    assert scores("queue-scorer", [Load(), Load(waiting=2, running=0)], sent=(1, 0)) == [1.0, 0.0]


def test_the_running_scorer_spreads_from_the_most_running_to_the_fewest():
    assert scores("running-requests-size-scorer", [Load(running=n) for n in (4, 0, 3)]) == [0.0, 1.0, 0.25]
    assert scores("running-requests-size-scorer", [Load(running=2), Load(running=2)]) == [1.0, 1.0]


def test_the_active_request_scorer_counts_our_own_requests_in_flight():
    assert scores("active-request-scorer", [Load()] * 3, sent=(0, 1, 4)) == [1.0, 0.75, 0.0]
    assert scores("active-request-scorer", [Load()] * 2) == [1.0, 1.0]


def test_the_kv_cache_scorer_is_what_is_free():
    assert scores("kv-cache-utilization-scorer", [Load(kv_usage=0.25), Load(kv_usage=1.0)]) == [0.75, 0.0]


def test_unknown_kv_usage_is_neither_an_advantage_nor_a_punishment():
    assert scores("kv-cache-utilization-scorer", [Load(kv_usage=0.2), Load(), Load(kv_usage=0.6)])[1] == pytest.approx(
        0.6
    )
    assert scores("kv-cache-utilization-scorer", [Load(), Load()]) == [1.0, 1.0]


def test_the_lora_scorer_prefers_the_adapter_then_a_free_slot_then_a_place_in_the_queue():
    loads = [
        Load(adapters_running=frozenset({"x"}), max_adapters=1),
        Load(adapters_running=frozenset({"y"}), max_adapters=2),
        Load(adapters_running=frozenset({"y"}), adapters_waiting=frozenset({"x"}), max_adapters=1),
        Load(adapters_running=frozenset({"y"}), max_adapters=1),
    ]
    assert scores("lora-affinity-scorer", loads, model="x") == [1.0, 0.8, 0.6, 0.0]


def test_an_adapter_that_is_listed_as_running_and_as_waiting_takes_one_slot():
    y = frozenset({"y"})
    loads = [
        Load(adapters_running=frozenset({"x"}), max_adapters=2),
        Load(adapters_running=y, adapters_waiting=y, max_adapters=2),
    ]
    assert scores("lora-affinity-scorer", loads, model="x") == [1.0, 0.8]


def test_a_base_model_is_neutral_to_adapters():
    loads = [
        Load(adapters_running=frozenset({"y"}), max_adapters=1, models=served("m", "m/y")),
        Load(max_adapters=1, models=served("m", "m/y")),
    ]
    assert scores("lora-affinity-scorer", loads, model="m") == [1.0, 1.0]
    assert scores("lora-affinity-scorer", loads, model="") == [1.0, 1.0]
    assert scores("lora-affinity-scorer", loads, model="y") == [1.0, 0.8]


def test_an_endpoint_whose_base_model_is_what_others_have_as_an_adapter_needs_no_slot():
    loads = [Load(max_adapters=0, models=served("y")), Load(max_adapters=0, models=served("m", "m/y"))]
    assert scores("lora-affinity-scorer", loads, model="y") == [1.0, 0.0]


def test_the_prefix_scorer_is_the_part_of_the_prompt_that_was_seen():
    index, prompt = PrefixIndex(), bytes(1100)
    rungs = ladder("m", prompt)
    index.record(rungs, "a")
    index.record(rungs[:2], "b")
    assert scores("prefix-cache-scorer", [Load()] * 3, prefix=rungs, index=index) == [1.0, 0.5, 0.0]
    assert scores("prefix-cache-scorer", [Load()] * 3, prefix=(), index=index) == [0.0, 0.0, 0.0]


def test_a_prefix_draws_nothing_to_a_queue_that_is_five_longer_than_six_times_the_shortest():
    index, rungs = PrefixIndex(), ladder("m", bytes(1100))
    index.record(rungs, "a")
    assert scores("prefix-cache-scorer", waiting(4, 0), prefix=rungs, index=index) == [1.0, 0.0]
    assert scores("prefix-cache-scorer", waiting(5, 0), prefix=rungs, index=index) == [0.0, 0.0]
    assert scores("prefix-cache-scorer", waiting(16, 2), prefix=rungs, index=index) == [1.0, 0.0]
    assert scores("prefix-cache-scorer", waiting(17, 2), prefix=rungs, index=index) == [0.0, 0.0]
    assert scores("prefix-cache-scorer", waiting(0, 0), sent=(5, 0), prefix=rungs, index=index) == [0.0, 0.0]


def test_where_every_kv_cache_is_half_full_a_prefix_draws_further():
    index, rungs = PrefixIndex(), ladder("m", bytes(1100))
    index.record(rungs, "a")

    def seen(depth, *usages):
        loads = [Load(waiting=depth * (not at), running=0, kv_usage=usage) for at, usage in enumerate(usages)]
        return scores("prefix-cache-scorer", loads, prefix=rungs, index=index)[0]

    assert [seen(depth, 0.5, 0.5) for depth in (5, 29, 30)] == [1.0, 1.0, 0.0]
    assert seen(5, 0.9, 0.4) == 0.0  # a copy has room at the second
    assert seen(5, 0.9, None) == 0.0  # and where nobody knows
    assert [seen(depth, 0.4, 0.9) for depth in (5, 29, 30)] == [1.0, 1.0, 0.0]  # no room but where it is
    assert seen(5, 0.4, 0.4) == 0.0


COUNT = st.one_of(st.none(), st.integers(0, 1000))
LOADS = st.builds(
    Load,
    waiting=COUNT,
    running=COUNT,
    kv_usage=st.one_of(st.none(), st.floats(0, 1)),
    adapters_running=st.frozensets(st.sampled_from("xyz")),
    adapters_waiting=st.frozensets(st.sampled_from("xyz")),
    max_adapters=st.one_of(st.none(), st.integers(0, 3)),
    models=st.sampled_from([None, served("m", "m/x"), served("x")]),
)


@given(
    st.lists(LOADS, min_size=1, max_size=8), st.lists(st.integers(0, 50), max_size=8), st.sampled_from(["m", "x", ""])
)
@pytest.mark.parametrize("scorer", SCORERS)
def test_every_score_is_between_0_and_1_and_there_is_one_for_each_candidate(scorer, loads, sent, model):
    found = scores(scorer, loads, model=model, sent=sent)
    assert len(found) == len(loads)
    assert all(0.0 <= score <= 1.0 and math.isfinite(score) for score in found)
