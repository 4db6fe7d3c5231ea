"""`admit`: may a request be sent at all?  The admitters of its pool say so, before anybody chooses where.

Names, parameters and arithmetic are those that are published (probabilistic-admitter, latency-slo-admitter).
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from headgate.api.written.plugins import LatencyAdmission, Probabilistic
from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.detector import Detector
from headgate.pick.draws import Dice
from headgate.pick.foresee import foresee
from headgate.pick.profile import Profile
from headgate.pick.saturation import saturation
from headgate.pick.standing import Standing

Admit = Callable[[Ask, Standing, Profile, Dice], str]  # why not, in words; "" where it may

_COLD = 0.02  # of the KV cache


def admit(ask: Ask, standing: Standing, profile: Profile, dice: Dice) -> Decision | None:
    """None where it may be sent, else the decision that it may not: the first admitter to say no has `emptied` it.

    Only what may be shed, a request whose priority is below 0, is asked about.
    """
    if ask.priority >= 0 or not standing.endpoints:
        return None
    for name, says in profile.admitters:
        why = says(ask, standing, profile, dice)
        if why:
            basis = standing.everybody(ask, profile).basis
            bare = Basis(basis.pool, basis.profile, basis.candidates, basis.loads, basis.removed)
            return Decision(bare, None, why=f"not admitted by {name}: {why}", emptied=name)
    return None


def by_share(shape: Probabilistic) -> Admit:
    """The share min(saturationᵖ × k, 1) is kept out.

    Loads are as old as they are: who has stopped to report is not full for that.
    """
    detector = Detector(shape.queue_depth_threshold, shape.kv_cache_util_threshold, inf)
    power, k = shape.power, shape.k

    def says(ask: Ask, standing: Standing, profile: Profile, dice: Dice) -> str:
        full = saturation(standing, 0.0, detector)
        share = min(float(full**power) * k, 1.0)
        if not share or dice() >= share:
            return ""
        return f"{share:.0%} of what may be shed is kept out where pool {standing.pool} is {full:.0%} full"

    return says


def in_time(shape: LatencyAdmission) -> Admit:
    """Where some endpoint keeps what it asks for, by prediction, or runs nothing, or has less than 2 % of its KV cache
    in use. Without predictions, and what asks for nothing, may be sent.
    """
    return _in_time


def _in_time(ask: Ask, standing: Standing, profile: Profile, dice: Dice) -> str:
    if not (ask.ttft_slo or ask.tpot_slo):
        return ""
    among = standing.everybody(ask, profile).among
    if among is None:
        return ""
    sent = among.in_flight()
    forecast = foresee(ask, among, sent, among.depths(sent))
    if forecast is None or not forecast.sure:
        return ""
    ttft, tpot = forecast.ttft_room, forecast.tpot_room if ask.tpot_slo and forecast.tpot else ()
    if not ttft:  # TPOT alone was asked for, and nothing is known of it
        return ""
    for at, load in enumerate(among.loads):
        keeps = (not ask.ttft_slo or ttft[at] > 0.0) and (not tpot or tpot[at] > 0.0)
        if keeps or not load.running or (load.kv_usage or 0.0) < _COLD:
            return ""
    asked = " and ".join(
        f"{what} within {bound * 1000:g} ms"
        for what, bound in (("the first token", ask.ttft_slo), ("each further one", ask.tpot_slo))
        if bound
    )
    return f"no endpoint is predicted to give {asked}, and the request's priority ({ask.priority}) is below 0"


ADMITTERS: Mapping[str, Callable[[Any], Admit]] = {
    "probabilistic-admitter": by_share,
    "latency-slo-admitter": in_time,
}
