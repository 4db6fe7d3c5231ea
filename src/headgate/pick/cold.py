"""no-hit-lru-scorer: what nobody has cached goes to who was sent such a thing the longest ago."""

from collections import OrderedDict

from headgate.api.written.plugins import NoHitLru
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask, Decision
from headgate.pick.scorers import Depths, Scores, Sent
from headgate.pick.wants import Part

_NEUTRAL = 0.5


def no_hit_lru(shape: NoHitLru) -> Part:
    """1 − rank / (n − 1) of a prompt that no candidate has seen the beginning of; of others 0.5 for all.

    Who was never sent one has 1; then who was the longest ago. The published plugin ranks also those who never were, in
    the order in which they happen to be listed.
    """
    last: OrderedDict[str, int] = OrderedDict()  # who was sent something cold, and as which one, the longest ago first
    count = 0

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        own = among.bits()
        if any(mask & own for _, mask in among.index.groups(ask.prefix, own)):
            return (_NEUTRAL,) * len(among.names)
        used = sorted([name for name in among.names if name in last], key=last.__getitem__)
        never, most = len(among.names) - len(used), len(among.names) - 1
        ranks = {name: never + place for place, name in enumerate(used)}
        return [1.0 - ranks.get(name, 0) / most for name in among.names]

    def note(ask: Ask, decision: Decision, own: Decision, index: PrefixIndex, now: float) -> None:
        nonlocal count
        known = index.match(ask.prefix)
        if own.endpoint is None or any(one.name in known for one in own.candidates):
            return
        count += 1
        last[own.endpoint.name] = count
        last.move_to_end(own.endpoint.name)
        if len(last) > shape.lru_size:
            last.popitem(last=False)

    return Part(score, note=note)
