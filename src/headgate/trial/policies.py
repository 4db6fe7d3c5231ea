"""What can be compared: how each request's endpoint is chosen."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.draws import at_random
from headgate.pick.profile import Profile
from headgate.pick.published import PROFILES
from headgate.pick.standing import Standing
from headgate.trial.queueing import Queueing

Dice = Callable[[], float]
Policy = Callable[[Ask, Standing, Dice, float], Decision]  # without an endpoint where a filter leaves nobody: it waits


class Make(Struct, frozen=True):
    """Calling it makes a policy, anew for each run: some remember what they did last. With `queueing` requests wait."""

    policy: Callable[[], Policy]
    queueing: Queueing | None = None

    def __call__(self) -> Policy:
        return self.policy()


_RANDOM = Profile("random", (), draw=at_random)
_NO_BASIS = Basis("pool", "round-robin", (), (), {})
_LEAST = Profile("least-request", (("active-request-scorer", 1.0),))


def by_profile(
    profile: Profile, tell: Callable[[float], None] = lambda now: None, queueing: Queueing | None = None
) -> Make:
    """The very code that the gateway runs. `tell` hears what time it is, before each choice."""

    def policy(ask: Ask, standing: Standing, dice: Dice, now: float) -> Decision:
        tell(now)
        return choose(ask, standing, profile, dice)

    return Make(lambda: policy, queueing)


def round_robin() -> Policy:
    place = -1

    def policy(ask: Ask, standing: Standing, dice: Dice, now: float) -> Decision:
        nonlocal place
        place = (place + 1) % len(standing.endpoints)
        return Decision(_NO_BASIS, standing.endpoints[place])

    return policy


POLICIES: Mapping[str, Make] = {
    "round-robin": Make(round_robin),
    "random": by_profile(_RANDOM),
    "least-request": by_profile(_LEAST),
    "inference-extension-default": by_profile(PROFILES["inference-extension-default"]),
    "default": by_profile(PROFILES["default"]),
    "flow-control": by_profile(PROFILES["default"], queueing=Queueing()),
    "predicted-latency": by_profile(PROFILES["predicted-latency"]),
}
