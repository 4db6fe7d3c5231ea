"""prefix-cache-affinity-filter: who has most of the prompt cached, as long as that costs no more than it may."""

from collections.abc import Sequence

from headgate.api.written.plugins import PrefixAffinity
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.foresee import foresee
from headgate.pick.scorers import Depths, Sent
from headgate.pick.slo import Narrow
from headgate.pick.wants import Part


def prefix_affinity(shape: PrefixAffinity) -> Part:
    """Those that have seen at least the threshold's share of the prompt, where there are any.

    All, where the best of them is to take so much longer than the best of the others; TTFT is told by the tokens in
    flight, over the peak throughput of prefill. All too as often as exploration has it.
    """
    most = shape.max_ttft_penalty_ms / 1000.0 * shape.peak_prefill_throughput  # in tokens

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
        sticky = _sticky(shape, ask, among, dice)
        return (True,) * len(sticky) if most and not all(sticky) and _dear(among.tokens(), sticky, most) else sticky

    return Part(sift=sift, counts=most > 0.0)


def while_it_pays(shape: PrefixAffinity) -> Narrow:
    """The same where TTFT is predicted. While predictions are not sure, nothing is too dear."""
    most = shape.max_ttft_penalty_ms / 1000.0

    def narrow(ask: Ask, among: Candidates, sent: Sent, depths: Depths, dice: Dice) -> Sequence[bool]:
        sticky = _sticky(shape, ask, among, dice)
        if not most or all(sticky):
            return sticky
        forecast = foresee(ask, among, sent, depths)
        if forecast is None or not forecast.sure:
            return sticky
        return (True,) * len(sticky) if _dear(forecast.ttft, sticky, most) else sticky

    return narrow


def _sticky(shape: PrefixAffinity, ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
    """Never nobody."""
    threshold, explored = shape.affinity_threshold, shape.exploration_probability
    everybody = (True,) * len(among.names)
    if threshold <= 0.0 or not ask.prefix or (explored and dice() < explored):
        return everybody
    enough = threshold * ask.prefix[-1][0]
    sticky = [matched >= enough for matched in among.seen(ask.prefix)]
    return sticky if any(sticky) else everybody


def _dear(costs: Sequence[float], sticky: Sequence[bool], most: float) -> bool:
    """Whether the best of these costs more than the best of the others, by more than that."""
    near = min([cost for cost, one in zip(costs, sticky, strict=True) if one])
    far = min([cost for cost, one in zip(costs, sticky, strict=True) if not one])
    return near - far > most
