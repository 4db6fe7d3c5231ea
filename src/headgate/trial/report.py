"""Outcomes in a few figures."""

from collections.abc import Sequence

from msgspec import Struct

from headgate.trial.outcome import Outcome, Sample

_BINS = 60


class Spread(Struct, frozen=True):
    mean: float
    p50: float
    p90: float
    p99: float


class Class(Struct, frozen=True):
    """What became of the requests of one priority. `shed` were refused."""

    priority: int
    requests: int
    shed: int
    ttft: Spread
    tpot: Spread
    kept: float


class Moment(Struct, frozen=True):
    """A stretch of time that begins `at`: requests a second that came and that kept both SLOs (by when they came), and
    at its end how many waited and ran at all servers, what share of their KV caches was in use, and how many waited in
    the gateway.
    """

    at: float
    came: float
    kept: float
    waiting: int
    running: int
    kv_usage: float
    queued: int = 0


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
    fairness: float = 1.0  # Jain's index of the shares that kept both SLOs, over those who ask: 1 where all are equal
    priorities: tuple[Class, ...] = ()  # the highest first; where there are several
    over_time: tuple[Moment, ...] = ()
    longest_itl: Spread = Spread(0.0, 0.0, 0.0, 0.0)  # of each answer the longest time between two tokens
    pulled: float = 0.0  # tokens of prompts that another server has computed, of all
    cost: float | None = None  # of a million tokens of answers, in the currency of the price; None without one


def report(
    policy: str,
    outcomes: Sequence[Outcome],
    endpoints: int,
    ttft_s: float,
    tpot_s: float,
    samples: Sequence[Sample] = (),
    price: float | None = None,
) -> Report:
    """`outcomes` are those of one run, at least one. `price` is of an endpoint for an hour."""
    lasted = max(one.ended for one in outcomes)
    kept = sum(keeps(one, ttft_s, tpot_s) for one in outcomes)
    served = [one for one in outcomes if not one.refused]
    counts = [0] * endpoints
    for one in served:
        counts[one.endpoint] += 1
    made = sum(one.output for one in outcomes)
    return Report(
        policy=policy,
        requests=len(outcomes),
        lasted=lasted,
        ttft=spread([one.ttft for one in served]),
        tpot=spread([one.tpot for one in served]),
        output_tokens_per_s=made / lasted,
        hit_rate=sum(one.cached for one in served) / (sum(one.prompt for one in served) or 1),
        goodput=kept / lasted,
        kept=kept / len(outcomes),
        preemptions=sum(one.preemptions for one in outcomes),
        busiest=max(counts) * endpoints / (len(served) or 1),
        fairness=_fairness(outcomes, ttft_s, tpot_s),
        priorities=_classes(outcomes, ttft_s, tpot_s),
        longest_itl=spread([one.longest_itl for one in served]),
        pulled=sum(one.pulled for one in served) / (sum(one.prompt for one in served) or 1),
        over_time=_moments(outcomes, samples, ttft_s, tpot_s) if samples else (),
        cost=None if price is None else price * endpoints * lasted / 3600 / (made or 1) * 1e6,
    )


def keeps(one: Outcome, ttft_s: float, tpot_s: float) -> bool:
    """Both SLOs."""
    return one.ttft <= ttft_s and one.tpot <= tpot_s


def spread(values: Sequence[float]) -> Spread:
    """Percentiles by the nearest rank; all 0 where there is nothing."""
    ordered = sorted(values) or [0.0]
    return Spread(sum(ordered) / len(ordered), *(_rank(ordered, share) for share in (0.5, 0.9, 0.99)))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1))]


def _classes(outcomes: Sequence[Outcome], ttft_s: float, tpot_s: float) -> tuple[Class, ...]:
    by_priority: dict[int, list[Outcome]] = {}
    for one in outcomes:
        by_priority.setdefault(one.priority, []).append(one)
    if len(by_priority) < 2:
        return ()
    return tuple(
        [
            Class(
                priority,
                len(some),
                sum(one.refused for one in some),
                spread([one.ttft for one in some if not one.refused]),
                spread([one.tpot for one in some if not one.refused]),
                sum(keeps(one, ttft_s, tpot_s) for one in some) / len(some),
            )
            for priority, some in sorted(by_priority.items(), reverse=True)
        ]
    )


def _fairness(outcomes: Sequence[Outcome], ttft_s: float, tpot_s: float) -> float:
    came: dict[str, list[int]] = {}
    for one in outcomes:
        counts = came.setdefault(one.flow, [0, 0])
        counts[0] += 1
        counts[1] += keeps(one, ttft_s, tpot_s)
    shares = [kept / count for count, kept in came.values()]
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def _moments(
    outcomes: Sequence[Outcome], samples: Sequence[Sample], ttft_s: float, tpot_s: float
) -> tuple[Moment, ...]:
    wide = max(samples[-1].at, 1e-9) / _BINS
    came, kept = [0] * _BINS, [0] * _BINS
    for one in outcomes:
        place = min(_BINS - 1, int(one.at / wide))
        came[place] += 1
        kept[place] += keeps(one, ttft_s, tpot_s)
    found, next_one = [], 0
    for place in range(_BINS):
        while next_one < len(samples) - 1 and samples[next_one].at < (place + 1) * wide * (1 - 1e-9):
            next_one += 1
        seen = samples[next_one]
        found.append(
            Moment(
                place * wide,
                came[place] / wide,
                kept[place] / wide,
                seen.waiting,
                seen.running,
                seen.kv_usage,
                seen.queued,
            )
        )
    return tuple(found)
