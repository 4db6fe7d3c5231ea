"""What predictions are for: a scorer, a filter, and whether a request may be sent at all.

Names, parameters and arithmetic are those that are published (latency-scorer, slo-headroom-tier-filter,
latency-slo-admitter). Where predictions are not sure, none of them counts.
"""

from collections.abc import Callable, Sequence

from headgate.api.written.plugins import HeadroomTier, LatencyScore
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.foresee import foresee
from headgate.pick.scorers import Depths, Scorer, Scores, Sent, shares

Dice = Callable[[], float]
Narrow = Callable[[Ask, Candidates, Sent, Depths, Dice], Sequence[int]]  # the places of those that are left
Admit = Callable[[Ask, Candidates, Sent, Depths], str]  # why not, in words; "" where it may

_STEPS = 100
_SAME = 1e-9  # seconds: what differs by less does not differ
_COLD = 0.02  # of the KV cache


def latency_with(shape: LatencyScore) -> Scorer:
    """By headroom: among those that keep what was asked for the least of it (or the most), the others 0.

    Where nobody keeps it those that have none of our requests; else those that miss only TPOT, only TTFT, or both, the
    first of these that there are; of them whoever misses it by least. So without an SLO the shortest time wins. Scores
    are in steps of 0.01.
    """
    total = shape.ttft_weight + shape.tpot_weight
    weight = shape.ttft_weight / total if total > 0 else 1.0
    most = shape.headroom_selection_strategy == "most"

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        forecast = foresee(ask, among, sent, depths)
        if forecast is None or not forecast.sure:
            return _composite(shape, ask, among, depths)
        ttft, tpot = forecast.ttft_room, forecast.tpot_room
        places: Sequence[int] = [at for at in range(len(ttft)) if ttft[at] >= 0.0 and tpot[at] >= 0.0]
        upward = most and bool(places)
        if not places:
            idle = [at for at, count in enumerate(sent) if not count]
            places = idle or _least_late(ttft, tpot)
        return _by_headroom(ttft, tpot, places, weight, upward=upward)

    return score


def _least_late(ttft: Sequence[float], tpot: Sequence[float]) -> Sequence[int]:
    everywhere = range(len(ttft))
    only_tpot = [at for at in everywhere if ttft[at] >= 0.0]
    return only_tpot or [at for at in everywhere if tpot[at] >= 0.0] or everywhere


def _by_headroom(
    ttft: Sequence[float], tpot: Sequence[float], places: Sequence[int], weight: float, *, upward: bool
) -> Scores:
    ttfts, tpots = [abs(ttft[at]) for at in places], [abs(tpot[at]) for at in places]
    least_ttft, least_tpot = min(ttfts), min(tpots)
    span_ttft, span_tpot = max(ttfts) - least_ttft, max(tpots) - least_tpot
    even_ttft, even_tpot = span_ttft <= _SAME, span_tpot <= _SAME
    if even_ttft != even_tpot:  # what is the same for all shall not hide the difference in the other
        weight = 0.0 if even_ttft else 1.0
    scores = [0.0] * len(ttft)
    for at, first, further in zip(places, ttfts, tpots, strict=True):
        room = weight * (0.5 if even_ttft else (first - least_ttft) / span_ttft)
        room += (1.0 - weight) * (0.5 if even_tpot else (further - least_tpot) / span_tpot)
        scores[at] = min(1.0, (int((room if upward else 1.0 - room) * _STEPS) + 1) / _STEPS)
    return scores


def _composite(shape: LatencyScore, ask: Ask, among: Candidates, depths: Depths) -> Scores:
    """Without predictions: the KV cache that is free, the queue and the prefix, weighted, in steps of 0.01."""
    kv, queue, prefix = shape.composite_kv_weight, shape.composite_queue_weight, shape.composite_prefix_weight
    total = kv + queue + prefix
    if total <= 0:
        kv, total = 1.0, 1.0
    longest = max(depths)
    scores = []
    for load, depth, known in zip(among.loads, depths, shares(ask, among), strict=True):
        short = (longest - depth) / longest if longest else 1.0
        whole = kv * (1.0 - (load.kv_usage or 0.0)) + queue * short + prefix * known
        scores.append(round(whole / total * _STEPS) / _STEPS)
    return scores


def by_headroom_tier(shape: HeadroomTier) -> Narrow:
    """Those that keep what was asked for; now and then only the others, so that one of them is heard of again."""
    epsilon = shape.epsilon_explore_neg

    def narrow(ask: Ask, among: Candidates, sent: Sent, depths: Depths, dice: Dice) -> Sequence[int]:
        everywhere = range(len(among.names))
        forecast = foresee(ask, among, sent, depths)
        if forecast is None or not forecast.sure:
            return everywhere
        ttft, tpot = forecast.ttft_room, forecast.tpot_room
        keeps = [at for at in everywhere if ttft[at] >= 0.0 and tpot[at] >= 0.0]
        if not keeps or len(keeps) == len(everywhere):
            return everywhere
        if dice() < epsilon:
            return [at for at in everywhere if at not in keeps]
        return keeps

    return narrow


def admit_in_time(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> str:
    """What may be shed is sent only where some endpoint keeps what it asks for, by prediction, or runs nothing, or has
    less than 2 % of its KV cache in use. Without predictions, and what asks for nothing, may be sent.
    """
    if ask.priority >= 0 or not (ask.ttft_slo or ask.tpot_slo):
        return ""
    forecast = foresee(ask, among, sent, depths)
    if forecast is None or not forecast.sure:
        return ""
    tpot = forecast.tpot_room if ask.tpot_slo and forecast.tpot else ()
    for at, load in enumerate(among.loads):
        in_time = (not ask.ttft_slo or forecast.ttft_room[at] > 0.0) and (not tpot or tpot[at] > 0.0)
        if in_time or not load.running or (load.kv_usage or 0.0) < _COLD:
            return ""
    asked = " and ".join(
        f"{what} within {bound * 1000:g} ms"
        for what, bound in (("the first token", ask.ttft_slo), ("each further one", ask.tpot_slo))
        if bound
    )
    return f"no endpoint is predicted to give {asked}, and the request's priority ({ask.priority}) is below 0"
