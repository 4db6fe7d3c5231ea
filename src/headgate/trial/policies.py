"""What can be compared: how each request's endpoint is chosen."""

from collections.abc import Callable, Mapping

from headgate.fleet.endpoint import Endpoint
from headgate.pick.candidates import Candidates
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.draws import at_random
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.scorers import Depths, Scores, Sent, prefix, queue
from headgate.pick.standing import Standing

Dice = Callable[[], float]
Policy = Callable[[Ask, Standing, Dice], Endpoint]
Make = Callable[[], Policy]  # anew for each run: some remember what they did last


def _reported_queue(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """By what the last scrape told alone."""
    return queue(ask, among, sent, among.waiting)


def _any_prefix(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
    """However long the queue is."""
    return prefix(ask, among, sent, (0,) * len(among.names))


# What the field's picker does when nothing is configured: its weights, and its arithmetic without what ours adds.
EXTENSION_DEFAULT = Profile(
    "inference-extension-default",
    (("queue-scorer", 2.0), ("kv-cache-utilization-scorer", 2.0), ("prefix-cache-scorer", 3.0)),
    made={"queue-scorer": (_reported_queue, True), "prefix-cache-scorer": (_any_prefix, False)},
)
_RANDOM = Profile("random", (), draw=at_random)
_LEAST = Profile("least-request", (("active-request-scorer", 1.0),))


def by_profile(profile: Profile) -> Make:
    """The very code that the gateway runs."""

    def policy(ask: Ask, standing: Standing, dice: Dice) -> Endpoint:
        endpoint = choose(ask, standing, profile, dice).endpoint
        assert endpoint is not None  # all are ready, and none is ever full
        return endpoint

    return lambda: policy


def round_robin() -> Policy:
    place = -1

    def policy(ask: Ask, standing: Standing, dice: Dice) -> Endpoint:
        nonlocal place
        place = (place + 1) % len(standing.endpoints)
        return standing.endpoints[place]

    return policy


POLICIES: Mapping[str, Make] = {
    "round-robin": round_robin,
    "random": by_profile(_RANDOM),
    "least-request": by_profile(_LEAST),
    "inference-extension-default": by_profile(EXTENSION_DEFAULT),
    "default": by_profile(DEFAULT),
}
