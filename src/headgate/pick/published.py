"""Profiles that have a name, for pools that say nothing of how they pick."""

from collections.abc import Mapping

from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.scorers import Depths, Scores, Sent, prefix, queue


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

PROFILES: Mapping[str, Profile] = {one.name: one for one in (DEFAULT, _EXTENSION_DEFAULT)}
