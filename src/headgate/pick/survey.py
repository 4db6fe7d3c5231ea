"""`survey`: who there is to choose from, as far as it will hold; `sifted`: what is left of them for one request."""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.latency import Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask, Basis, Decision
from headgate.pick.draws import Dice
from headgate.pick.filters import Sieve, sift
from headgate.pick.profile import Profile
from headgate.pick.scorers import Scorer
from headgate.pick.skipped import Skipped

_NARROWER_KEPT = 64


class Field(Struct, frozen=True, eq=False):
    """What there is to choose from for a model, as far as it will hold until the next Standing.

    `lively` are the scorers, with their weights, whose scores each request has of its own. `among` is None where there
    is nothing to choose, no candidate or one (but one, where the profile predicts, is there); then `settled` is the
    decision. `then` are sieves that look at each request, `before` who stands before them and before what narrows, None
    where that is nobody; `narrower` is what they left of it lately.
    """

    profile: Profile
    basis: Basis
    lively: tuple[tuple[Scorer, float], ...]
    among: Candidates | None
    settled: Decision
    then: tuple[Sieve, ...] = ()
    before: Candidates | None = None
    narrower: dict[tuple[str, bytes], "Field"] = msgspec.field(default_factory=dict)


def survey(
    ask: Ask,
    profile: Profile,
    pool: str,
    endpoints: Sequence[Endpoint],
    loads: Sequence[Load],
    ledger: Ledger,
    index: PrefixIndex,
    latency: Latency | None,
    spared: frozenset[str],
) -> Field:
    """The field of all requests like this one. The `spared` are left out, where that leaves anybody."""
    steady = 0
    while steady < len(profile.sieves) and profile.sieves[steady].steady:
        steady += 1
    first, then = profile.sieves[:steady], profile.sieves[steady:]
    kept, of_kept, removed = sift(ask, endpoints, loads, profile.filters, first, ledger.count)
    if spared:
        kept, of_kept, removed = _spare(spared, kept, of_kept, removed)
    basis = Basis(pool, profile.name, tuple(kept), tuple(of_kept), removed)
    among = Candidates(kept, of_kept, ledger, index, latency, profile.foresight)
    return _field(ask, profile, basis, among, then)


def sifted(field: Field, ask: Ask, dice: Dice) -> Field:
    """What the sieves that look at each request leave of it."""
    for sieve in field.then:
        before = field.before
        if before is None:
            break
        if sieve.among is not None:
            found = sieve.among(ask, before, dice)
            if isinstance(found, Skipped):
                field = _noted(field, sieve.name, found)
                continue
            kept = found
        else:
            count = before.ledger.count
            kept = [sieve.keep(ask, *pair, count) for pair in zip(before.endpoints, before.loads, strict=True)]
        if not all(kept) and (any(kept) or not sieve.soft):
            field = narrowed(field, sieve.name, kept, ask)
    return field


def _noted(field: Field, by: str, skipped: Skipped) -> Field:
    """The same field, which says that this sieve was skipped, and why."""
    removed = {**field.basis.removed, by: cast("tuple[str, ...]", skipped)}
    basis = replace(field.basis, removed=removed)
    return replace(field, basis=basis, settled=replace(field.settled, basis=basis), narrower={})


def spared(field: Field, names: frozenset[str], ask: Ask) -> Field:
    """Without these endpoints, where that leaves anybody."""
    before = field.before
    if before is None or not names:
        return field
    kept = [name not in names for name in before.names]
    return field if all(kept) or not any(kept) else narrowed(field, "slow-start", kept, ask)


def narrowed(field: Field, by: str, kept: Sequence[bool], ask: Ask) -> Field:
    """The field of those that were kept, by whom."""
    key = by, bytes(kept)
    known = field.narrower.get(key)
    if known is not None:
        return known
    before, basis = field.before, field.basis
    assert before is not None
    stay = [place for place, one in enumerate(kept) if one]
    gone = tuple(sorted([name for name, one in zip(before.names, kept, strict=True) if not one]))
    endpoints = tuple([before.endpoints[place] for place in stay])
    loads = tuple([before.loads[place] for place in stay])
    left = Basis(basis.pool, basis.profile, endpoints, loads, {**basis.removed, by: gone})
    among = Candidates(endpoints, loads, before.ledger, before.index, before.latency, before.foresight)
    if len(field.narrower) >= _NARROWER_KEPT:
        field.narrower.clear()
    new = field.narrower[key] = _field(ask, field.profile, left, among, field.then)
    return new


def _field(ask: Ask, profile: Profile, basis: Basis, among: Candidates, then: tuple[Sieve, ...]) -> Field:
    settled = _settle(ask, basis)
    count = len(basis.candidates)
    predicts = profile.foresight is not None
    before = among if count and (profile.apart or predicts) else None
    if not count or (count == 1 and not predicts):
        return Field(profile, basis, (), None, settled, then, before)
    scorers: list[tuple[str, float, Sequence[float] | None]] = []
    base = among.zeros
    lively: list[tuple[Scorer, float]] = []
    for name, weight in profile.scorers:
        scorer, steady = profile.scorer(name)
        scores = None
        if steady:
            scores = scorer(ask, among, (), ())
            base = tuple([total + weight * score for total, score in zip(base, scores, strict=True)])
        else:
            lively.append((scorer, weight))
        scorers.append((name, weight, scores))
    basis = replace(basis, scorers=tuple(scorers), base=base)
    return Field(profile, basis, tuple(lively), among, settled, then, before)


def _spare(
    spared: frozenset[str], endpoints: list[Endpoint], loads: list[Load], removed: Mapping[str, tuple[str, ...]]
) -> tuple[list[Endpoint], list[Load], dict[str, tuple[str, ...]]]:
    kept = [pair for pair in zip(endpoints, loads, strict=True) if pair[0].name not in spared]
    if not kept or len(kept) == len(endpoints):
        return endpoints, loads, dict(removed)
    gone = tuple(sorted([endpoint.name for endpoint in endpoints if endpoint.name in spared]))
    return [pair[0] for pair in kept], [pair[1] for pair in kept], {**removed, "slow-start": gone}


def _settle(ask: Ask, basis: Basis) -> Decision:
    """The decision where there is no choice."""
    endpoint = basis.candidates[0] if basis.candidates else None
    emptied = "" if endpoint else next((name for name, gone in reversed(list(basis.removed.items())) if gone), "")
    why = "the only candidate" if endpoint else _nobody(basis.pool, ask.model, emptied)
    return Decision(basis, endpoint, why=why, emptied=emptied)


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
