"""prefix-cache-affinity-filter: who has most of the prompt cached, as long as that costs no more than it may."""

from collections.abc import Sequence

from headgate.api.written.plugins import PrefixAffinity
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.wants import Part


def prefix_affinity(shape: PrefixAffinity) -> Part:
    """Those that have seen at least the threshold's share of the prompt, where there are any.

    All, where the best of them is to take so much longer than the best of the others; TTFT is told by the tokens in
    flight, over the peak throughput of prefill. All too as often as exploration has it.
    """
    threshold, explored = shape.affinity_threshold, shape.exploration_probability
    most = shape.max_ttft_penalty_ms / 1000.0 * shape.peak_prefill_throughput  # in tokens

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
        everybody = (True,) * len(among.names)
        if threshold <= 0.0 or not ask.prefix or (explored and dice() < explored):
            return everybody
        enough = threshold * ask.prefix[-1][0]
        sticky = [matched >= enough for matched in among.matched(ask.prefix)]
        if all(sticky) or not any(sticky):
            return everybody
        if most:
            tokens = among.tokens()
            near = min([count for count, one in zip(tokens, sticky, strict=True) if one])
            far = min([count for count, one in zip(tokens, sticky, strict=True) if not one])
            if near - far > most:
                return everybody
        return sticky

    return Part(sift=sift, counts=most > 0.0)
