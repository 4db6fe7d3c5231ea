"""topology-affinity-scorer and -filter: near the endpoint that was chosen for another stage of the request."""

from collections.abc import Sequence

from headgate.api.written.plugins import Near, NearScorer, Topology
from headgate.fleet.endpoint import Endpoint
from headgate.pick.affinity import Producers
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.scorers import Depths, Scores, Sent
from headgate.pick.wants import Part

_LEVELS = ("host", "rack", "zone", "region")
_SCORES = (1.0, 0.2, 0.05, 0.02, 0.0)  # of two at one host, rack, zone, region, and of others


def near_scorer(shape: NearScorer, producers: Producers) -> Part:
    """1 at the same host, 0.2 in the rack, 0.05 in the zone, 0.02 in the region, else 0; 0 where there is no other."""
    labels = _labels(shape.topology_producer_name, producers)

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        peer = ask.peer
        if peer is None:
            return among.zeros
        return [_SCORES[_level(labels, peer, endpoint)] for endpoint in among.endpoints]

    return Part(score)


def near_filter(shape: Near, producers: Producers) -> Part:
    """Those at least so near; all, where none is, or there is no other endpoint."""
    labels, most = _labels(shape.topology_producer_name, producers), _LEVELS.index(shape.min_affinity)

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
        peer = ask.peer
        if peer is None:
            return (True,) * len(among.names)
        return [_level(labels, peer, endpoint) <= most for endpoint in among.endpoints]

    return Part(sift=sift, soft=True)


def _labels(producer: str, producers: Producers) -> tuple[str, ...]:
    told = producers.get(producer or "topology-extractor")
    shape = told if isinstance(told, Topology) else Topology()
    return shape.hostname, shape.rack, shape.zone, shape.region


def _level(labels: tuple[str, ...], one: Endpoint, other: Endpoint) -> int:
    """The nearest that they have in common. A label that is not there is nobody's."""
    for level, label in enumerate(labels):
        value = one.labels.get(label)
        if value and value == other.labels.get(label):
            return level
    return len(labels)
