"""What predictions are for: a scorer and a filter.

Names, parameters and arithmetic are those that are published (latency-scorer, slo-headroom-tier-filter). Where
predictions are not sure, neither of them counts.
"""

from collections.abc import Callable, Sequence

from headgate.api.written.plugins import HeadroomTier, LatencyScore
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.foresee import foresee
from headgate.pick.scorers import Depths, Scorer, Scores, Sent, shares

Narrow = Callable[[Ask, Candidates, Sent, Depths, Dice], Sequence[bool]]  # which of them are left

_STEPS = 100
_HALF = 0.51  # where all are alike
_TINY = 1e-9  # what is whole but for rounding
_SAME = 1e-9  # seconds: what differs by less does not differ


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
        if not ttft:  # nothing was asked for
            if 0 not in sent:
                return _by_size(forecast.ttft, forecast.tpot or among.zeros, weight, upward=False)
            places = [at for at, count in enumerate(sent) if not count]
            return _by_headroom(forecast.ttft, forecast.tpot or among.zeros, places, weight, upward=False)
        places = [at for at in range(len(ttft)) if ttft[at] >= 0.0 and tpot[at] >= 0.0]
        upward = most and bool(places)
        if not places:
            places = [at for at, count in enumerate(sent) if not count] or _least_late(ttft, tpot)
        return _by_headroom(ttft, tpot, places, weight, upward=upward)

    return score


def _least_late(ttft: Sequence[float], tpot: Sequence[float]) -> list[int]:
    everywhere = range(len(ttft))
    only_tpot = [at for at in everywhere if ttft[at] >= 0.0]
    return only_tpot or [at for at in everywhere if tpot[at] >= 0.0] or list(everywhere)


def _by_headroom(
    ttft: Sequence[float], tpot: Sequence[float], places: Sequence[int], weight: float, *, upward: bool
) -> Scores:
    """0 but at these places."""
    scores = [0.0] * len(ttft)
    ttfts, tpots = [abs(ttft[at]) for at in places], [abs(tpot[at]) for at in places]
    for at, score in zip(places, _by_size(ttfts, tpots, weight, upward=upward), strict=True):
        scores[at] = score
    return scores


def _by_size(ttft: Sequence[float], tpot: Sequence[float], weight: float, *, upward: bool) -> Scores:
    """The smallest get 1, or with `upward` the largest."""
    least_ttft, least_tpot = min(ttft), min(tpot)
    span_ttft, span_tpot = max(ttft) - least_ttft, max(tpot) - least_tpot
    even_ttft, even_tpot = span_ttft <= _SAME, span_tpot <= _SAME
    if even_ttft and even_tpot:
        return [_HALF] * len(ttft)
    if even_ttft or even_tpot:  # what is the same for all shall not hide the difference in the other
        weight = 0.0 if even_ttft else 1.0
    first = 0.0 if even_ttft else weight / span_ttft * _STEPS
    further = 0.0 if even_tpot else (1.0 - weight) / span_tpot * _STEPS
    start = 0.0
    if not upward:
        start, first, further = float(_STEPS), -first, -further
    scores = [
        (int(start + (a - least_ttft) * first + (b - least_tpot) * further + _TINY) + 1) / _STEPS
        for a, b in zip(ttft, tpot)  # noqa: B905 - dear
    ]
    return [1.0 if score > 1.0 else score for score in scores]


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

    def narrow(ask: Ask, among: Candidates, sent: Sent, depths: Depths, dice: Dice) -> Sequence[bool]:
        forecast = foresee(ask, among, sent, depths)
        if forecast is None or not forecast.sure or not forecast.ttft_room:
            return (True,) * len(among.names)
        rooms = zip(forecast.ttft_room, forecast.tpot_room, strict=True)
        keeps = [ttft >= 0.0 and tpot >= 0.0 for ttft, tpot in rooms]
        if all(keeps) or not any(keeps):
            return (True,) * len(keeps)
        if dice() < epsilon:
            return [not one for one in keeps]
        return keeps

    return narrow
