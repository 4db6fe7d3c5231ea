"""One rule of an HTTPRoute, read into the plan's routes: one for each match."""

from msgspec import Struct

from headgate.api.gateway import HTTPRoute, RouteRule
from headgate.plan.backends import Resolved, backend, resolve
from headgate.plan.conditions import Fault, together
from headgate.plan.durations import seconds
from headgate.plan.filters import ON_BACKENDS, ON_RULES, edits, extensions, refused, replaces_prefix
from headgate.plan.lookup import Lookup
from headgate.plan.matches import bad_patterns, match
from headgate.plan.plan import Backend, Route


class CompiledRule(Struct, frozen=True):
    """`routes` in the order of the matches, before any listener: no hostnames yet.

    `refused` says why the rule can't be served, "" when it can; its routes then answer 500, so that no wider rule
    answers what this one was to filter. A match whose regular expression is none has no route: it matches nothing.
    `faults` are those of the rule's references.
    """

    routes: tuple[Route, ...]
    resolved: tuple[Resolved, ...]
    refused: str
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def compile_rule(route: HTTPRoute, index: int, look: Lookup) -> CompiledRule:
    rule = route.rules[index]
    place = f"rules[{index}]"
    resolved = tuple(resolve(ref, route.meta.namespace, look) for ref in rule.backend_refs)
    unknown = extensions(rule.filters, place)
    why_not = together(_refusals(rule, place))
    error = why_not or together(fault.message for fault in unknown)
    backends = tuple(backend(ref, to) for ref, to in zip(rule.backend_refs, resolved, strict=True))
    done = edits(() if error else rule.filters)
    routes = tuple(
        Route(
            name=f"{route.meta.key}/{index}/{number}",
            match=match(written),
            backends=(Backend(None, reason=error),) if error else backends,
            request=done.request,
            response=done.response,
            rewrite=done.rewrite,
            redirect=done.redirect,
            timeout_s=_timeout(rule.timeouts.request),
            backend_timeout_s=_timeout(rule.timeouts.backend_request),
        )
        for number, written in enumerate(rule.matches)
        if not bad_patterns(written, "")
    )
    faults = (*unknown, *(to.fault for to in resolved if to.fault))
    return CompiledRule(routes, resolved, why_not, faults, tuple(_notes(rule, place)))


def _timeout(written: str) -> float | None:
    return seconds(written) if written else None


def _refusals(rule: RouteRule, place: str) -> list[str]:
    """What of the rule is not served yet, and what contradicts itself, each with its place."""
    said = refused(rule.filters, ON_RULES, place)
    for index, ref in enumerate(rule.backend_refs):
        said += refused(ref.filters, ON_BACKENDS, f"{place}.backendRefs[{index}]")
    for index, written in enumerate(rule.matches):
        said += bad_patterns(written, f"{place}.matches[{index}]")
    if replaces_prefix(rule.filters) and any(one.path.type != "PathPrefix" for one in rule.matches):
        said.append(f"{place}: ReplacePrefixMatch needs matches of type PathPrefix only")
    if rule.retry and rule.retry.codes:
        said.append(f"{place}.retry.codes: retries by status code are not served")
    if rule.session_persistence:
        said.append(f"{place}.sessionPersistence is not served")
    return said


def _notes(rule: RouteRule, place: str) -> list[str]:
    if rule.retry is None or rule.retry.codes:
        return []
    return [f"{place}.retry: requests that reached no server are tried on another endpoint, whatever is written here"]
