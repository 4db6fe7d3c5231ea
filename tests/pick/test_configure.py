"""Each plugin that an EndpointPickerConfig may name, with its parameters: its arithmetic, by the published tables."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from configured import FRESH, left, pool, profile, scores
from pools import endpoint

from headgate.api.written.plugins import KNOWN
from headgate.api.written.unsupported import UNSUPPORTED
from headgate.fleet.endpoint import Load
from headgate.fleet.held_blocks import HeldBlocks
from headgate.fleet.kv_events import Stored
from headgate.fleet.latency import ENOUGH, Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.admit import admit
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.saturation import saturation
from headgate.pick.standing import Standing
from headgate.pick.trail import explain, render

PICKING = Path(__file__).parents[2] / "docs" / "picking.md"


# Scorers.


def test_without_parameters_scorers_are_the_ones_that_profiles_name():
    loads = [Load(waiting=n, running=2 * n, kv_usage=n / 10) for n in (0, 5, 10)]
    assert scores("{type: queue-scorer}", loads) == [1.0, 0.5, 0.0]
    assert scores("{type: kv-cache-utilization-scorer}", loads) == [1.0, 0.5, 0.0]
    assert scores("{type: running-requests-size-scorer}", loads) == [1.0, 0.5, 0.0]
    assert scores("{type: active-request-scorer}", loads, sent=(0, 1, 4)) == [1.0, 0.75, 0.0]
    slots = [Load(max_adapters=1, adapters_running=frozenset({name})) for name in ("m", "other")]
    assert scores("{type: lora-affinity-scorer}", slots) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("threshold", "expected"), [("", [0.5, 0.375, 0.0, 0.0]), ("parameters: {threshold: 64}", [0.5, 0.25, 0.0, 0.0])]
)
def test_the_load_aware_scorer_gives_half_to_who_has_nobody_waiting(threshold, expected):
    loads = [Load(waiting=n, running=0) for n in (0, 32, 128, 500)]
    assert scores(f"{{type: load-aware-scorer, {threshold}}}", loads) == expected


def test_the_active_request_scorer_takes_a_threshold_and_a_most():
    given = "{type: active-request-scorer, parameters: {idleThreshold: 1, maxBusyScore: 0.5}}"
    assert scores(given, [Load()] * 4, sent=(0, 1, 2, 4)) == [1.0, 1.0, 0.25, 0.0]
    assert scores(given, [Load()] * 2, sent=(0, 0)) == [1.0, 1.0]


def test_the_prefix_scorer_weighs_how_long_the_match_is():
    index, prompt = PrefixIndex(), b"x" * 4096
    rungs = ladder("m", prompt)
    index.record(tuple(rung for rung in rungs if rung[0] <= 1024), "b")
    whole = rungs[-1][0]
    ask, loads = Ask("m", rungs, len(prompt)), [Load(waiting=0, running=0)] * 2
    share = 1024 / whole
    assert scores("{type: prefix-cache-scorer}", loads, ask, index=index) == [0.0, round(share, 6)]
    given = "{type: prefix-cache-scorer, parameters: {matchLengthWeight: 0.25, matchLengthScaleTokens: 512}}"
    # 1,024 bytes are 256 tokens: half of the scale.
    expected = round(0.25 * 0.5**2 + 0.75 * share, 6)
    assert scores(given, loads, ask, index=index) == [0.0, expected]
    short = "{type: prefix-cache-scorer, parameters: {matchLengthWeight: 1.0, matchLengthScaleTokens: 16}}"
    assert scores(short, loads, ask, index=index) == [0.0, 1.0]


_PRODUCER = "{type: precise-prefix-cache-producer, name: events}"


@pytest.mark.parametrize(
    ("plugins", "precise"),
    [
        ("{type: precise-prefix-cache-scorer}", True),
        (f"{_PRODUCER}\n{{type: precise-prefix-cache-scorer}}", True),
        (f"{_PRODUCER}\n{{type: prefix-cache-scorer, parameters: {{prefixMatchInfoProducerName: events}}}}", True),
        (f"{_PRODUCER}\n{{type: prefix-cache-scorer}}", False),
        ("{type: prefix-cache-scorer}", False),
    ],
)
def test_the_precise_scorer_goes_by_what_is_held_not_by_what_was_sent(plugins, precise):
    index, prompt = PrefixIndex(), bytes(4096)
    held = index.held = HeldBlocks()
    rungs = ladder("m", prompt)
    index.record(rungs, "a")
    for name in "ab":
        held.follow(name, whole=True)
    held.learn(rungs, len(prompt), [0] * 1024, "", 16)
    held.take("b", [Stored(list(range(1, 33)), None, [0] * 512, 16)])
    share = max(length for length, _ in rungs if length <= 2048) / rungs[-1][0]
    found = scores(plugins, [Load(waiting=0, running=0)] * 2, Ask("m", rungs, len(prompt)), index=index)
    assert found == ([0.0, round(share, 6)] if precise else [1.0, 0.0])
    if precise:  # what nobody tells of goes by what was sent
        held.forget("a")
        assert scores(plugins, [Load()] * 2, Ask("m", rungs, len(prompt)), index=index) == [1.0, round(share, 6)]
        index.held = None
        assert scores(plugins, [Load()] * 2, Ask("m", rungs, len(prompt)), index=index) == [1.0, 0.0]


def test_the_precise_scorer_gives_way_where_the_queue_is_too_long():
    index, prompt = PrefixIndex(), bytes(1100)
    held = index.held = HeldBlocks()
    rungs = ladder("m", prompt)
    held.follow("b", whole=True)
    held.learn(rungs, len(prompt), [0] * 275, "", 16)
    held.take("b", [Stored(list(range(1, 18)), None, [0] * 272, 16)])
    loads = [Load(waiting=0, running=0, kv_usage=0.0), Load(waiting=5, running=0, kv_usage=0.0)]
    asked = Ask("m", rungs, len(prompt))
    assert scores("{type: precise-prefix-cache-scorer}", loads, asked, index=index) == [0.0, 0.0]
    loads[1] = Load(waiting=4, running=0, kv_usage=0.0)
    assert scores("{type: precise-prefix-cache-scorer}", loads, asked, index=index) == [0.0, 1.0]


def test_the_context_length_scorer_prefers_the_range_that_fits():
    label = "llm-d.ai/context-length-range"
    labels = [{label: "0-2000"}, {label: "0-10000"}, {label: "5000-9000"}, {}, {label: "all"}, {label: "1000-1000"}]
    ask = Ask("m", prompt_bytes=4000)  # 1,000 tokens
    found = scores("{type: context-length-aware}", [FRESH] * 6, ask, labels=labels)
    assert found == [
        round(0.3 + 0.7 * (0.7 / 1.2 + 0.3 * 0.5), 6),
        round(0.3 + 0.7 * (0.7 / 2.0 + 0.3 * 0.9), 6),
        round(0.3 / (1 + 4.0), 6),
        0.5,
        0.0,
        1.0,
    ]
    own = "{type: context-length-aware, parameters: {label: ctx}}"
    assert scores(own, [FRESH] * 2, ask, labels=[{"ctx": "0-2000"}, {label: "0-2000"}])[1] == 0.5


# Filters.


def test_roles_are_told_by_their_label():
    roles = ["decode", "prefill", "encode", "prefill-decode", "encode-prefill", "encode-prefill-decode", "both"]
    labels = [*({"llm-d.ai/role": role} for role in roles), {}]
    assert left("{type: decode-filter}", labels=labels) == "adfgh"
    assert left("{type: prefill-filter}", labels=labels) == "bdefg"
    assert left("{type: encode-filter}", labels=labels) == "cef"


def test_label_selectors_select_as_in_kubernetes():
    labels = [{"gpu": "h100", "zone": "a"}, {"gpu": "a100"}, {"zone": "a"}]
    written = {
        "matchLabels: {zone: a}": "ac",
        "matchExpressions: [{key: gpu, operator: In, values: [h100, l4]}]": "a",
        "matchExpressions: [{key: gpu, operator: NotIn, values: [h100]}]": "bc",
        "matchExpressions: [{key: gpu, operator: Exists}]": "ab",
        "matchExpressions: [{key: gpu, operator: DoesNotExist}]": "c",
        "matchLabels: {zone: a}, matchExpressions: [{key: gpu, operator: Exists}]": "a",
    }
    for kind in ("label-selector-filter", "by-label-selector"):
        for given, expected in written.items():
            assert left(f"{{type: {kind}, parameters: {{{given}}}}}", labels=labels) == expected, given


def test_by_label_lets_in_values_and_if_it_may_who_has_none():
    labels = [{"gpu": "h100"}, {"gpu": "l4"}, {}]
    assert left("{type: by-label, parameters: {label: gpu, validValues: [h100]}}", labels=labels) == "a"
    given = "{type: by-label, parameters: {label: gpu, validValues: [l4], allowsNoLabel: true}}"
    assert left(given, labels=labels) == "bc"


def test_the_context_length_filter_is_one_only_when_it_is_told_so():
    labels = [{"llm-d.ai/context-length-range": "0-500"}, {"llm-d.ai/context-length-range": "500-4000"}, {}]
    ask = Ask("m", prompt_bytes=4000)
    assert left("{type: context-length-aware}", labels=labels, ask=ask) == "abc"
    given = "{type: context-length-aware, parameters: {enableFiltering: true}}"
    assert left(given, labels=labels, ask=ask) == "bc"
    assert left(given, labels=labels, ask=Ask("m", prompt_bytes=40)) == "ac"


def test_the_utilization_filter_caps_what_is_reported_and_what_is_under_way():
    loads = [Load(waiting=n, running=10 * n, kv_usage=n / 10, at=0.0) for n in (0, 1, 2)]
    caps = "{{type: utilization-filter, parameters: {{conditions: [{{metric: {}, maxValue: {}}}]{}}}}}"
    assert left(caps.format("waiting-queue", 1, ""), loads) == "ab"
    assert left(caps.format("running-requests", 0, ""), loads) == "a"
    assert left(caps.format("kv-cache-utilization", 0.1, ""), loads) == "ab"
    assert left(caps.format("active-requests", 2, ""), loads, sent=(3, 2, 0)) == "bc"
    assert left(caps.format("active-requests", 2, ""), [Load()], sent=(9,)) == ""
    assert left(caps.format("active-requests", 2, ", fallbackOnEmpty: true"), [Load()] * 2, sent=(9, 9)) == "ab"


def test_what_is_under_way_is_read_anew_for_each_request():
    chosen, ledger = (
        profile("{type: utilization-filter, parameters: {conditions: [{metric: active-requests, maxValue: 0}]}}"),
        Ledger(),
    )
    standing = Standing("p", [endpoint("a"), endpoint("b")], {}, ledger, PrefixIndex())
    for _ in range(2):
        name = choose(Ask("m"), standing, chosen, lambda: 0.0).endpoint.name
        ledger.take(name)
    assert (ledger.count("a"), ledger.count("b")) == (1, 1)
    assert choose(Ask("m"), standing, chosen, lambda: 0.0).emptied == "utilization-filter"


def test_detectors_filter_too_and_remove_nobody_where_all_are_full():
    loads = [Load(waiting=4, running=0, kv_usage=0.5, at=0.0), Load(waiting=6, running=0, kv_usage=0.5, at=0.0)]
    assert left("{type: utilization-detector}", loads) == "a"
    assert left("{type: utilization-detector, parameters: {headroom: 0.5}}", loads) == "ab"
    assert left("{type: utilization-detector, parameters: {kvCacheUtilThreshold: 0.4}}", loads) == "ab"
    assert left("{type: utilization-detector}", [Load(), loads[0]]) == "b"  # who has not reported is not let in
    given = "{type: concurrency-detector, parameters: {maxConcurrency: 2}}"
    assert left(given, [FRESH] * 3, sent=(1, 2, 3)) == "a"
    assert left(given, [FRESH] * 2, sent=(2, 3)) == "ab"


# Pickers.


def throws(plugins, loads, sent=()):
    dice, chosen, standing = Random(1).random, profile(plugins), pool(loads, sent=sent)
    return Counter(choose(Ask("m"), standing, chosen, dice).endpoint.name for _ in range(4000))


def test_pickers_take_the_best_any_or_each_by_its_weight():
    loads = [Load(kv_usage=usage) for usage in (0.0, 0.5, 1.0)]
    scorer = "{type: kv-cache-utilization-scorer}\n"
    assert throws(scorer, loads) == throws(scorer + "{type: max-score-picker}", loads) == {"a": 4000}
    evenly = throws(scorer + "{type: random-picker}", loads)
    assert all(1200 < evenly[name] < 1470 for name in "abc")
    weighted = throws(scorer + "{type: weighted-random-picker}", loads)
    assert 2550 < weighted["a"] < 2790
    assert weighted["a"] + weighted["b"] == 4000
    full = [Load(kv_usage=1.0)] * 2
    assert all(1850 < count < 2150 for count in throws(scorer + "{type: weighted-random-picker}", full).values())


def test_a_decision_that_was_drawn_says_so():
    drawn = profile("{type: kv-cache-utilization-scorer}\n{type: weighted-random-picker}")
    decision = choose(Ask("m"), pool([Load(kv_usage=0.25), Load(kv_usage=0.75)]), drawn, lambda: 0.9)
    assert (decision.endpoint.name, decision.why) == ("b", "drawn by weight: its share was 25%")
    assert decision.totals == (0.75, 0.25)


# Profiles.


def test_a_profile_uses_what_it_refers_to_with_its_weights_and_names():
    more = """schedulingProfiles:
- name: mine
  plugins:
  - {pluginRef: busy, weight: 2.5}
  - pluginRef: queue-scorer
"""
    one = profile("{type: queue-scorer}\n{type: load-aware-scorer, name: busy}\n{type: random-picker}", more)
    assert (one.name, one.scorers, one.draw) == ("mine", (("busy", 2.5), ("queue-scorer", 1.0)), None)
    decision = choose(Ask("m"), pool([Load(waiting=0), Load(waiting=64)]), one, lambda: 0.0)
    assert [(term.scorer, list(term.scores)) for term in decision.terms] == [
        ("busy", [0.5, 0.25]),
        ("queue-scorer", [1.0, 0.0]),
    ]


def test_without_profiles_everything_counts_and_without_scorers_chance():
    one = profile("{type: queue-scorer}\n{type: decode-filter}\n{type: single-profile-handler}\n{type: openai-parser}")
    assert (one.name, one.scorers, [sieve.name for sieve in one.sieves]) == (
        "default",
        (("queue-scorer", 1.0),),
        ["decode-filter"],
    )
    assert all(1850 < count < 2150 for count in throws("{type: decode-filter}", [FRESH] * 2).values())


def test_saturation_is_what_the_detector_says():
    loads = [Load(waiting=5, kv_usage=0.4, at=0.0), Load(waiting=0, kv_usage=0.0, at=0.0)]
    more = "saturationDetector: {pluginRef: utilization-detector}\n"
    plain = profile("{type: utilization-detector}", more)
    assert saturation(pool(loads), 1.0, plain.detector) == 0.5
    own = profile(
        "{type: utilization-detector, parameters: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.2, "
        "metricsStalenessThreshold: 500ms}}",
        more,
    )
    assert saturation(pool(loads), 0.4, own.detector) == 1.0  # 0.4 / 0.2 and 0
    assert saturation(pool(loads), 1.0, own.detector) == 1.0  # both are stale
    within = "flowControl: {saturationDetector: {pluginRef: concurrency-detector}}\n"
    counted = profile("{type: concurrency-detector, parameters: {maxConcurrency: 4}}", within)
    assert saturation(pool(loads, sent=(4, 2)), 1.0, counted.detector) == 0.75


# Functions of users.


def test_python_functions_score_and_filter():
    """What reads their files is the edge's: here are the functions."""
    plugins = (
        "{type: python, name: keep, module: ./m.py, parameters: {kind: filter}}\n{type: python, module: ./m.py}\n"
        "{type: queue-scorer}"
    )
    asked = {
        "keep": lambda ask, candidates: [one.kv_usage < 0.9 for one in candidates],
        "python": lambda ask, candidates: [one.kv_usage for one in candidates],
    }
    made = profile(plugins, functions=lambda plugin: asked[plugin.called])
    loads = [Load(0, 0, usage) for usage in (0.25, 0.75, 0.95)]
    decision = choose(Ask("m"), pool(loads), made, lambda: 0.0)
    assert decision.removed == {"keep": ("c",)}
    assert (decision.terms[0].scorer, list(decision.terms[0].scores)) == ("python", [0.25, 0.75])
    asked |= dict.fromkeys(asked, lambda ask, candidates: "it is ill")
    made = profile(plugins, functions=lambda plugin: asked[plugin.called])
    decision = choose(Ask("m"), pool(loads), made, lambda: 0.0)
    assert explain(decision)["skipped"] == {"keep": "it is ill", "python": "it is ill"}
    assert (len(decision.candidates), decision.totals) == (3, (1.0, 1.0, 1.0))


def test_module_and_function_may_stand_beside_the_type():
    found = {}
    profile("{type: python, module: ./m.py, function: best}", functions=lambda plugin: found.update(plugin.parameters))
    assert found == {"module": "./m.py", "function": "best"}


# Predicted latency.


def taught(ttft=(0.0, 0.001, 0.0, 0.0, 0.1, 0.0, 0.0), tpot=(0.0, 0.001, 0.0, 0.0)):
    """A pool's latencies as if learned: 1 ms for each token of a prompt and 0.1 s for each request that waits, then
    1 ms for each request there. `tpot` None: nothing is known of it.
    """
    latency = Latency()
    for model, weights in ((latency.ttft, ttft), (latency.tpot, tpot)):
        if weights is not None:
            model.weights, model.observations, model.error = weights, ENOUGH, 0.1
    return latency


def foretold(text, loads, ask, dice=lambda: 0.5, latency=None, sent=()):
    """The decision of a profile where latencies are known. By default a prompt takes 0.1 s."""
    standing = pool(loads, sent=sent)
    standing.latency = latency or taught()
    return choose(ask, standing, profile(text), dice)


def headroom(decision):
    (term,) = decision.terms
    return [round(score, 6) for score in term.scores]


def waits(*counts, running=10, kv_usage=0.5):
    return [Load(waiting=n, running=running, kv_usage=kv_usage, at=0.0) for n in counts]


def asks(ttft=0.0, tpot=0.0, priority=0):
    return Ask("m", prompt_bytes=400, ttft_slo=ttft, tpot_slo=tpot, priority=priority)


def test_the_latency_scorer_without_an_slo_prefers_who_is_soonest():
    scorer = "{type: latency-scorer, parameters: {tpotWeight: 0}}"
    sent = (10, 11, 14)
    # 0.1, 0.2 and 0.5 s: as deficits 0, a quarter and all of the range.
    assert headroom(foretold(scorer, waits(0, 1, 4), asks(), sent=sent)) == [1.0, 0.76, 0.01]
    most = "{type: latency-scorer, parameters: {tpotWeight: 0, headroomSelectionStrategy: most}}"
    assert headroom(foretold(most, waits(0, 1, 4), asks(), sent=sent)) == [1.0, 0.76, 0.01]
    # Who has none of our requests comes before all who have.
    assert headroom(foretold(scorer, waits(0, 1, 4), asks(), sent=(10, 11, 0))) == [0.0, 0.0, 0.51]


def test_the_latency_scorer_weighs_the_headroom_of_those_that_are_in_time():
    loads, sent = waits(0, 1, 3, 9), (10, 11, 13, 19)
    slo = asks(ttft=0.45)  # 0.35, 0.25 and 0.05 s are left, and at the last one it is 0.55 s too late
    scorer = "{type: latency-scorer}"
    assert headroom(foretold(scorer, loads, slo, sent=sent)) == [0.01, 0.34, 1.0, 0.0]
    most = "{type: latency-scorer, parameters: {headroomSelectionStrategy: most}}"
    assert headroom(foretold(most, loads, slo, sent=sent)) == [1.0, 0.67, 0.01, 0.0]
    # With TPOT, of 15 ms, there are 5, 4 and 2 ms left of that; another running request changes nothing but TPOT.
    loads[0] = Load(waiting=0, running=12, kv_usage=0.5, at=0.0)  # 3 ms left
    both, sent = asks(ttft=0.45, tpot=0.015), (12, 11, 13, 19)
    # Of TTFT 1, 2/3 and 0 of the range, of TPOT 1/2, 1 and 0: together 0.9, 0.733 and 0.
    assert headroom(foretold(most, loads, both, sent=sent)) == [0.91, 0.74, 0.01, 0.0]
    even = "{type: latency-scorer, parameters: {ttftWeight: 2, tpotWeight: 2, headroomSelectionStrategy: most}}"
    assert headroom(foretold(even, loads, both, sent=sent)) == [0.76, 0.84, 0.01, 0.0]


def test_where_nobody_is_in_time_the_latency_scorer_goes_by_how_bad_it_is():
    loads = waits(0, 2, 0, running=10)
    loads[2] = Load(waiting=0, running=30, kv_usage=0.5, at=0.0)
    # 0.1, 0.3, 0.1 s and 10, 12, 30 ms: the second misses TTFT alone, the third TPOT alone, which is the lesser evil.
    decision = foretold("{type: latency-scorer}", loads, asks(ttft=0.2, tpot=0.009), sent=(10, 12, 30))
    assert headroom(decision) == [1.0, 0.0, 0.01]
    decision = foretold("{type: latency-scorer}", loads, asks(ttft=0.05, tpot=0.011), sent=(10, 12, 30))
    assert headroom(decision) == [0.51, 0.0, 0.0]  # alone among those that miss one of the two


def test_the_latency_scorer_goes_by_loads_while_nothing_is_known():
    loads = [Load(waiting=n, running=1, kv_usage=use, at=0.0) for n, use in ((0, 0.9), (2, 0.5), (4, 0.1))]
    text = bytes(4096)
    index = PrefixIndex()
    index.record(ladder("m", text), "c")
    ask = Ask("m", ladder("m", text), 4096)
    assert scores("{type: latency-scorer}", loads, ask, index=index) == [0.37, 0.33, 0.63]
    only = (
        "{type: latency-scorer, parameters: {compositeKVWeight: 0, compositeQueueWeight: 3, compositePrefixWeight: 1}}"
    )
    assert scores(only, loads, ask, index=index) == [0.75, 0.38, 0.25]
    none = (
        "{type: latency-scorer, parameters: {compositeKVWeight: 0, compositeQueueWeight: 0, compositePrefixWeight: 0}}"
    )
    assert scores(none, loads, ask, index=index) == [0.1, 0.5, 0.9]
    unsure = taught()
    unsure.ttft.error = 0.9
    told = foretold("{type: latency-scorer}", loads, asks(ttft=0.3), latency=unsure)
    assert headroom(told) == [0.37, 0.33, 0.3]
    assert told.forecast is not None
    assert not told.forecast.sure


TIERED = """{type: slo-headroom-tier-filter, parameters: {epsilonExploreNeg: 0.25}}
{type: queue-scorer}"""


def test_the_headroom_tier_filter_leaves_those_that_are_in_time_and_now_and_then_the_others():
    loads = waits(0, 1, 2, 9)

    def left_of(dice, ask=None, latency=None):
        decision = foretold(TIERED, loads, ask or asks(ttft=0.35), lambda: dice, latency, sent=(10, 11, 12, 19))
        return "".join(one.name for one in decision.candidates), dict(decision.removed)

    assert left_of(0.25) == ("abc", {"slo-headroom-tier-filter": ("d",)})
    assert left_of(0.24) == ("d", {"slo-headroom-tier-filter": ("a", "b", "c")})
    assert left_of(0.9, asks(ttft=5.0)) == ("abcd", {})
    assert left_of(0.9, asks(ttft=0.01)) == ("abcd", {})
    assert left_of(0.9, asks()) == ("abcd", {})  # nobody asks for anything: all are alike
    assert left_of(0.9, asks(tpot=0.0105))[0] == "a"  # 10, 11, 12 and 19 ms
    assert left_of(0.9, latency=Latency()) == ("abcd", {})
    # What is left is scored by itself: the longest queue of three is 2.
    decision = foretold(TIERED, loads, asks(ttft=0.35), lambda: 0.9, sent=(10, 11, 12, 19))
    assert decision.totals == (1.0, 0.5, 0.0)
    assert decision.forecast is not None
    assert [round(one, 3) for one in decision.forecast.ttft] == [0.1, 0.2, 0.3]


ADMITTED = """{type: latency-slo-admitter}
{type: queue-scorer}"""


def test_the_admitter_lets_in_what_may_be_shed_where_somebody_is_in_time():
    loads, sent = waits(3, 4), (13, 14)  # 0.4 and 0.5 s, 13 and 14 ms

    def refusal(ask, loads=loads, latency=None, sent=sent):
        standing = pool(loads, sent=sent)
        standing.latency = latency or taught()
        return admit(ask, standing, profile(ADMITTED), lambda: 0.5)

    def admitted(ask, loads=loads, latency=None):
        return refusal(ask, loads, latency) is None

    assert admitted(asks(ttft=0.45, priority=-1))
    assert not admitted(asks(ttft=0.35, priority=-1))
    assert admitted(asks(ttft=0.35, priority=0))
    assert admitted(asks(priority=-1))
    assert not admitted(asks(ttft=0.45, tpot=0.012, priority=-1))
    assert not admitted(asks(tpot=0.012, priority=-1))
    assert admitted(asks(ttft=0.45, tpot=0.0135, priority=-1))
    assert admitted(asks(ttft=0.35, priority=-1), latency=Latency())
    assert admitted(asks(ttft=0.01, priority=-1), loads=[loads[0], Load(waiting=4, running=0, kv_usage=0.5, at=0.0)])
    assert admitted(asks(ttft=0.01, priority=-1), loads=[loads[0], Load(waiting=4, running=9, kv_usage=0.01, at=0.0)])
    refused = refusal(asks(ttft=0.35, tpot=0.5, priority=-2))
    assert refused.emptied == "latency-slo-admitter"
    assert refused.why == (
        "not admitted by latency-slo-admitter: "
        "no endpoint is predicted to give the first token within 350 ms and each further one within 500 ms, "
        "and the request's priority (-2) is below 0"
    )
    assert refusal(asks(ttft=0.35, priority=-1), loads[:1], sent=sent[:1]) is not None
    assert "because   not admitted by latency-slo-admitter: no endpoint is predicted" in render(refused)


def test_all_admitters_have_to_agree_in_the_order_that_is_written():
    both = """{type: probabilistic-admitter, name: half, parameters: {power: 1, k: 1}}
{type: latency-slo-admitter}
{type: probabilistic-admitter, parameters: {power: 1, k: 1}}
{type: queue-scorer}"""
    standing = pool([Load(waiting=2, running=9, kv_usage=0.4, at=0.0)])  # 0.5 full
    standing.latency = taught()

    def denied(ask, dice):
        rolls = iter(dice)
        said = admit(ask, standing, profile(both), lambda: next(rolls))
        return said.emptied if said else ""

    late = asks(ttft=0.01, priority=-1)
    assert denied(late, [0.4]) == "half"
    assert denied(late, [0.6]) == "latency-slo-admitter"
    assert denied(asks(priority=-1), [0.6, 0.4]) == "probabilistic-admitter"
    assert denied(asks(priority=-1), [0.6, 0.6]) == ""
    assert denied(asks(ttft=0.01), []) == ""
    assert admit(late, pool([]), profile(both), lambda: 0.0) is None


def test_the_producer_says_how_predictions_are_used():
    def rooms(parameters, ask, bounds=()):
        text = f"{{type: latency-scorer}}\n{{type: predicted-latency-producer, parameters: {{{parameters}}}}}"
        latency = taught()
        for name, bound in bounds:
            latency.take(name, 0.0, bound)
        forecast = foretold(text, waits(0, 1), ask, latency=latency, sent=(10, 11)).forecast
        assert forecast is not None
        tpot = [round(one, 4) for one in forecast.tpot_room]
        return forecast.sure, [round(one, 4) for one in forecast.ttft_room], tpot

    both = asks(ttft=0.3, tpot=0.02)
    assert rooms("", both) == (True, [0.2, 0.1], [0.01, 0.009])
    assert rooms("sloBufferFactor: 0.5", both) == (True, [0.2, 0.1], [0.0, -0.001])
    assert rooms("streamingMode: true", both) == (True, [0.2, 0.1], [0.01, 0.009])
    assert rooms("streamingMode: false", both) == (True, [0.2, 0.1], [0.0, 0.0])
    assert rooms("predictInProduce: false", both)[0] is False
    # One of the two alone: of the other nothing is asked.
    assert rooms("", asks(ttft=0.3)) == (True, [0.2, 0.1], [0.0, 0.0])
    assert rooms("", asks(tpot=0.02)) == (True, [0.0, 0.0], [0.01, 0.009])
    assert rooms("streamingMode: false", asks(tpot=0.02)) == (True, [], [])
    assert rooms("", asks()) == (True, [], [])
    # Who is under way there was promised more: that is what must be kept.
    promised = (("b", 0.012), ("b", 0.05))
    assert rooms("", both, promised) == (True, [0.2, 0.1], [0.01, 0.001])


# The document.


def test_the_table_of_plugins_has_them_all_and_a_test_for_each():
    text = PICKING.read_text()
    rows = {row[0]: row for row in re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\|$", text, re.MULTILINE)}
    assert rows.keys() == KNOWN.keys() | UNSUPPORTED.keys()
    tests = Path(__file__).parents[1]
    here = "".join([path.read_text() for path in (*tests.glob("pick/test_*.py"), *tests.glob("flow/test_*.py"))])
    for name, row in rows.items():
        test = re.search(r"`(test_\w+)`", row[1])
        assert (test is not None) == (name in KNOWN and KNOWN[name].roles != ("beside",)), name
        assert test is None or f"def {test[1]}(" in here, name


# What others have to be told, and what is so here.


def test_who_handles_ranks_leaves_the_choice_among_them_to_the_profile():
    ranks = profile(
        "{type: data-parallel-profile-handler, parameters: {primaryPort: 8000}}\n{type: queue-scorer}",
        "schedulingProfiles: [{name: default, plugins: [{pluginRef: queue-scorer}]}]\n",
    )
    assert ranks.handler is None
    loads = {f"a-rank-{n}": Load(waiting=3 - n, running=0, at=0.0) for n in range(3)}
    each = [endpoint(name, port=8000 + n) for n, name in enumerate(loads)]
    decision = choose(Ask("m"), Standing("p", each, loads, Ledger(), PrefixIndex()), ranks, lambda: 0.0)
    assert decision.endpoint is not None
    assert decision.endpoint.port == 8002  # it is sent there


def test_a_burst_of_one_prompt_stays_together_without_waiting():
    bursts = profile(
        "{type: burst-prefix-cache-producer}\n"
        "{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: burst-prefix-cache-producer}}\n"
        "{type: max-score-picker}"
    )
    index, rungs = PrefixIndex(), ladder("m", b"x" * 8000)
    standing, sent = pool([FRESH] * 4, index=index), []
    for number in range(16):
        decision = choose(Ask("m", rungs, 8000), standing, bursts, lambda: number % 4 / 4)  # noqa: B023
        index.record(rungs, decision.endpoint.name)
        sent.append(decision.endpoint.name)
    assert set(sent) == {sent[0]}
