"""What predictions are made of, and what a decision tells of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import endpoint, served

from headgate.exchange.record import Record
from headgate.fleet.endpoint import Load
from headgate.fleet.latency import ENOUGH, Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.expectation import expect
from headgate.pick.published import PROFILES
from headgate.pick.standing import Standing
from headgate.pick.trail import explain, render
from headgate.runtime.memory import Packer

PREDICTED = PROFILES["predicted-latency"]


def known(**weights):
    """Latencies as if learned; by feature of TTFT."""
    latency = Latency()
    names = ("one", "left", "ahead", "running", "waiting", "full", "cold")
    latency.ttft.weights = tuple(weights.get(name, 0.0) for name in names)
    latency.tpot.weights = (0.01, 0.001, 0.02, 0.0)
    for model in (latency.ttft, latency.tpot):
        model.observations, model.error = ENOUGH, 0.1
    return latency


def standing(loads, latency, index=None, sent=()):
    ledger = Ledger()
    ledger.counts.update(sent)
    endpoints = [endpoint(name) for name in loads]
    return Standing("p", endpoints, loads, ledger, index or PrefixIndex(), latency=latency)


def ttft(decision):
    return [round(one, 6) for one in decision.forecast.ttft]


LOADS = {name: Load(waiting=0, running=4, kv_usage=0.5, at=0.0) for name in "ab"}


def test_tokens_that_are_cached_there_are_not_left_to_prefill():
    index, text = PrefixIndex(), bytes(4096)
    index.record(ladder("m", text[:2048]), "b")
    ask = Ask("m", ladder("m", text), 5000)
    decision = choose(ask, standing(LOADS, known(left=0.001), index), PREDICTED, lambda: 0.0)
    matched = max(length for length, _ in ladder("m", text[:2048])) / 4
    assert ttft(decision) == [1.25, round(1.25 - matched / 1000, 6)]
    assert decision.endpoint.name == "b"


def test_what_was_sent_and_has_no_token_yet_is_in_the_way():
    latency = known(ahead=0.001)
    there = standing(LOADS, latency)
    ask = Ask("m", prompt_bytes=4000)
    first = choose(ask, there, PREDICTED, lambda: 0.0)
    waiting = expect(first, ask)
    assert waiting.columns[:2] == (1000.0, 0.0)
    second = choose(ask, there, PREDICTED, lambda: 0.0)
    by_name = dict(zip([one.name for one in second.candidates], ttft(second), strict=True))
    assert by_name[first.endpoint.name] == 1.0
    assert second.endpoint is not first.endpoint
    waiting.drop()
    assert ttft(choose(ask, there, PREDICTED, lambda: 0.0)) == [0.0, 0.0]


def test_loads_count_as_they_were_and_with_what_was_sent_since():
    loads = {
        "a": Load(waiting=2, running=4, kv_usage=0.5, at=0.0),
        "b": Load(waiting=2, running=4, kv_usage=0.9, at=0.0),
        "c": Load(at=0.0),
    }
    latency = known(one=0.01, running=0.1, waiting=1.0, full=10.0)
    decision = choose(Ask("m"), standing(loads, latency, sent={"a": 9}), PREDICTED, lambda: 0.0)
    # a has three more than it reported; b's cache is full by half of what is beyond 80 %.
    assert ttft(decision) == [0.01 + 0.4 + 5.0, 0.01 + 0.4 + 2.0 + 10.0, 0.01]
    assert decision.forecast.tpot == pytest.approx([0.01 + 0.009 + 0.01, 0.01 + 0.006 + 0.018, 0.01])


def test_an_adapter_that_has_to_be_loaded_takes_its_time():
    serves = served("base", "base/x")

    def load(active, slots=2):
        return Load(0, 4, 0.5, frozenset(active), frozenset(active), slots, models=serves, at=0.0)

    loads = {"a": load({"x"}), "b": load({"y"}), "c": load({"y", "z"}), "d": load({"x", "y", "z"})}
    decision = choose(Ask("x"), standing(loads, known(cold=1.0)), PREDICTED, lambda: 0.0)
    assert ttft(decision) == [0.0, 0.2, 1.0, 0.5]  # d has one adapter more than slots
    decision = choose(Ask("base"), standing(loads, known(cold=1.0)), PREDICTED, lambda: 0.0)
    assert ttft(decision) == [0.0, 0.0, 0.0, 0.0]


def test_one_candidate_is_predicted_too():
    decision = choose(
        Ask("m", prompt_bytes=400), standing({"a": LOADS["a"]}, known(left=0.001)), PREDICTED, lambda: 0.0
    )
    assert ttft(decision) == [0.1]
    assert explain(decision)["why"] == "the only candidate"
    assert "the only candidate" in render(decision)
    assert choose(Ask("m"), standing({}, known()), PREDICTED, lambda: 0.0).endpoint is None


def test_other_profiles_predict_nothing():
    decision = choose(Ask("m"), standing(LOADS, None), PROFILES["default"], lambda: 0.0)
    assert decision.forecast is None
    assert expect(decision, Ask("m")) is None
    assert "predicted" not in explain(decision)["candidates"][0]
    assert "TTFT" not in render(decision)


def test_a_decision_tells_what_was_predicted():
    loads = {name: Load(waiting=n, running=4, kv_usage=0.5, at=0.0) for n, name in enumerate("ab")}
    ask = Ask("m", ttft_slo=0.5, tpot_slo=0.02)
    decision = choose(ask, standing(loads, known(one=0.1, waiting=1.0)), PREDICTED, lambda: 0.0)
    first, second = explain(decision)["candidates"]
    assert first["predicted"] == {
        "sure": True,
        "ttft_ms": pytest.approx(100.0),
        "tpot_ms": pytest.approx(24.0),
        "ttft_headroom_ms": pytest.approx(400.0),
        "tpot_headroom_ms": pytest.approx(-4.0),
    }
    assert second["predicted"]["ttft_headroom_ms"] == pytest.approx(-600.0)
    text = render(decision)
    assert "in flight  TTFT ms  headroom  TPOT ms  headroom" in text
    assert "1,100" in text
    assert "does not count" not in text
    unsure = choose(ask, standing(loads, Latency()), PREDICTED, lambda: 0.0)
    assert "what is predicted does not count" in render(unsure)
    assert explain(unsure)["candidates"][0]["predicted"]["tpot_ms"] is None


def test_a_packed_decision_tells_the_same():
    loads = {chr(97 + n): Load(waiting=n, running=4, kv_usage=0.5, at=0.0) for n in range(20)}
    ask = Ask("m", prompt_bytes=800, ttft_slo=0.5)
    decision = choose(ask, standing(loads, known(one=0.1, waiting=1.0)), PREDICTED, lambda: 0.0)
    record = Record(decisions=(decision,))
    Packer().pack(record)
    (packed,) = record.decisions
    assert packed is not decision
    assert packed.forecast.inputs == ()
    assert explain(packed) == explain(decision)
    assert render(packed) == render(decision)


loads = st.builds(
    Load,
    waiting=st.none() | st.integers(0, 200),
    running=st.none() | st.integers(0, 200),
    kv_usage=st.none() | st.floats(0, 1),
    at=st.just(0.0),
)
weights = st.lists(st.floats(0, 10), min_size=7, max_size=7).map(tuple)


@given(st.lists(loads, min_size=1, max_size=6), weights, st.floats(0, 5), st.floats(0, 1), st.randoms())
def test_nothing_negative_is_predicted_and_the_order_of_endpoints_does_not_matter(each, learned, slo, tpot, chance):
    named = dict(zip("abcdef", each, strict=False))
    latency = known()
    latency.ttft.weights = learned
    ask = Ask("m", prompt_bytes=400, ttft_slo=slo, tpot_slo=tpot)
    decision = choose(ask, standing(named, latency), PREDICTED, lambda: 0.0)
    assert min(decision.forecast.ttft) >= 0.0
    assert min(decision.forecast.tpot) >= 0.0
    assert all(0.0 <= score <= 1.0 for term in decision.terms for score in term.scores)
    mixed = list(named.items())
    chance.shuffle(mixed)
    other = choose(ask, standing(dict(mixed), latency), PREDICTED, lambda: 0.0)

    for values in ("totals", "forecast.ttft"):
        first, second = (
            {e.name: v for e, v in zip(one.candidates, _of(one, values), strict=True)} for one in (decision, other)
        )
        assert first == pytest.approx(second)


def _of(decision, path):
    return decision.totals if path == "totals" else decision.forecast.ttft
