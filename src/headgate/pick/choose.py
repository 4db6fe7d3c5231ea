"""`choose`: Ask, Standing, Profile, dice → Decision."""

from collections.abc import Callable, Sequence

from headgate.pick.decision import Ask, Decision
from headgate.pick.foresee import foresee
from headgate.pick.look_ahead import look_ahead
from headgate.pick.profile import Profile
from headgate.pick.room import full, mask
from headgate.pick.standing import Standing


def choose(ask: Ask, standing: Standing, profile: Profile, dice: Callable[[], float]) -> Decision:
    """The endpoint with the highest total of weight × score; `dice` (uniform in [0, 1)) chooses among equals.

    Or, where the profile says so, one that is drawn.

    A profile that predicts looks ahead first: it may leave fewer.

    Where the standing bounds the requests in flight, of those that have room; with none, where nobody has.
    Nothing is recorded: the caller tells the ledger and the prefix index where the request really went.
    """
    field = standing.field(ask, profile, dice)
    among, room = field.among, standing.room
    if room is not None and (crowded := full(room, standing.ledger.count, standing.endpoints, field.basis)):
        return crowded
    if among is None:
        return field.settled
    sent, depths = among.counted()
    forecast = None
    if profile.foresight is not None:
        field = look_ahead(ask, profile, field, sent, depths, dice)
        if field.among is not None and field.among is not among:
            among = field.among
            sent, depths = among.counted()
        forecast = foresee(ask, among, sent, depths)
    basis = field.basis
    scored = []
    telling = []  # what does not give the same to all
    for scorer, weight in field.lively:
        scores = scorer(ask, among, sent, depths)
        scored.append(scores)
        if scores is not among.zeros and scores is not among.ones:
            telling.append((weight, scores))
    if among.followed is not None and len(telling) == 1:
        totals: Sequence[float] = among.followed.totals(basis.base, *telling[0])
    else:
        totals = _add(basis.base, telling)
    why = ""
    if room is not None:
        totals, why = mask(room, sent, totals)
    if profile.draw is not None:
        winner, how = profile.draw(totals, dice)
        how = f"{why}; {how}" if why else how
        return Decision(basis, basis.candidates[winner], sent, tuple(scored), 1, how, "", (), forecast, among.matched)
    best = max(totals)
    tied = totals.count(best)
    if tied == 1:
        winner = totals.index(best)
    else:
        winner = -1
        for _ in range(int(dice() * tied) + 1):  # one after the other: sooner than to list all of them
            winner = totals.index(best, winner + 1)
    if forecast is not None and len(totals) == 1:
        why = why or "the only candidate"
    return Decision(basis, basis.candidates[winner], sent, tuple(scored), tied, why, "", (), forecast, among.matched)


def _add(base: Sequence[float], telling: Sequence[tuple[float, Sequence[float]]]) -> Sequence[float]:
    """They are as long as each other; to have it checked costs a third of the addition."""
    if len(telling) == 2:  # as by default, under load: one pass costs little more than half of two
        (first, firsts), (second, seconds) = telling
        return [total + first * a + second * b for total, a, b in zip(base, firsts, seconds)]  # noqa: B905
    for weight, scores in telling:
        base = [total + weight * score for total, score in zip(base, scores)]  # noqa: B905
    return base
