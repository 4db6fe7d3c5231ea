"""A pool at one moment, as far as choosing goes: made anew when its endpoints or their loads change."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask, Decision, Term
from headgate.pick.filters import SELDOM_FILTERS, STEADY_FILTERS, sift
from headgate.pick.profile import Profile
from headgate.pick.scorers import SCORERS, STEADY_SCORERS, Scorer

_UNKNOWN = Load()
_FIELDS_KEPT = 256  # the names of models come from clients: what is remembered for them is bounded
_REMEMBERED = STEADY_FILTERS | SELDOM_FILTERS


class Field(Struct, frozen=True, eq=False):
    """What the filters leave for a model, and as much of its scores as will hold until the next Standing.

    `scorers` follows the profile: each with its name, its weight, and its Term where that is known already. `base`
    sums up those terms. `settled` is the decision where there is nothing to choose: no candidate, or one.
    """

    profile: Profile
    candidates: Candidates
    removed: Mapping[str, tuple[str, ...]]
    scorers: tuple[tuple[Scorer, str, float, Term | None], ...]
    base: tuple[float, ...]
    settled: Decision | None


class Standing:
    """The endpoints of a pool with their loads, and the live ledger and prefix index.

    Costs 1 µs for 10 endpoints, and another 30 µs at the first request for each model: make it when a request needs
    it, not at every scrape.
    """

    __slots__ = ("_fields", "endpoints", "index", "ledger", "loads", "pool")

    def __init__(
        self,
        pool: str,
        endpoints: Sequence[Endpoint],
        loads: Mapping[str, Load],
        ledger: Ledger,
        index: PrefixIndex,
    ) -> None:
        """`loads` is by endpoint name; an endpoint that is not there has not reported yet."""
        self.pool = pool
        self.endpoints = tuple(endpoints)
        self.loads = tuple([loads.get(endpoint.name, _UNKNOWN) for endpoint in endpoints])
        self.ledger = ledger
        self.index = index
        self._fields: dict[str, Field] = {}

    def field(self, ask: Ask, profile: Profile) -> Field:
        """What there is to choose from for this request; remembered where it depends on the model alone."""
        usual = ask.subset is None and not ask.exclude
        if usual:
            known = self._fields.get(ask.model)
            if known is not None and known.profile is profile:
                return known
        field = _survey(self, ask, profile)
        if usual and _REMEMBERED.issuperset(profile.filters):
            if len(self._fields) >= _FIELDS_KEPT:
                self._fields.clear()
            self._fields[ask.model] = field
        return field


def _survey(standing: Standing, ask: Ask, profile: Profile) -> Field:
    endpoints, loads, removed = sift(ask, standing.endpoints, standing.loads, profile.filters)
    candidates = Candidates(endpoints, loads, standing.ledger, standing.index)
    if len(endpoints) < 2:
        settled = _settle(standing.pool, ask, profile, candidates, removed)
        return Field(profile, candidates, removed, (), (), settled)
    scorers: list[tuple[Scorer, str, float, Term | None]] = []
    base = [0.0] * len(endpoints)
    for name, weight in profile.scorers:
        scorer, term = SCORERS[name], None
        if name in STEADY_SCORERS:
            term = Term(name, weight, tuple(scorer(ask, candidates, ())))
            base = [total + weight * score for total, score in zip(base, term.scores, strict=True)]
        scorers.append((scorer, name, weight, term))
    return Field(profile, candidates, removed, tuple(scorers), tuple(base), None)


def _settle(
    pool: str, ask: Ask, profile: Profile, candidates: Candidates, removed: Mapping[str, tuple[str, ...]]
) -> Decision:
    endpoint = candidates.endpoints[0] if candidates.endpoints else None
    emptied = "" if endpoint or not removed else list(removed)[-1]
    return Decision(
        pool=pool,
        endpoint=endpoint,
        candidates=candidates.endpoints,
        removed=removed,
        why="the only candidate" if endpoint else _nobody(pool, ask.model, emptied),
        emptied=emptied,
        profile=profile.name,
        loads=candidates.loads,
    )


def _nobody(pool: str, model: str, emptied: str) -> str:
    reasons = {
        "": f"pool {pool} has no endpoints",
        "ready": f"no endpoint of pool {pool} is ready",
        "not-draining": f"every endpoint of pool {pool} that is ready is draining",
        "serves-model": f"no endpoint of pool {pool} serves the model {model}",
        "subset": f"none of the endpoints that the proxy can reach is a fit one of pool {pool}",
        "not-tried": f"every fit endpoint of pool {pool} has failed on this request",
    }
    return reasons.get(emptied, f"filter {emptied} left no endpoint of pool {pool}")
