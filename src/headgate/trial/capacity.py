"""How much can be served within an SLO?  `highest` rate for given servers, `fewest` servers for a given rate.

Both ask again and again whether one of them will do, and take it that what does for a rate does for a lower one, and
what does for some servers does for more.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from headgate.sim.engine import Config
from headgate.trial.outcome import Outcome
from headgate.trial.policies import Dice, Make
from headgate.trial.report import keeps
from headgate.trial.request import Request
from headgate.trial.run import Stuck, run

_DOUBLINGS = 12


class Capacity(Struct, frozen=True):
    """`rate` is the highest of the workload's endpoints, `endpoints` the fewest for the workload's mean rate; None
    where it was not asked for, or there is none. Costs are of a million tokens of answers.
    """

    policy: str
    rate: float | None
    endpoints: int | None
    rate_cost: float | None
    endpoints_cost: float | None


class Goal(Struct, frozen=True):
    """Seconds, and the share of requests that must keep both."""

    ttft_s: float
    tpot_s: float
    share: float


def meets(
    requests: Sequence[Request],
    make: Make,
    config: Config,
    endpoints: int,
    dice: Dice,
    goal: Goal,
    prefill: int = 0,
) -> bool:
    """Whether enough requests keep the SLOs. Ends as soon as too many have not. What nobody serves keeps nothing."""
    may_miss = len(requests) - goal.share * len(requests)
    missed = 0

    def enough(outcome: Outcome) -> bool:
        nonlocal missed
        missed += not keeps(outcome, goal.ttft_s, goal.tpot_s)
        return missed > may_miss + 1e-9

    try:
        run(requests, make(), config, endpoints, dice, enough=enough, queueing=make.queueing, prefill=prefill)
    except Stuck:
        return False
    return missed <= may_miss + 1e-9


def highest(does: Callable[[float], bool], start: float, within: float = 0.03) -> float | None:
    """The highest rate that does, to within a share of it; None where not even a 4,096th of `start` does.

    Each rate is asked once. The answer did itself, and one that is higher by the share did not.
    """
    good, bad = 0.0, 0.0
    rate = start
    for _ in range(_DOUBLINGS):
        if does(rate):
            good = rate
            if bad:
                break
            rate *= 2
        else:
            bad = rate
            if good:
                break
            rate /= 2
    if not good:
        return None
    while bad and bad > good * (1 + within):
        middle = (good * bad) ** 0.5
        if does(middle):
            good = middle
        else:
            bad = middle
    return good


def fewest(does: Callable[[int], bool], start: int, most: int) -> int | None:
    """The fewest servers that do, of up to `most`; None where these don't either. Each number is asked once."""
    bad, good, count = 0, 0, min(start, most)
    while not good:
        if does(count):
            good = count
        elif count == most:
            return None
        else:
            bad, count = count, min(most, count * 2)
    while good - bad > 1:
        middle = (good + bad) // 2
        if does(middle):
            good = middle
        else:
            bad = middle
    return good
