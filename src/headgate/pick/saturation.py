"""`saturation`: how full a pool is, for shedding what may be shed."""

from headgate.pick.detector import Detector
from headgate.pick.standing import Standing

USUAL = Detector()


def saturation(standing: Standing, now: float, detector: Detector = USUAL) -> float:
    """The mean of how full the endpoints are that are ready; 1 and more is full, and so is a pool without endpoints.

    A gauge that an engine does not have counts 0. The legacy admission rule on top of it: priority < 0 and saturation
    ≥ 1 → 429.
    """
    count = standing.ledger.count
    tokens = standing.ledger.tokens.count if detector.tokens else _none
    fullness = [
        detector.fullness(load, count(endpoint.name), now, tokens(endpoint.name))
        for endpoint, load in zip(standing.endpoints, standing.loads, strict=True)
        if endpoint.ready and not endpoint.draining
    ]
    return sum(fullness) / len(fullness) if fullness else 1.0


def _none(endpoint: str) -> int:
    return 0
