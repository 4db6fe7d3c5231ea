"""What the default profile scores in a way of its own: queues, and how long a prefix keeps requests where it is.

They stand under the names of the published scorers, in whose place they are; who configures those gets those.
"""

from math import inf

from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.scorers import Depths, Scores, Sent, shares_held

_FEW = 8
_MORE = 1.5
_LONG = 60  # requests that wait
_LONGER = 6


def calm_queue(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """(max − q) / (max − min) of the waiting requests, but 0.5 for one more than the fewest where nobody has two more.

    Else a single request that waits costs as much as fifty would, and with a fuller KV cache outweighs a prefix.
    """
    least, most = min(depths), max(depths)
    if least == most:
        return among.ones
    top, span = (most, most - least) if most - least > 1 else (most + 1, 2)
    return [(top - depth) / span for depth in depths]


def held_prefix(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """The part of the prompt that the endpoint has seen already.

    0 where it holds the prefix, and has 8 + 1.5 × as many of our requests in flight as those have in the mean that do
    not; or where the queue is 60 longer than 6 times the shortest one. So what everybody asks for is soon known
    everywhere. Where others have as much to do, a copy would win little, and takes the room of requests
    (docs/decisions/0013).
    """
    scores, holders = shares_held(ask, among)
    if not holders:
        return scores
    busy = [sent[place] for place in holders]
    if max(busy) < _FEW:
        return scores
    others = len(scores) - len(holders)
    full = _FEW + _MORE * (sum(sent) - sum(busy)) / others if others else inf
    long = _LONG + _LONGER * min(depths)
    left = [place for place in holders if sent[place] >= full or depths[place] >= long]
    if not left:
        return scores
    drawn = list(scores)
    for place in left:
        drawn[place] = 0.0
    return drawn
