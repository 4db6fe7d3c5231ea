"""What another policy would have decided, from what a decision remembers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import served, standing

from headgate.api.picker import Picking, Plugin
from headgate.exchange.record import Record
from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.configure import configure
from headgate.pick.decision import Ask
from headgate.pick.draws import at_random
from headgate.pick.filters import Sieve
from headgate.pick.hold import hold
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.published import PROFILES
from headgate.pick.room import Room
from headgate.pick.standing import Standing
from headgate.pick.trail import explain
from headgate.pick.what_if import what_if
from headgate.runtime.memory import Packer

QUEUE = Profile("queue", (("queue-scorer", 1.0),))
PREFIX = Profile("prefix", (("prefix-cache-scorer", 1.0),))
LORA = Profile("lora", (("lora-affinity-scorer", 1.0),))
PROMPT = bytes(range(256)) * 40


def supposed(decision, ask, profile, die=0.0, **more):
    return what_if(decision, ask, profile, lambda: die, **more)


LOADS = st.builds(
    Load,
    st.none() | st.integers(0, 40),
    st.none() | st.integers(0, 40),
    st.none() | st.floats(0, 1),
    max_adapters=st.integers(1, 4),
    models=st.just(served("base", "base/food")),
    adapters_running=st.frozensets(st.sampled_from(["food", "drink", "law"])),
)


@given(
    st.lists(st.tuples(LOADS, st.integers(0, 60), st.integers(0, len(PROMPT))), min_size=2, max_size=30),
    st.sampled_from(["food", "base"]),
    st.floats(0, 0.99),
)
def test_it_is_what_the_policy_decides_at_that_moment(pool, model, die):
    """However long ago, and packed or not."""
    names = [f"ns/{place:02}" for place in range(len(pool))]
    ledger, index = Ledger(), PrefixIndex()
    for name, (_, count, known) in zip(names, pool, strict=True):
        ledger.counts[name] = count
        index.record(ladder(model, PROMPT[:known]), name)
    ask = Ask(model, ladder(model, PROMPT), len(PROMPT))
    moment = standing(dict(zip(names, [load for load, _, _ in pool], strict=True)), ledger=ledger, index=index)
    live = choose(ask, moment, DEFAULT, lambda: die)
    record = Record(ask=ask, decisions=(live,))
    Packer().pack(record)
    others = (PROFILES["inference-extension-default"], PREFIX, QUEUE, LORA, DEFAULT)
    expected = [choose(ask, moment, other, lambda: die) for other in others]
    for name in names:
        index.record(ask.prefix, name)
        ledger.take(name)
    for other, then in zip(others, expected, strict=True):
        assert record.ask is not None
        now = supposed(record.decisions[0], record.ask, other, die)
        assert now.decision is not None
        assert now.unknown == ()
        assert now.decision.totals == pytest.approx(then.totals)
        if then.tied == 1:
            assert now.decision.endpoint == then.endpoint
        elif live.endpoint in [e for e, t in zip(then.candidates, then.totals, strict=True) if t == max(then.totals)]:
            assert now.difference is not None
            assert now.difference.same


def test_the_prefix_is_remembered_where_its_score_had_given_way_to_a_queue():
    index, ask = PrefixIndex(), Ask("m", ladder("m", PROMPT), len(PROMPT))
    index.record(ladder("m", PROMPT[:1024]), "a")
    live = choose(ask, standing({"a": Load(50), "b": Load(0)}, index=index), DEFAULT, lambda: 0.0)
    assert live.endpoint is not None
    assert live.endpoint.name == "b"
    any_queue = PROFILES["inference-extension-default"]
    now = supposed(live, ask, any_queue).decision
    assert now is not None
    scores = next(term.scores for term in now.terms if term.scorer == "prefix-cache-scorer")
    assert list(scores) == [1024 / ask.prefix[-1][0], 0.0]


def test_how_long_a_match_is_counts_too():
    index, ask = PrefixIndex(), Ask("m", ladder("m", PROMPT), len(PROMPT))
    index.record(ladder("m", PROMPT[:4096]), "b")
    moment = standing({"a": Load(0), "b": Load(0)}, index=index)
    long = Plugin("prefix-cache-scorer", parameters={"matchLengthWeight": 1.0, "matchLengthScaleTokens": 4096})
    profile = configure(Picking(scorers=(long,)))
    now = supposed(choose(ask, moment, DEFAULT, lambda: 0.0), ask, profile).decision
    assert now is not None
    assert now.totals == choose(ask, moment, profile, lambda: 0.0).totals


def test_prefixes_that_nobody_looked_at_are_called_unknown():
    index, ask = PrefixIndex(), Ask("m", ladder("m", PROMPT), len(PROMPT))
    index.record(ask.prefix, "b")
    live = choose(ask, standing({"a": Load(0), "b": Load(3)}, index=index), QUEUE, lambda: 0.0)
    now = supposed(live, ask, DEFAULT)
    assert [text.partition(":")[0] for text in now.unknown] == ["which part of the prompt each endpoint had seen"]
    assert supposed(live, ask, LORA).unknown == ()
    short = Ask("m")
    live = choose(short, standing({"a": Load(0), "b": Load(3)}), QUEUE, lambda: 0.0)
    assert supposed(live, short, DEFAULT).unknown == ()


def test_who_was_removed_by_the_live_policy_is_left_out_and_named():
    sifted = Profile("sifted", QUEUE.scorers, sieves=(Sieve("mine", lambda ask, e, load, count: e.name != "a"),))
    live = choose(Ask("m"), standing({"a": Load(0), "b": Load(9), "c": Load(4)}), sifted, lambda: 0.0)
    now = supposed(live, Ask("m"), QUEUE)
    assert now.unknown == ("how those were that mine of sifted had removed (a), so left out here",)
    assert now.decision is not None
    assert [one["endpoint"] for one in explain(now.decision)["candidates"]] == ["c", "b"]


def test_who_can_not_serve_at_all_is_left_out_without_a_word():
    ask = Ask("m", exclude=frozenset({"b"}))
    live = choose(ask, standing({"a": Load(0), "b": Load(9), "c": Load(4)}, a={"ready": False}), QUEUE, lambda: 0.0)
    assert supposed(live, Ask("m"), DEFAULT).unknown == ()


def test_another_policys_filters_are_asked():
    ledger = Ledger()
    for name in "abc":
        ledger.take(name)
    live = choose(Ask("m"), standing({"a": Load(0), "b": Load(9), "c": Load(4)}, ledger=ledger), QUEUE, lambda: 0.0)
    only = configure(Picking(filters=(Plugin("utilization-filter", parameters={"conditions": [CAP]}),)))
    now = supposed(live, Ask("m"), only)
    assert now.decision is not None
    assert (now.decision.endpoint, now.decision.emptied) == (None, "utilization-filter")


CAP = {"metric": "active-requests", "maxValue": 0}


def test_adapters_of_many_are_known_by_what_was_scored_by_them():
    loads = {f"ns/{place:02}": Load(0, models=served("base", "base/food")) for place in range(20)}
    loads["ns/07"] = Load(0, models=served("base", "base/food"), adapters_running=frozenset({"food"}), max_adapters=1)
    live = choose(Ask("food"), standing(loads), DEFAULT, lambda: 0.0)
    bare = choose(Ask("food"), standing(loads), QUEUE, lambda: 0.0)
    record = Record(ask=Ask("food"), decisions=(live, bare))
    Packer().pack(record)
    now = supposed(record.decisions[0], Ask("food"), LORA)
    assert now.unknown == ()
    assert now.decision is not None
    assert now.decision.endpoint is not None
    assert now.decision.endpoint.name == "ns/07"
    assert supposed(record.decisions[1], Ask("food"), LORA).unknown == (
        "which adapters each endpoint had: nobody counts as having any",
    )


def test_a_session_is_no_question_of_policy_and_nobody_is_nobody_under_any():
    moment = standing({"a": Load(0), "b": Load(9)})
    held = hold(Ask("m"), moment, DEFAULT, "b")
    assert held is not None
    assert supposed(held, Ask("m"), QUEUE).decision is None
    nobody = choose(Ask("m"), standing({}), DEFAULT, lambda: 0.0)
    assert supposed(nobody, Ask("m"), QUEUE).unknown == (
        "nobody was left to choose from (pool ns/pool has no endpoints), and of nobody anything is kept",
    )


def test_the_only_candidate_is_that_under_any_policy():
    live = choose(Ask("m"), standing({"a": Load(0)}), DEFAULT, lambda: 0.0)
    now = supposed(live, Ask("m"), QUEUE)
    assert now.difference is not None
    assert (now.difference.same, now.unknown) == (True, ())


def test_a_draw_is_called_one():
    live = choose(Ask("m"), standing({"a": Load(0), "b": Load(9)}), DEFAULT, lambda: 0.0)
    now = supposed(live, Ask("m"), Profile("any", (), draw=at_random), die=0.9)
    assert now.decision is not None
    assert now.decision.endpoint is not None
    assert (now.decision.endpoint.name, now.unknown) == ("b", ("any draws: another time chance may draw another one",))


def test_who_had_no_room_has_none():
    ledger = Ledger()
    ledger.counts["a"] = 2
    room = Room(endpoint=2)
    moment = standing({"a": Load(0), "b": Load(9)}, ledger=ledger)
    moment = Standing("ns/pool", moment.endpoints, {"b": Load(9)}, ledger, PrefixIndex(), room=room)
    live = choose(Ask("m"), moment, DEFAULT, lambda: 0.0)
    now = supposed(live, Ask("m"), QUEUE, room=room)
    assert now.decision is not None
    assert now.decision.endpoint is not None
    assert now.decision.endpoint.name == "b"


def test_a_policy_that_predicts_goes_by_what_is_known_of_latencies_and_says_so():
    predicting = PROFILES["predicted-latency"]
    moment = standing({"a": Load(0, 0, 0.1), "b": Load(9, 9, 0.9)})
    blind = supposed(choose(Ask("m"), moment, QUEUE, lambda: 0.0), Ask("m"), predicting)
    assert blind.unknown == ("what predicted-latency would have known of latencies: nothing is known of them",)
    foreseen = choose(Ask("m"), standing({"a": Load(0, 0, 0.1), "b": Load(9, 9, 0.9)}), predicting, lambda: 0.0)
    told = supposed(foreseen, Ask("m"), predicting)
    assert told.unknown == (
        "what predicted-latency would have known of latencies: they are those that are known by now",
    )
    assert told.decision is not None
    assert told.decision.totals == foreseen.totals
