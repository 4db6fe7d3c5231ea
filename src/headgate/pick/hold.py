"""`hold`: the endpoint where a session is, in place of a choice."""

from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.profile import Profile
from headgate.pick.standing import Standing


def hold(ask: Ask, standing: Standing, profile: Profile, name: str) -> Decision | None:
    """The endpoint of this name, where the filters leave it; None where they don't. Nothing is scored."""
    basis = standing.field(ask, profile).basis
    for endpoint, load in zip(basis.candidates, basis.loads, strict=True):
        if endpoint.name == name:
            held = Basis(basis.pool, basis.profile, (endpoint,), (load,), basis.removed)
            return Decision(held, endpoint, why="the client's session is there")
    return None
