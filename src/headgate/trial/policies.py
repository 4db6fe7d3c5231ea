"""What can be compared: how each request's endpoint is chosen."""

from collections.abc import Callable, Mapping

from headgate.fleet.endpoint import Endpoint
from headgate.pick.decision import Ask
from headgate.pick.draws import at_random
from headgate.pick.handler import decide
from headgate.pick.profile import Profile
from headgate.pick.published import PROFILES
from headgate.pick.standing import Standing

Dice = Callable[[], float]
Policy = Callable[[Ask, Standing, Dice], Endpoint | None]  # None where a filter leaves nobody: the request waits
Make = Callable[[], Policy]  # anew for each run: some remember what they did last

_RANDOM = Profile("random", (), draw=at_random)
_LEAST = Profile("least-request", (("active-request-scorer", 1.0),))


def by_profile(profile: Profile) -> Make:
    """The very code that the gateway runs."""

    def policy(ask: Ask, standing: Standing, dice: Dice) -> Endpoint | None:
        return decide(ask, standing, profile, dice).endpoint

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
    "inference-extension-default": by_profile(PROFILES["inference-extension-default"]),
    "default": by_profile(PROFILES["default"]),
}
