"""`compare`: the Decision that counted, and another policy's about the same request → the Difference."""

from collections.abc import Sequence

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint
from headgate.pick.decision import Decision

CHANCE = "chance"
_NOTHING = 1e-9  # totals are sums of floats


class Difference(Struct, frozen=True):
    """How another policy differs from the one that counted.

    `regret`: by how much the other's total is lower for the endpoint that served than for its own choice. `cost`: by
    how much the live total is lower for the other's choice than for the endpoint that served. Both as a share of the
    highest total that the policy's weights allow, from 0 to 1 (below 0 only where chance had drawn); None where a
    filter had removed one of the two, or there was nothing to score.

    `reason` is the scorer that adds most to regret and cost together, `chance`, or `filter NAME`.
    """

    same: bool
    regret: float | None = 0.0
    cost: float | None = 0.0
    reason: str = ""


def compare(live: Decision, other: Decision) -> Difference:
    if live.endpoint is None or other.endpoint is None:
        if live.endpoint is other.endpoint:
            return Difference(same=True)
        emptied = live.emptied if live.endpoint is None else other.emptied
        return Difference(False, None, None, f"filter {emptied}" if emptied else "no endpoints")
    if live.endpoint.name == other.endpoint.name:
        return Difference(same=True)
    theirs = _gaps(other, other.endpoint, live.endpoint)
    ours = _gaps(live, live.endpoint, other.endpoint)
    regret = sum(theirs.values()) if theirs else None
    cost = sum(ours.values()) if ours else None
    return Difference(False, regret, cost, _reason(live, other, theirs, ours))


def _gaps(decision: Decision, better: Endpoint, worse: Endpoint) -> dict[str, float]:
    """By each scorer, how far one is ahead of the other; empty where the decision knows only one of them."""
    first, second = _place(decision.candidates, better), _place(decision.candidates, worse)
    terms = decision.terms
    whole = sum([term.weight for term in terms])
    if first < 0 or second < 0 or not whole:
        return {}
    return {term.scorer: term.weight * (term.scores[first] - term.scores[second]) / whole for term in terms}


def _place(candidates: Sequence[Endpoint], wanted: Endpoint) -> int:
    for place, endpoint in enumerate(candidates):
        if endpoint.name == wanted.name:
            return place
    return -1


def _reason(live: Decision, other: Decision, theirs: dict[str, float], ours: dict[str, float]) -> str:
    assert live.endpoint is not None
    assert other.endpoint is not None
    removed = _remover(other, live.endpoint) or _remover(live, other.endpoint)
    if removed:
        return f"filter {removed}"
    parts = {name: theirs.get(name, 0.0) + ours.get(name, 0.0) for name in theirs | ours}
    most = max(parts, key=lambda name: parts[name], default="")
    return most if most and parts[most] > _NOTHING else CHANCE


def _remover(decision: Decision, endpoint: Endpoint) -> str:
    return next((name for name, gone in decision.removed.items() if endpoint.name in gone), "")
