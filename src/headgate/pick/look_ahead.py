"""`look_ahead`: what predictions leave to choose from."""

from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.profile import Profile
from headgate.pick.scorers import Depths, Sent
from headgate.pick.survey import Field, narrowed


def look_ahead(ask: Ask, profile: Profile, field: Field, sent: Sent, depths: Depths, dice: Dice) -> Field:
    """The field that is left, this one where nothing is removed."""
    for name, narrow in profile.narrows:
        among = field.among
        assert among is not None  # a profile that predicts has them even where there is one
        if len(among.names) < 2:
            break
        kept = narrow(ask, among, sent, depths, dice)
        if not all(kept):
            field = narrowed(field, name, kept, ask)
            among = field.among
            assert among is not None
            sent = among.in_flight()
            depths = among.depths(sent)
    return field
