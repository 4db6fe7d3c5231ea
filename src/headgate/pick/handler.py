"""`decide`: what there is to decide where a pool has several profiles."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.draws import Dice
from headgate.pick.hold import hold
from headgate.pick.profile import Profile
from headgate.pick.stages import Stages, in_stages
from headgate.pick.standing import Standing

NO_PROFILE = "profile"  # what a Decision without an endpoint was `emptied` by


class ByHeader(Struct, frozen=True):
    """The profile that a header of the request names, else the one called `default` (header-profile-handler)."""

    header: str  # in lower case
    default: str
    profiles: Mapping[str, Profile]  # but for the one that the handler belongs to


Handler = ByHeader | Stages


def decide(ask: Ask, standing: Standing, profile: Profile, dice: Dice, held: str = "") -> Decision:
    """As `choose`, with what handles the profile's set. `held` is the name of the endpoint where a session is."""
    handler = profile.handler
    if isinstance(handler, Stages):
        return in_stages(ask, standing, profile, handler, dice, held)
    if handler is None:
        return _one(ask, standing, profile, dice, held)
    name = ask.told(handler.header) or handler.default
    named = profile if name == profile.name else handler.profiles.get(name)
    if named is None:
        names = ", ".join(sorted((profile.name, *handler.profiles)))
        why = f"there is no profile {name or handler.default}: the header {handler.header} has to name one of {names}"
        return Decision(Basis(standing.pool, name, (), (), {}), None, why=why, emptied=NO_PROFILE)
    return _one(ask, standing, named, dice, held)


def _one(ask: Ask, standing: Standing, profile: Profile, dice: Dice, held: str) -> Decision:
    if held:
        there = hold(ask, standing, profile, held)
        if there is not None:
            return there
    return choose(ask, standing, profile, dice)
