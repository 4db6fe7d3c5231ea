"""`hold`: the endpoint where a session is, in place of a choice."""

from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.profile import Profile
from headgate.pick.room import full
from headgate.pick.standing import Standing

HELD = "the client's session is there"


def hold(ask: Ask, standing: Standing, profile: Profile, name: str) -> Decision | None:
    """The endpoint of this name, where the filters leave it, and it has room; else None. Nothing is scored."""
    basis, room, count = standing.field(ask, profile).basis, standing.room, standing.ledger.count
    for endpoint, load in zip(basis.candidates, basis.loads, strict=True):
        if endpoint.name == name:
            if room is not None and (
                full(room, count, standing.endpoints, basis) or 0 < room.endpoint <= count(endpoint.name)
            ):
                return None
            held = Basis(basis.pool, basis.profile, (endpoint,), (load,), basis.removed)
            return Decision(held, endpoint, why=HELD)
    return None
