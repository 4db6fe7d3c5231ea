"""prefix-cache-affinity-filter."""

from configured import FRESH, left, pool, profile

from headgate.fleet.endpoint import Load
from headgate.fleet.latency import ENOUGH, Latency
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.wants import Estimate

PROMPT = b"x" * 4096
RUNGS = ladder("m", PROMPT)
ASK = Ask("m", RUNGS, len(PROMPT))
GIVEN = "{{type: prefix-cache-affinity-filter, parameters: {{{}}}}}"
PLAIN = "{type: prefix-cache-affinity-filter}"


def seen(**rungs: int) -> PrefixIndex:
    index = PrefixIndex()
    for name, count in rungs.items():
        index.record(RUNGS[:count], name)
    return index


def test_the_prefix_affinity_filter_keeps_who_has_it_cached_while_that_pays():
    index = seen(a=len(RUNGS), b=len(RUNGS) - 1, c=3)
    assert 0.8 < RUNGS[-2][0] / RUNGS[-1][0] < 0.85

    def kept(given="", **more):
        return left(GIVEN.format(given) if given else PLAIN, [FRESH] * 4, ask=ASK, index=index, **more)

    assert kept("affinityThreshold: 0.85") == "a"
    assert kept("affinityThreshold: 0.75") == "ab"
    assert kept("affinityThreshold: 0") == kept("affinityThreshold: -1") == "abcd"
    # 18 s at 15,928 tokens a second; the least laden of those that have it counts, and of those that have not.
    most = 18 * 15_928
    assert kept(tokens=(most + 5, most + 5, 5, 6)) == "ab"
    assert kept("affinityThreshold: 0.85", tokens=(most + 6, 0, 5, 6)) == "abcd"
    assert kept("affinityThreshold: 0.75", tokens=(most + 6, 5, 5, 6)) == "ab"
    assert kept("maxTTFTPenaltyMs: 10, peakPrefillThroughput: 1000, affinityThreshold: 0.75", tokens=(10, 11)) == "ab"
    assert kept("maxTTFTPenaltyMs: 10, peakPrefillThroughput: 1000, affinityThreshold: 0.75", tokens=(11, 11)) == "abcd"
    assert kept("maxTTFTPenaltyMs: 0, affinityThreshold: 0.75", tokens=(10**9, 10**9)) == "ab"
    assert kept("explorationProbability: 0.25, affinityThreshold: 0.75", dice=lambda: 0.24) == "abcd"
    assert kept("explorationProbability: 0.25, affinityThreshold: 0.75", dice=lambda: 0.25) == "ab"


def test_where_nobody_has_it_all_may_serve_it():
    assert left(PLAIN, [FRESH] * 3, ask=ASK, index=PrefixIndex()) == "abc"
    assert left(PLAIN, [FRESH] * 3, ask=Ask("m", prompt_bytes=40), index=seen(a=len(RUNGS))) == "abc"


PREDICTED = "ttftSource: latencyPredictor, affinityThreshold: 0.75, peakPrefillThroughput: 0"


def predicted(waiting, given="", *, known=True, dice=lambda: 0.5):
    """The decision where each request that waits takes 0.1 s, and each token of a prompt 1 ms."""
    loads = [Load(waiting=count, running=9, kv_usage=0.1, at=0.0) for count in waiting]
    standing = pool(loads, index=seen(a=len(RUNGS), b=len(RUNGS) - 1), sent=[9 + count for count in waiting])
    standing.latency = Latency()
    if known:
        model = standing.latency.ttft
        model.weights, model.observations, model.error = (0.0, 0.001, 0.0, 0.0, 0.1, 0.0, 0.0), ENOUGH, 0.1
    chosen = profile(GIVEN.format(PREDICTED + given) + "\n{type: queue-scorer}")
    return choose(ASK, standing, chosen, dice)


def test_what_it_costs_may_be_predicted():
    def kept(*waiting, given="", **more):
        return "".join(one.name for one in predicted(waiting, given, **more).candidates)

    # Of the 1,024 tokens of the prompt a has next to nothing left to do, b some 200; c and d all of it.
    assert kept(0, 0, 0, 0) == "ab"
    assert kept(9, 9, 0, 0, given=", maxTTFTPenaltyMs: 100") == "ab"  # some 0.9 s against 1.02
    assert kept(12, 12, 0, 0, given=", maxTTFTPenaltyMs: 100") == "abcd"  # more than 1.2
    assert kept(12, 0, 0, 0, given=", maxTTFTPenaltyMs: 100") == "ab"  # the best of them counts
    assert kept(12, 12, 0, 0, given=", maxTTFTPenaltyMs: 300") == "ab"
    assert kept(99, 99, 0, 0, given=", maxTTFTPenaltyMs: 0") == "ab"
    assert kept(99, 99, 0, 0, given=", maxTTFTPenaltyMs: 100", known=False) == "ab"
    assert kept(0, 0, 0, 0, given=", explorationProbability: 0.6") == "abcd"
    decision = predicted((0, 1, 0, 0))
    assert decision.removed == {"prefix-cache-affinity-filter": ("c", "d")}
    assert decision.endpoint.name == "a"
    assert decision.forecast is not None
    assert profile(GIVEN.format(PREDICTED)).wants is None  # tokens need not be counted


def test_tokens_are_counted_where_they_may_matter():
    assert profile(PLAIN).wants.estimate == Estimate()
    assert profile(GIVEN.format("maxTTFTPenaltyMs: 0")).wants is None


def test_each_request_is_looked_at_and_the_trail_says_who_had_to_go():
    index = PrefixIndex()
    chosen = profile(PLAIN + "\n{type: queue-scorer}")
    standing = pool([FRESH] * 3, index=index)
    assert choose(ASK, standing, chosen, lambda: 0.0).removed == {}
    index.record(RUNGS, "b")
    for _ in range(2):
        decision = choose(ASK, standing, chosen, lambda: 0.0)
        assert decision.endpoint.name == "b"
        assert decision.removed == {"prefix-cache-affinity-filter": ("a", "c")}
        other = choose(Ask("m"), standing, chosen, lambda: 0.0)
        assert len(other.candidates) == 3
        assert len(other.terms) == 1
