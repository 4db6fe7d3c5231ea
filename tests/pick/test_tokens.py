"""Plugins that go by tokens in flight."""

import pytest
from configured import FRESH, left, pool, profile, scores

from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.decision import Ask
from headgate.pick.saturation import saturation
from headgate.pick.wants import Burden, Estimate, burden

PROMPT = b"x" * 4096
RUNGS = ladder("m", PROMPT)
LONG = Ask("m", RUNGS, len(PROMPT))  # 1,024 tokens


def seen(*names: str, rungs: int = 3) -> PrefixIndex:
    """Who has seen the beginning of the prompt: three rungs are 1,024 bytes."""
    index = PrefixIndex()
    for name in names:
        index.record(RUNGS[:rungs], name)
    return index


def test_the_token_load_scorer_counts_what_is_under_way_and_what_would_be():
    given = "{type: token-load-scorer, parameters: {queueThresholdTokens: 2048}}"
    # b has seen 256 tokens of it.
    found = scores(given, [FRESH] * 4, LONG, index=seen("b"), tokens=(0, 0, 512, 9999))
    assert found == [0.5, 0.625, 0.25, 0.0]
    assert scores(given, [FRESH] * 2, Ask("m")) == [1.0, 1.0]
    assert scores("{type: token-load-scorer}", [FRESH] * 2, tokens=(4_194_304 // 4, 4_194_304)) == [0.75, 0.0]


def test_a_request_counts_for_what_is_not_cached_and_for_its_answer_where_that_is_wanted():
    index = seen("b")
    assert burden(LONG, "a", index, Estimate()) == Burden(1024)
    assert burden(LONG, "b", index, Estimate()) == Burden(768)
    assert burden(LONG, "b", index, Estimate(output=True)) == Burden(768, 1536)
    assert burden(LONG, "a", index, Estimate(output=True, ratio=0.5, most=100)) == Burden(1024, 100)
    capped = Ask("m", RUNGS, len(PROMPT), most_output=64)
    assert burden(capped, "a", index, Estimate(output=True, most=100)) == Burden(1024, 64)
    assert burden(Ask("m"), "a", index, Estimate(output=True)) == Burden(0, 0)


def test_tokens_are_counted_for_profiles_that_go_by_them_as_the_producer_says():
    producer = "{type: inflight-load-producer, parameters: {addEstimatedOutputTokens: true, outputRatio: 2}}\n"
    assert profile("{type: token-load-scorer}").wants.estimate == Estimate()
    assert profile(producer + "{type: token-load-scorer}").wants.estimate == Estimate(output=True, ratio=2.0)
    assert profile(producer + "{type: queue-scorer}").wants is None
    detector = "saturationDetector: {pluginRef: concurrency-detector}\n"
    for mode, counted in (("requests", False), ("tokens", True), ("hybrid", True)):
        given = f"{{type: concurrency-detector, parameters: {{concurrencyMode: {mode}}}}}"
        assert (profile(given).wants is not None) is counted
        unused = "schedulingProfiles: [{name: default, plugins: []}]\n"
        assert (profile(given, detector + unused).wants is not None) is counted


@pytest.mark.parametrize(
    ("mode", "expected", "kept"), [("requests", 0.75, "b"), ("tokens", 0.875, "a"), ("hybrid", 1.25, "ab")]
)
def test_concurrency_is_told_in_requests_tokens_or_both(mode, expected, kept):
    given = (
        f"{{type: concurrency-detector, parameters: {{concurrencyMode: {mode}, maxConcurrency: 4, "
        "maxTokenConcurrency: 1000}}"
    )
    chosen = profile(given, "saturationDetector: {pluginRef: concurrency-detector}\n")
    full = {"sent": (4, 2), "tokens": (250, 1500)}
    assert saturation(pool([FRESH] * 2, **full), 1.0, chosen.detector) == expected
    assert left(given, [FRESH] * 2, **full) == kept  # hybrid: both have too much of something, so both stay
    roomy = given.replace("maxConcurrency", "headroom: 0.5, maxConcurrency")
    assert left(roomy, [FRESH] * 2, sent=(4, 2), tokens=(250, 1499)) == "ab"
