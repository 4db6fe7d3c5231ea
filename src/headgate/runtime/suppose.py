"""`headgate explain ID --what-if FILE`: what another policy would have chosen for a request that is remembered."""

import random
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headgate.api.picker import Picking
from headgate.exchange.record import Record
from headgate.pick.compare import Difference
from headgate.pick.configure import configure
from headgate.pick.decision import Decision
from headgate.pick.python import Functions
from headgate.pick.room import Room
from headgate.pick.trail import explain, render
from headgate.pick.what_if import Supposed, what_if


class Other(Struct, frozen=True):
    """Another policy: the file that it stands in, as the user named it, and what it says."""

    file: str
    picking: Picking


def suppose(record: Record, other: Other, room: Room | None, functions: Functions) -> list[Supposed]:
    """One for each decision about the request."""
    ask = record.ask
    if ask is None:
        return []
    profile = configure(other.picking, functions)
    return [what_if(decision, ask, profile, random.random, room) for decision in record.decisions]


def in_data(record: Record, other: Other, supposed: list[Supposed]) -> Mapping[str, Any]:
    """In builtins. `decisions` go with those of the request, None where the policy had nothing to say."""
    return {
        "file": other.file,
        "profile": other.picking.profile,
        "decisions": [_in_data(decision, one) for decision, one in zip(record.decisions, supposed, strict=True)],
    }


def _in_data(decision: Decision, supposed: Supposed) -> dict[str, Any]:
    told: dict[str, Any] = {"decision": None, "same": None, "served": None, "regret": None, "cost": None, "reason": ""}
    told["served"] = decision.endpoint.name if decision.endpoint else None
    if supposed.decision is not None and supposed.difference is not None:
        difference = supposed.difference
        told |= {"decision": explain(supposed.decision), "same": difference.same, "regret": difference.regret}
        told |= {"cost": difference.cost, "reason": difference.reason}
    return told | {"unknown": list(supposed.unknown)}


def in_words(decision: Decision, other: Other, supposed: Supposed) -> str:
    """For people, without a newline at the end."""
    lines = [f"under {other.file}"]
    if supposed.decision is not None and supposed.difference is not None:
        told, _, table = render(supposed.decision).rstrip("\n").partition("\n\n")
        lines += [told, f"compared  {_compared(decision, supposed.decision, supposed.difference)}"]
        lines += [f"unknown   {text}" for text in supposed.unknown]
        return "\n".join([*lines, "", table] if table else lines)
    return "\n".join([*lines, *(f"nothing   {text}" for text in supposed.unknown)])


def _compared(live: Decision, supposed: Decision, difference: Difference) -> str:
    if difference.same:
        return "the same endpoint"
    if live.endpoint is None or supposed.endpoint is None:
        return f"in fact {live.endpoint.name if live.endpoint else 'none'} was chosen; because of {difference.reason}"
    served, chosen = live.endpoint.name, supposed.endpoint.name
    parts = [f"{served} served"]
    if difference.regret is not None:
        parts.append(f"which is {difference.regret:.3f} worse by {supposed.basis.profile}")
    if difference.cost is not None:
        parts.append(f"{chosen} is {difference.cost:.3f} worse by {live.basis.profile} (totals of at most 1)")
    return f"{', '.join(parts)}; most because of {difference.reason}"
