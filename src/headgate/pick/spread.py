"""What the default profile scores in a way of its own: queues, and how long a prefix keeps requests where it is.

They stand under the names of the published scorers, in whose place they are; who configures those gets those.
"""

from collections.abc import Sequence
from math import inf

from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.scorers import Depths, Scores, Sent, shares_held

_FEW = 8  # requests in flight
_MORE = 1.5
_LONG = 60  # requests that wait
_LONGER = 6


def calm_queue(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """(max − q) / (max − min) of the waiting requests, but 0.5 for one more than the fewest where nobody has two more.

    Else a single request that waits costs as much as fifty would, and with a fuller KV cache outweighs a prefix.
    """
    least, most = min(depths), max(depths)
    span = most - least
    if not span:
        return among.ones
    if among.followed is not None and among.followed.follows(depths, least, most):
        table = [(span - more) / span for more in range(span + 1)] if span > 1 else (1.0, 0.5)
        return among.followed.scores(table, least, most)
    if span > 1:
        return [(most - depth) / span for depth in depths]
    return [1.0 if depth == least else 0.5 for depth in depths]


def held_prefix(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """The part of the prompt that the endpoint has seen already.

    0 where it holds the prefix, and has 8 + 1.5 × as many of our requests in flight as those have in the mean that do
    not; or where the queue is 60 longer than 6 times the shortest one. So what everybody asks for is soon known
    everywhere. Where others have as much to do, a copy would win little, and takes the room of requests
    (docs/decisions/0016).
    """
    scores, holders = shares_held(ask, among)
    others = len(scores) - len(holders)
    for place in holders:
        if sent[place] >= _FEW and (others or depths[place] >= _LONG):
            return _left(scores, holders, sent, depths)
    return scores


def _left(scores: Scores, holders: Sequence[int], sent: Sent, depths: Depths) -> Scores:
    """The scores, 0 for holders that are left."""
    others, held = len(scores) - len(holders), 0
    for place in holders:
        held += sent[place]
    full = _FEW + _MORE * (sum(sent) - held) / others if others else inf
    long = _LONG + _LONGER * min(depths)
    drawn = None
    for place in holders:
        if sent[place] >= full or depths[place] >= long:
            drawn = drawn or list(scores)
            drawn[place] = 0.0
    return drawn or scores
