"""A second policy in the shadow of the one that counts: it chooses too, and nothing is sent by it."""

from collections.abc import Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from headgate.pick.compare import compare
from headgate.pick.decision import Ask, Decision
from headgate.pick.handler import decide
from headgate.pick.hold import HELD
from headgate.pick.profile import Profile
from headgate.pick.standing import Standing


class Tally(Struct):
    """What came of it so far. `regret` and `cost` (pick.compare) are sums over the `weighed`, those that are the same
    among them; `reasons` count those that differ.
    """

    profile: str = ""
    requests: int = 0
    same: int = 0
    weighed: int = 0
    regret: float = 0.0
    cost: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        self.profile = self.profile or other.profile
        self.requests += other.requests
        self.same += other.same
        self.weighed += other.weighed
        self.regret += other.regret
        self.cost += other.cost
        for reason, count in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count


class Shadow:
    """Of one pool. Mutable, owned by the edge. `share` of the choices are compared; the `dice` are its own, so that
    those of the live policy fall as they would without it.

    Costs another `choose` (6 µs for 10 endpoints; as for the live policy 50 µs at the first request for a model after
    loads have changed), and to compare 0.2 µs, 10 where they differ.
    """

    __slots__ = ("_beside", "_dice", "_profile", "_share", "_standing", "tally")

    def __init__(self, profile: Profile, share: float, dice: Callable[[], float]) -> None:
        self.tally = Tally(profile.name)
        self._profile = profile
        self._share = share
        self._dice = dice
        self._standing: Standing | None = None  # the live one, and the like of it for this profile
        self._beside: Standing | None = None

    def see(self, ask: Ask, standing: Standing, decision: Decision) -> None:
        """The live policy has decided so, and nothing was recorded of it yet."""
        if (self._share < 1.0 and self._dice() >= self._share) or decision.why == HELD:
            return
        if standing is not self._standing or self._beside is None:
            self._standing, self._beside = standing, standing.beside()
        spared = decision.removed.get("slow-start")
        if spared:  # whether one that has just begun takes this request has been decided
            exclude = ask.exclude.union(spared)
            ask = replace(ask, exclude=exclude)
        self._note(decision, decide(ask, self._beside, self._profile, self._dice))

    def _note(self, live: Decision, other: Decision) -> None:
        tally, difference = self.tally, compare(live, other)
        tally.requests += 1
        if difference.same:
            tally.same += 1
        else:
            tally.reasons[difference.reason] = tally.reasons.get(difference.reason, 0) + 1
        if difference.regret is not None and difference.cost is not None:
            tally.weighed += 1
            tally.regret += difference.regret
            tally.cost += difference.cost


def merged(tallies: Mapping[str, Tally], into: dict[str, Tally]) -> None:
    """By pool."""
    for pool, tally in tallies.items():
        into.setdefault(pool, Tally()).add(tally)
