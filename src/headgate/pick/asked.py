"""Plugins that go by a header of the request."""

from collections.abc import Sequence

from headgate.api.written.plugins import HeaderLabel, Nothing
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.filters import named_by
from headgate.pick.scorers import Depths, Scores, Sent
from headgate.pick.wants import Part

SELECTION = "test-epp-endpoint-selection"


def header_label(shape: HeaderLabel) -> Part:
    """1 for who has the header's value as its label's, else 0."""
    header = shape.header_name.lower()

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        wanted = ask.told(header)
        if not wanted:
            return among.zeros
        return [float(endpoint.labels.get(shape.label_key) == wanted) for endpoint in among.endpoints]

    return Part(score, headers=(header,))


def header_testing(shape: Nothing) -> Part:
    """Who is named in the header, by `ip` or `ip:port`; without it, nobody."""

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
        named = [entry for entry in ask.told(SELECTION).split(",") if entry.strip()]
        return [named_by(named, endpoint) for endpoint in among.endpoints]

    return Part(sift=sift, headers=(SELECTION,))
