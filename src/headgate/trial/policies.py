"""What can be compared: how each request's endpoint is chosen."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from headgate.api.picker import Picking
from headgate.fleet.endpoint import Endpoint
from headgate.flow.discipline import configure as configure_flow
from headgate.pick.configure import configure
from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.draws import at_random
from headgate.pick.filters import Sieve
from headgate.pick.handler import decide
from headgate.pick.parameters import ROLES, in_role
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.published import PROFILES
from headgate.pick.python import Functions, none_here
from headgate.pick.stages import Decider, Stages
from headgate.pick.standing import Standing
from headgate.pick.wants import Burden, Wants, burden, observe
from headgate.trial.queueing import Queueing

Dice = Callable[[], float]


class Sent(NamedTuple):
    """What was decided, and the tokens that it counts for there, where they are counted. `prefill` is who computes the
    prompt, where that is another endpoint, and what that counts for there.
    """

    decision: Decision
    burden: Burden | None = None
    prefill: Endpoint | None = None
    prompt: Burden | None = None


Policy = Callable[[Ask, Standing, Dice, float], Sent]  # without an endpoint where a filter leaves nobody: it waits


class Make(Struct, frozen=True):
    """Calling it makes a policy, anew for each run: some remember what they did last. With `queueing` requests wait."""

    policy: Callable[[], Policy]
    queueing: Queueing | None = None

    def __call__(self) -> Policy:
        return self.policy()


_RANDOM = Profile("random", (), draw=at_random)
_NO_BASIS = Basis("pool", "round-robin", (), (), {})
_PREFILL = Profile(
    "prefill",
    (("queue-scorer", 2.0), ("prefix-cache-scorer", 3.0)),
    sieves=(Sieve("prefill-filter", in_role(*ROLES["prefill-filter"])),),
    apart=True,
)
_DISAGGREGATED = Profile(
    "decode",
    DEFAULT.scorers,
    sieves=(Sieve("decode-filter", in_role(*ROLES["decode-filter"])),),
    wants=Wants(),
    apart=True,
    handler=Stages({"prefill": _PREFILL}, "prefill", "encode", splits=Decider(uncached=512)),
)
_LEAST = Profile("least-request", (("active-request-scorer", 1.0),))


def by_profile(profile: Profile, queueing: Queueing | None = None) -> Make:
    """The very code that the gateway runs, for a profile that remembers nothing of its own."""
    return Make(lambda: _by(profile), queueing)


def by_picking(
    picking: Picking, functions: Functions = none_here, tell: Callable[[float], None] = lambda now: None
) -> Make:
    """The same for one that may: each run begins with a new one. `tell` hears what time it is, before each choice."""
    queueing = None
    if picking.flow is not None:
        queueing = Queueing(configure_flow(picking.flow), configure(picking, functions).detector)
    return Make(lambda: _by(configure(picking, functions), tell), queueing)


def _by(profile: Profile, tell: Callable[[float], None] = lambda now: None) -> Policy:
    wants, handler = profile.wants, profile.handler
    stage = handler.prefill if isinstance(handler, Stages) else ""

    def policy(ask: Ask, standing: Standing, dice: Dice, now: float) -> Sent:
        tell(now)
        decision = decide(ask, standing, profile, dice)
        if decision.endpoint is None or wants is None:
            return Sent(decision)
        prefill = decision.of(stage) if stage else None
        there = None if prefill is None or prefill is decision else prefill.endpoint
        if there is None or there == decision.endpoint:
            return Sent(decision, observe(wants, ask, decision, standing.index, ask.at))
        prompt = None if wants.estimate is None else burden(ask, there.name, standing.index, wants.estimate)
        return Sent(decision, observe(wants, ask, decision, standing.index, ask.at), there, prompt)

    return policy


def round_robin() -> Policy:
    place = -1

    def policy(ask: Ask, standing: Standing, dice: Dice, now: float) -> Sent:
        nonlocal place
        place = (place + 1) % len(standing.endpoints)
        return Sent(Decision(_NO_BASIS, standing.endpoints[place]))

    return policy


POLICIES: Mapping[str, Make] = {
    "round-robin": Make(round_robin),
    "random": by_profile(_RANDOM),
    "least-request": by_profile(_LEAST),
    "inference-extension-default": by_profile(PROFILES["inference-extension-default"]),
    "default": by_profile(PROFILES["default"]),
    "flow-control": by_profile(PROFILES["default"], queueing=Queueing()),
    "predicted-latency": by_profile(PROFILES["predicted-latency"]),
    "disaggregated": by_profile(_DISAGGREGATED),
}
SPLITTING = ("disaggregated",)  # those that need endpoints of two roles
