"""`choose`: Ask, Standing, Profile, dice → Decision."""

from collections.abc import Callable

from headgate.pick.decision import Ask, Decision, Term
from headgate.pick.profile import Profile
from headgate.pick.standing import Standing


def choose(ask: Ask, standing: Standing, profile: Profile, dice: Callable[[], float]) -> Decision:
    """The endpoint with the highest total of weight × score; `dice` (uniform in [0, 1)) chooses among equals.

    Nothing is recorded: the caller tells the ledger and the prefix index
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

    return Decision(
        standing.pool,
        candidates.endpoints[winner],
        candidates.endpoints,
        tuple(totals),
        tuple(terms),
        field.removed,
        tied,
        profile=profile.name,
        loads=candidates.loads,
        in_flight=sent,
    )
