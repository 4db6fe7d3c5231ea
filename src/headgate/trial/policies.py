"""What can be compared: how each request's endpoint is chosen."""

from collections.abc import Callable, Mapping

from headgate.api.picker import Picking
from headgate.pick.configure import configure
from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.draws import at_random
from headgate.pick.handler import decide
from headgate.pick.profile import Profile
from headgate.pick.published import PROFILES
from headgate.pick.standing import Standing
from headgate.pick.wants import Burden, observe

Dice = Callable[[], float]
Sent = tuple[Decision, Burden | None]  # and the tokens that it counts for there, where they are counted
Policy = Callable[[Ask, Standing, Dice], Sent]  # without an endpoint where a filter leaves nobody: it waits
Make = Callable[[], Policy]  # anew for each run: some remember what they did last

_RANDOM = Profile("random", (), draw=at_random)
_NO_BASIS = Basis("pool", "round-robin", (), (), {})
_LEAST = Profile("least-request", (("active-request-scorer", 1.0),))


def by_profile(profile: Profile) -> Make:
    """The very code that the gateway runs, for a profile that remembers nothing of its own."""
    return lambda: _by(profile)


def by_picking(picking: Picking) -> Make:
    """The same for one that may: each run begins with a new one."""
    return lambda: _by(configure(picking))


def _by(profile: Profile) -> Policy:
    wants = profile.wants

    def policy(ask: Ask, standing: Standing, dice: Dice) -> Sent:
        decision = decide(ask, standing, profile, dice)
        if decision.endpoint is None or wants is None:
            return decision, None
        return decision, observe(wants, ask, decision, standing.index, ask.at)

    return policy


def round_robin() -> Policy:
    place = -1

    def policy(ask: Ask, standing: Standing, dice: Dice) -> Sent:
        nonlocal place
        place = (place + 1) % len(standing.endpoints)
        return Decision(_NO_BASIS, standing.endpoints[place]), None

    return policy


POLICIES: Mapping[str, Make] = {
    "round-robin": round_robin,
    "random": by_profile(_RANDOM),
    "least-request": by_profile(_LEAST),
    "inference-extension-default": by_profile(PROFILES["inference-extension-default"]),
    "default": by_profile(PROFILES["default"]),
    "predicted-latency": by_profile(PROFILES["predicted-latency"]),
}
