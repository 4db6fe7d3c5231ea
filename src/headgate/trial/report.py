"""Outcomes in a few figures."""

from collections.abc import Sequence

from msgspec import Struct

from headgate.trial.run import Outcome


class Spread(Struct, frozen=True):
    mean: float
    p50: float
    p90: float
    p99: float


class Report(Struct, frozen=True):
    """Times in seconds. `goodput` counts the requests a second that kept both SLOs, of all that came in `lasted`."""

    policy: str
    requests: int
    lasted: float
    ttft: Spread
    tpot: Spread
    output_tokens_per_s: float
    hit_rate: float  # tokens of prompts that came from the KV cache
    goodput: float
    kept: float  # the share of requests that kept both SLOs
    preemptions: int
    busiest: float  # the busiest endpoint's share of requests, times the number of endpoints


def report(policy: str, outcomes: Sequence[Outcome], endpoints: int, ttft_s: float, tpot_s: float) -> Report:
    """`outcomes` are those of one run, at least one."""
    lasted = max(one.ended for one in outcomes)
    kept = sum(one.ttft <= ttft_s and one.tpot <= tpot_s for one in outcomes)
    counts = [0] * endpoints
    for one in outcomes:
        counts[one.endpoint] += 1
    return Report(
        policy=policy,
        requests=len(outcomes),
        lasted=lasted,
        ttft=spread([one.ttft for one in outcomes]),
        tpot=spread([one.tpot for one in outcomes]),
        output_tokens_per_s=sum(one.output for one in outcomes) / lasted,
        hit_rate=sum(one.cached for one in outcomes) / sum(one.prompt for one in outcomes),
        goodput=kept / lasted,
        kept=kept / len(outcomes),
        preemptions=sum(one.preemptions for one in outcomes),
        busiest=max(counts) * endpoints / len(outcomes),
    )


def spread(values: Sequence[float]) -> Spread:
    """Percentiles by the nearest rank."""
    ordered = sorted(values)
    return Spread(sum(ordered) / len(ordered), *(_rank(ordered, share) for share in (0.5, 0.9, 0.99)))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1))]
