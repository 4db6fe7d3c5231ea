"""Profiles that have a name, for pools that say nothing of how they pick."""

from collections.abc import Mapping

from headgate.api.written.plugins import LatencyScore
from headgate.fleet.latency import Foresight
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.scorers import Depths, Scores, Sent, prefix, queue
from headgate.pick.slo import latency_with


def _reported_queue(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """By what the last scrape told alone."""
    return queue(ask, among, sent, among.waiting)


def _any_prefix(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """However long the queue is."""
    return prefix(ask, among, sent, (0,) * len(among.names))


# What the field's picker does when nothing is configured: its weights, and its arithmetic without what ours adds.
_EXTENSION_DEFAULT = Profile(
    "inference-extension-default",
    (("queue-scorer", 2.0), ("kv-cache-utilization-scorer", 2.0), ("prefix-cache-scorer", 3.0)),
    made={"queue-scorer": (_reported_queue, True), "prefix-cache-scorer": (_any_prefix, False)},
)

# The default with what is predicted in place of the queue's length (docs/predicted-latency.md says what came of it).
# By prediction alone, who prefills a prefix once more is soon the better choice, and then everybody's cache is full;
# but that a prefix is there counts in what is predicted too: with 3 it would keep everybody where it is.
_SOONEST = LatencyScore(
    headroom_selection_strategy="most",
    composite_kv_weight=0.0,  # what else the default knows is scored beside it
    composite_queue_weight=1.0,
    composite_prefix_weight=0.0,
)
_PREDICTED = Profile(
    "predicted-latency",
    (
        ("latency-scorer", 2.0),
        ("kv-cache-utilization-scorer", 2.0),
        ("prefix-cache-scorer", 2.5),
        ("lora-affinity-scorer", 2.0),
    ),
    made={"latency-scorer": (latency_with(_SOONEST), False)},
    foresight=Foresight(),
)

PROFILES: Mapping[str, Profile] = {one.name: one for one in (DEFAULT, _EXTENSION_DEFAULT, _PREDICTED)}
