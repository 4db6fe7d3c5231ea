"""An HTTPRoute read into the plan's routes, and what its status says of its rules and references."""

from msgspec import Struct

from headgate.api.gateway import HTTPRoute
from headgate.plan.backends import Resolved
from headgate.plan.conditions import Fault, judge, met, together
from headgate.plan.lookup import Lookup
from headgate.plan.plan import Condition, Route
from headgate.plan.rules import compile_rule


class CompiledRoute(Struct, frozen=True):
    """`routes` in the order written, before any listener: no hostnames yet.

    `refused` says why no rule at all can be served; `partial` is the condition where that is so of some.
    """

    source: HTTPRoute
    routes: tuple[Route, ...]
    resolved: tuple[Resolved, ...]
    resolved_refs: Condition
    refused: Fault | None = None
    partial: Condition | None = None


def compile_route(route: HTTPRoute, look: Lookup) -> CompiledRoute:
    rules = tuple(compile_rule(route, index, look) for index in range(len(route.rules)))
    resolved = tuple(one for rule in rules for one in rule.resolved)
    said = together(rule.refused for rule in rules if rule.refused)
    partly = any(not rule.refused for rule in rules)
    dropped = f"Dropped Rule: {said}; requests that match it get 500"  # the specification wants these first two words
    return CompiledRoute(
        source=route,
        routes=tuple(one for rule in rules for one in rule.routes),
        resolved=resolved,
        resolved_refs=judge(
            "ResolvedRefs",
            faults=[fault for rule in rules for fault in rule.faults],
            notes=[one.note for one in resolved if one.note],
        ),
        refused=Fault("UnsupportedValue", said) if said and not partly else None,
        partial=met("PartiallyInvalid", "UnsupportedValue", dropped) if said and partly else None,
    )
