"""`what_if`: a Decision of the past, what was asked, another Profile → what that one would have decided.

The moment is made anew from what the decision remembers, and `choose` runs on it: the arithmetic is that of the live
gateway. What is not remembered is said.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, Rungs
from headgate.pick.compare import Difference, compare
from headgate.pick.decision import Ask, Decision
from headgate.pick.filters import FILTERS
from headgate.pick.handler import decide
from headgate.pick.hold import HELD
from headgate.pick.profile import Profile
from headgate.pick.room import Room
from headgate.pick.scorers import Scorer, lora_affinity
from headgate.pick.standing import Standing

_ALWAYS = frozenset(FILTERS) | {"slow-start"}  # filters that every profile has


class Supposed(Struct, frozen=True):
    """`decision` and `difference` are None where the policy had nothing to say. `unknown`: what could not be known."""

    decision: Decision | None = None
    difference: Difference | None = None
    unknown: tuple[str, ...] = ()


class _Remembered(PrefixIndex):
    """Of one prompt: how many bytes of it each endpoint had seen."""

    __slots__ = ("_bytes",)

    def __init__(self, seen: Mapping[str, int]) -> None:
        super().__init__()
        self._bytes = dict(seen)

    def groups(self, rungs: Rungs, enough: int = -1) -> tuple[tuple[int, int], ...]:
        return ((1, 1),) if self._bytes else ()

    def named(self, groups: tuple[tuple[int, int], ...]) -> dict[str, int]:
        return self._bytes


def what_if(
    decision: Decision, ask: Ask, profile: Profile, dice: Callable[[], float], room: Room | None = None
) -> Supposed:
    """Of an `ask` of the past the last rung is enough. `room` bounded the requests in flight then."""
    if decision.why == HELD:
        return Supposed(unknown=("the session decided, which it does under every policy",))
    if not decision.candidates:
        return Supposed(unknown=(f"nobody was left to choose from ({decision.why}), and of nobody anything is kept",))
    unknown = [f"{filtered}, so left out here" for filtered in _filtered(decision)]
    profile, lost = _adapted(decision, profile)
    unknown += lost
    again, standing = _moment(decision, ask, room)
    supposed = decide(again, standing, profile, dice)
    if supposed.matched is not None and decision.matched is None and ask.prefix and len(decision.candidates) > 1:
        unknown.append(
            f"which part of the prompt each endpoint had seen: {decision.basis.profile} scores no prefixes, so that "
            "nobody counts as having seen any"
        )
    if profile.foresight is not None:
        learned = "nothing is known of them" if decision.forecast is None else "they are those that are known by now"
        unknown.append(f"what {profile.name} would have known of latencies: {learned}")
    if profile.draw is not None:
        unknown.append(f"{profile.name} draws: another time chance may draw another one")
    supposed = _as_it_was(decision, supposed)
    return Supposed(supposed, compare(decision, supposed), tuple(unknown))


def _filtered(decision: Decision) -> list[str]:
    return [
        f"how those were that {name} of {decision.basis.profile} had removed ({', '.join(gone)})"
        for name, gone in decision.removed.items()
        if gone and name not in _ALWAYS
    ]


def _adapted(decision: Decision, profile: Profile) -> tuple[Profile, list[str]]:
    """The profile, where of many candidates no adapters are remembered: what was scored by them then counts again."""
    if isinstance(decision.loads, tuple):
        return profile, []
    remembered = {term.scorer: dict(zip(_names(decision), term.scores, strict=True)) for term in decision.terms}
    made, lost = dict(profile.made), []
    for name, _ in profile.scorers:
        if profile.scorer(name)[0] is not lora_affinity:
            continue
        if "lora-affinity-scorer" in remembered:
            made[name] = (_said(remembered["lora-affinity-scorer"]), False)
        else:
            lost.append("which adapters each endpoint had: nobody counts as having any")
    return replace(profile, made=made), lost


def _said(scores: dict[str, float]) -> Scorer:
    return lambda ask, among, sent, depths: [scores[name] for name in among.names]


def _moment(decision: Decision, ask: Ask, room: Room | None) -> tuple[Ask, Standing]:
    """The pool as it was when it was chosen from, and the request."""
    names = _names(decision)
    ledger = Ledger()
    for name, count in zip(names, decision.in_flight, strict=False):  # of one alone it is not known, and not needed
        ledger.counts[name] = count
    whole = ask.prefix[-1][0] if ask.prefix else 0
    seen = dict(zip(names, [round(share * whole) for share in decision.matched or ()], strict=False))
    index = _Remembered({name: length for name, length in seen.items() if length})
    loads = dict(zip(names, _loads(decision), strict=True))
    bounds = None if room is None or not room.endpoint else Room(endpoint=room.endpoint)
    latency = None if decision.forecast is None else decision.forecast.latency
    standing = Standing(decision.basis.pool, decision.candidates, loads, ledger, index, room=bounds, latency=latency)
    return replace(ask, subset=None, exclude=frozenset()), standing


def _as_it_was(decision: Decision, supposed: Decision) -> Decision:
    """Of equals the one that served: chance may do so again."""
    served, totals = decision.endpoint, supposed.totals
    if served is None or supposed.tied < 2:
        return supposed
    best = max(totals)
    for endpoint, total in zip(supposed.candidates, totals, strict=True):
        if endpoint.name == served.name and total == best:
            return replace(supposed, endpoint=endpoint)
    return supposed


def _names(decision: Decision) -> list[str]:
    return [endpoint.name for endpoint in decision.candidates]


def _loads(decision: Decision) -> list[Load]:
    """One by one: of many there are but numbers."""
    return [decision.loads[place] for place in range(len(decision.candidates))]
