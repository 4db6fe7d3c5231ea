"""`look_ahead`: what predictions leave to choose from."""

from collections.abc import Callable

from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask, Decision
from headgate.pick.profile import Profile
from headgate.pick.scorers import Depths, Sent
from headgate.pick.standing import Field, Standing, narrowed

Dice = Callable[[], float]


def look_ahead(
    ask: Ask,
    standing: Standing,
    profile: Profile,
    field: Field,
    sent: Sent,
    depths: Depths,
    dice: Dice,
) -> Field:
    """The field that is left, this one where nothing is removed; one that is settled where it may not be sent."""
    among = field.among
    assert among is not None
    if profile.admits is not None:
        name, admit = profile.admits
        why = admit(ask, among, sent, depths)
        if why:
            return Field(profile, field.basis, (), None, Decision(field.basis, None, why=why, emptied=name))
    for name, narrow in profile.narrows:
        if len(among.names) < 2:
            break
        kept = narrow(ask, among, sent, depths, dice)
        if len(kept) < len(among.names):
            field = narrowed(ask, standing, profile, field, name, kept)
            among = _there(field)
            sent = among.in_flight()
            depths = among.depths(sent)
    return field


def _there(field: Field) -> Candidates:
    assert field.among is not None  # a profile that predicts has them even where there is one
    return field.among
