"""Each plugin that an EndpointPickerConfig may name, with its parameters: its arithmetic, by the published tables."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from configured import FRESH, left, pool, profile, scores
from pools import endpoint

from headgate.api.written.plugins import KNOWN, UNSUPPORTED
from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.saturation import saturation
from headgate.pick.standing import Standing

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


# The document.


def test_the_table_of_plugins_has_them_all_and_a_test_for_each():
    text = PICKING.read_text()
    rows = {row[0]: row for row in re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\|$", text, re.MULTILINE)}
    assert rows.keys() == KNOWN.keys() | UNSUPPORTED.keys()
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for name, row in rows.items():
        test = re.search(r"`(test_\w+)`", row[1])
        assert (test is not None) == (name in KNOWN and KNOWN[name].roles != ("beside",)), name
        assert test is None or f"def {test[1]}(" in here, name
