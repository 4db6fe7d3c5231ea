"""`choose`: Ask, Standing, Profile, dice → Decision."""

from collections.abc import Callable

from headgate.fleet.endpoint import Endpoint
from headgate.pick.decision import Ask, Decision, Term
from headgate.pick.profile import Profile
from headgate.pick.standing import Standing

_TAKEN = -1.0  # below every total


def choose(ask: Ask, standing: Standing, profile: Profile, dice: Callable[[], float]) -> Decision:
    """The endpoint with the highest total of weight × score; `dice` (uniform in [0, 1)) chooses among equals.

    Up to two fallbacks, the next best in order. Nothing is recorded: the caller tells the ledger and the prefix index
    where the request really went. With the default profile it costs 0.2 µs for one endpoint, 6 µs for 10 and 25 µs for
    100, up to twice that where the prompt's prefix is known.
    """
    field = standing.field(ask, profile)
    if field.settled is not None:
        return field.settled
    candidates = field.candidates
    sent = candidates.in_flight()
    totals = list(field.base)
    terms = []
    for scorer, name, weight, term in field.scorers:
        if term is None:
            scores = scorer(ask, candidates, sent)
            term = Term(name, weight, tuple(scores))
            if scores is not candidates.zeros:
                totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
        terms.append(term)

    best = max(totals)
    tied = totals.count(best)
    if tied == 1:
        winner = totals.index(best)
    else:
        equals = [place for place, total in enumerate(totals) if total == best]
        winner = equals[int(dice() * tied)]

    rest = totals.copy()
    rest[winner] = _TAKEN
    second = _best_after(rest, winner)
    endpoints = candidates.endpoints
    fallbacks: tuple[Endpoint, ...] = (endpoints[second],)
    if len(rest) > 2:
        rest[second] = _TAKEN
        fallbacks = (endpoints[second], endpoints[_best_after(rest, second)])
    return Decision(
        standing.pool,
        endpoints[winner],
        endpoints,
        tuple(totals),
        tuple(terms),
        field.removed,
        fallbacks,
        tied,
        profile=profile.name,
        loads=candidates.loads,
        in_flight=sent,
    )


def _best_after(totals: list[float], place: int) -> int:
    """Where the best is; of equals the next after `place`, around the end, so that fallbacks spread as winners do."""
    best = max(totals)
    try:
        return totals.index(best, place)
    except ValueError:
        return totals.index(best)
