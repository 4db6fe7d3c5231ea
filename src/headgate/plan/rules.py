"""One rule of an HTTPRoute, read into the plan's routes: one for each match."""

from msgspec import Struct

from headgate.api.gateway import HTTPRoute, RouteRetry, RouteRule
from headgate.plan.backends import Resolved, backend, resolve
from headgate.plan.conditions import Fault, together
from headgate.plan.durations import seconds
from headgate.plan.filters import edits, extensions, refused, replaces_prefix
from headgate.plan.lookup import Lookup
from headgate.plan.matches import bad_patterns, match
from headgate.plan.mirrors import follow
from headgate.plan.plan import Backend, Retry, Route
from headgate.plan.sessions import session


class CompiledRule(Struct, frozen=True):
    """`routes` in the order of the matches, before any listener: no hostnames yet.

    `refused` says why the rule can't be served, "" when it can; its routes then answer 500, so that no wider rule
    answers what this one was to filter. A match whose regular expression is none has no route: it matches nothing.
    `resolved` are the references of the rule, its mirrors' too; `faults` are theirs.
    """

    routes: tuple[Route, ...]
    resolved: tuple[Resolved, ...]
    refused: str
    faults: tuple[Fault, ...]


def compile_rule(route: HTTPRoute, index: int, look: Lookup) -> CompiledRule:
    rule = route.rules[index]
    place = f"rules[{index}]"
    namespace = route.meta.namespace
    unknown = extensions(rule.filters, place)
    why_not = together(_refusals(rule, place))
    error = why_not or together(fault.message for fault in unknown)
    backends, references = _backends(rule, place, namespace, look)
    mirrored = follow(rule.filters, place, namespace, look)
    references += mirrored.resolved
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
            mirrors=() if error else mirrored.mirrors,
            cors=done.cors,
            session=session(route, index),
            retry=_retry(rule.retry),
            timeout_s=_timeout(rule.timeouts.request),
            backend_timeout_s=_timeout(rule.timeouts.backend_request),
        )
        for number, written in enumerate(rule.matches)
        if not bad_patterns(written, "")
    )
    faults = (*unknown, *(to.fault for to in references if to.fault))
    return CompiledRule(routes, references, why_not, faults)


def _backends(
    rule: RouteRule, place: str, namespace: str, look: Lookup
) -> tuple[tuple[Backend, ...], tuple[Resolved, ...]]:
    """The plan's backends, and every reference that was followed for them."""
    backends: list[Backend] = []
    resolved: list[Resolved] = []
    for index, ref in enumerate(rule.backend_refs):
        to = resolve(ref, namespace, look)
        mirrored = follow(ref.filters, f"{place}.backendRefs[{index}]", namespace, look)
        backends.append(backend(ref, to, mirrored.mirrors))
        resolved += (to, *mirrored.resolved)
    return tuple(backends), tuple(resolved)


def _timeout(written: str) -> float | None:
    return seconds(written) if written else None


def _retry(written: RouteRetry | None) -> Retry | None:
    if written is None:
        return None
    return Retry(tuple(sorted(set(written.codes))), written.attempts, _timeout(written.backoff))


def _refusals(rule: RouteRule, place: str) -> list[str]:
    """What of the rule is not served, and what contradicts itself, each with its place."""
    said = refused(rule.filters, place)
    for index, ref in enumerate(rule.backend_refs):
        said += refused(ref.filters, f"{place}.backendRefs[{index}]")
    for index, written in enumerate(rule.matches):
        said += bad_patterns(written, f"{place}.matches[{index}]")
    filters = (*rule.filters, *(one for ref in rule.backend_refs for one in ref.filters))
    if replaces_prefix(filters) and any(one.path.type != "PathPrefix" for one in rule.matches):
        said.append(f"{place}: ReplacePrefixMatch needs matches of type PathPrefix only")
    return said
