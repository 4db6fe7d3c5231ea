"""How many requests may be under way?  At one endpoint, and in a whole pool."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint
from headgate.pick.decision import Basis, Decision

NO_ROOM = "room"  # what a Decision without an endpoint was `emptied` by


class Room(Struct, frozen=True):
    """Requests of ours in flight, at most; 0 no limit."""

    endpoint: int = 0
    pool: int = 0


def full(room: Room, count: Callable[[str], int], endpoints: Sequence[Endpoint], basis: Basis) -> Decision | None:
    """The decision where nobody has room, None where somebody has. `count` tells what an endpoint (by name) has under
    way, `endpoints` are the pool's.
    """
    if room.pool and sum([count(endpoint.name) for endpoint in endpoints]) >= room.pool:
        why = f"pool {basis.pool} has {room.pool} requests under way, as many as it may"
    elif (
        room.endpoint
        and basis.candidates
        and all(count(endpoint.name) >= room.endpoint for endpoint in basis.candidates)
    ):
        why = f"every fit endpoint of pool {basis.pool} has {room.endpoint} requests under way, as many as it may"
    else:
        return None
    return Decision(basis, None, why=why, emptied=NO_ROOM)


def mask(room: Room, sent: Sequence[int], totals: Sequence[float]) -> tuple[Sequence[float], str]:
    """The totals with those below all others that have no room, and why, in words; "" where all have room."""
    crowded = sum([count >= room.endpoint for count in sent]) if room.endpoint else 0
    if not crowded:
        return totals, ""
    masked = [total if count < room.endpoint else -1.0 for total, count in zip(totals, sent, strict=True)]
    return masked, f"the best of those with room: {crowded} of {len(sent)} have {room.endpoint} requests under way"
