"""Plugins that go by tokens: how many are under way at each endpoint, and how many of a prompt it has seen already."""

from collections.abc import Sequence

from headgate.api.written.plugins import Concurrency, TokenLoad
from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.scorers import Depths, Scores, Sent
from headgate.pick.wants import Part


def token_load(shape: TokenLoad) -> Part:
    """1 − min(T, threshold) / threshold; T are the tokens in flight, and those of this prompt that are not cached."""
    most = shape.queue_threshold_tokens

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        whole = ask.prompt_tokens
        pairs = zip(among.tokens(), among.seen(ask.prefix), strict=True)
        return [1.0 - min(tokens + whole - matched // BYTES_PER_TOKEN, most) / most for tokens, matched in pairs]

    return Part(score, counts=True)


def by_concurrency(shape: Concurrency) -> Part:
    """Who has fewer requests than the most (hybrid), and fewer tokens. Removes nobody where all have too many."""
    most = shape.max_token_concurrency * (1.0 + shape.headroom)
    requests = shape.max_concurrency * (1.0 + shape.headroom) if shape.concurrency_mode == "hybrid" else None

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
        fit = [tokens < most for tokens in among.tokens()]
        if requests is None:
            return fit
        return [one and count < requests for one, count in zip(fit, among.in_flight(), strict=True)]

    return Part(sift=sift, soft=True, counts=True)
