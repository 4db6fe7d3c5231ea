"""Rules of HTTPRoute (gateway.networking.k8s.io_httproutes.yaml, its CEL rules)."""

import re
import warnings
from collections.abc import Iterator

from headgate.api.fault import Fault, Path, shown
from headgate.api.formats import is_ip, seconds
from headgate.api.gateway import BackendRef, FieldMatch, ParentRef, PathMatch, RouteMatch, RouteRule
from headgate.api.meta import Meta
from headgate.api.rules import filters, session
from headgate.api.rules.sameness import repeated
from headgate.api.written.gateway import HTTPRouteSpec, misplaced
from headgate.api.written.metadata import Spec

_MOST_MATCHES = 128
_LONGEST_EXPRESSION = 4096
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_DOTS = ("//", "/./", "/../", "%2f", "%2F", "#")
# What Python's regular expressions have and RE2 has not: look-around, back-references, conditions, atomic groups.
_NOT_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|(?<!\\)(?:\\\\)*\\[1-9]|[*+?}]\+")
_POOL_GROUPS = ("inference.networking.k8s.io", "inference.networking.x-k8s.io")


def http_route(meta: Meta, written: Spec[HTTPRouteSpec]) -> Iterator[Fault]:
    spec = written.spec
    yield from _parents(spec.parent_refs, meta.namespace)
    for i, hostname in enumerate(spec.hostnames):
        if is_ip(hostname):
            yield Fault(("spec", "hostnames", i), f'"{hostname}" is an IP address: write a DNS name, or no hostnames')
    path: Path = ("spec", "rules")
    for i, rule in enumerate(spec.rules):
        yield from _rule(rule, (*path, i))
    total = sum(len(rule.matches) for rule in spec.rules)
    if total > _MOST_MATCHES:
        yield Fault(path, f"{total} matches in all are too many: write at most {_MOST_MATCHES}, or split the route")
    names = [rule.name for rule in spec.rules]
    yield from repeated(names, path, ("name",), '"{value}" is the name of {first} too: give each rule its own')
    yield from _misplaced(spec)


def _misplaced(spec: HTTPRouteSpec) -> Iterator[Fault]:
    if not spec.backend_refs:
        return
    last = len(spec.rules) - 1
    if misplaced(spec):
        message = f"read as spec.rules[{last}].backendRefs: indent it by two, so that it stands inside that rule"
        yield Fault(("spec", "backendRefs"), message, "warning")
        yield from _backends(spec.backend_refs, ("spec", "backendRefs"))
        if spec.rules and any(one.type == "RequestRedirect" for one in spec.rules[last].filters):
            yield Fault(("spec", "backendRefs"), "a rule that redirects has no backends: remove one of the two")
    else:
        yield Fault(("spec", "backendRefs"), "it does not belong here: write it in spec.rules[]")


def _parents(refs: tuple[ParentRef, ...], namespace: str) -> Iterator[Fault]:
    path: Path = ("spec", "parentRefs")
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, ref in enumerate(refs):
        groups.setdefault((ref.group, ref.kind, ref.namespace or namespace, ref.name), []).append(i)
    for indexes in groups.values():
        seen: dict[tuple[str | None, int | None], int] = {}
        whole = any(not refs[i].section_name and not refs[i].port for i in indexes)
        for i in indexes:
            part = (refs[i].section_name, refs[i].port)
            if part in seen:
                yield Fault((*path, i), f"the same as parentRefs[{seen[part]}]: remove it, or name another sectionName")
            elif seen and whole:
                message = f"the same {refs[i].kind} as parentRefs[{min(seen.values())}]: write a sectionName in each"
                yield Fault((*path, i), message)
            seen.setdefault(part, i)


def _rule(rule: RouteRule, path: Path) -> Iterator[Fault]:
    for i, match in enumerate(rule.matches):
        yield from _match(match, (*path, "matches", i))
    yield from filters.check(rule.filters, (*path, "filters"))
    yield from _backends(rule.backend_refs, (*path, "backendRefs"))
    redirects = any(one.type == "RequestRedirect" for one in rule.filters)
    if redirects and rule.backend_refs:
        yield Fault((*path, "backendRefs"), "a rule that redirects has no backends: remove these, or the redirect")
    yield from _prefix_replaced(rule, path)
    if rule.session_persistence:
        yield from session.session(rule.session_persistence, (*path, "sessionPersistence"))
    if rule.retry:
        yield from session.retry(rule.retry, (*path, "retry"))
    request, backend = rule.timeouts.request, rule.timeouts.backend_request
    if request and backend and 0 < seconds(request) < seconds(backend):
        message = f"{backend} is longer than the whole request may take: write at most {request}, as in `request`"
        yield Fault((*path, "timeouts", "backendRequest"), message)


def _prefix_replaced(rule: RouteRule, path: Path) -> Iterator[Fault]:
    replacing: list[Path] = []
    for place, found in (
        ((*path, "filters"), filters.replaces_prefix(rule.filters)),
        *(
            ((*path, "backendRefs", i, "filters"), filters.replaces_prefix(backend.filters))
            for i, backend in enumerate(rule.backend_refs)
        ),
    ):
        if found is not None:
            replacing.append((*place, found))
    if not replacing:
        return
    message = ""
    if any(match.path.type != "PathPrefix" for match in rule.matches):
        message = "ReplacePrefixMatch needs a prefix: write `type: PathPrefix` in the match of this rule"
    elif len(rule.matches) > 1:
        message = "ReplacePrefixMatch needs one match: write a rule for each of these"
    for place in replacing if message else ():
        yield Fault(place, message)


def _match(match: RouteMatch, path: Path) -> Iterator[Fault]:
    yield from _path(match.path, (*path, "path", "value"))
    for name, fields in (("headers", match.headers), ("queryParams", match.query_params)):
        names = [field.name.lower() if name == "headers" else field.name for field in fields]
        message = '"{value}" is matched by {first} already: write one value for each name, or a second match'
        yield from repeated(names, (*path, name), ("name",), message)
        for i, field in enumerate(fields):
            yield from _field(field, (*path, name, i, "value"), 4096 if name == "headers" else 1024)


def _path(match: PathMatch, path: Path) -> Iterator[Fault]:
    value = match.value
    if match.type == "RegularExpression":
        yield from _expression(value, path)
        return
    if not value.startswith("/"):
        yield Fault(path, f"{shown(value)} does not begin with '/': write {shown('/' + value)}")
        return
    found = next((part for part in _DOTS if part in value), None) or next(
        (part for part in ("/..", "/.") if value.endswith(part)), None
    )
    if found:
        yield Fault(path, f"{shown(value)} contains {found}, which no request's path has here: write it without")
    elif match.type == "PathPrefix" and value.endswith("/*"):
        message = f"{shown(value)} matches a literal `*`: write {shown(value[:-2] or '/')}, a prefix needs no wildcard"
        yield Fault(path, message, "warning")
    elif not _PATH.fullmatch(value):
        instead = "write them as %XX, or `type: RegularExpression` if it is a pattern"
        yield Fault(path, f"{shown(value)} has characters that no path has: {instead}")


def _field(field: FieldMatch, path: Path, longest: int) -> Iterator[Fault]:
    if field.type == "RegularExpression":
        yield from _expression(field.value, path)
    if len(field.value) > longest:
        yield Fault(path, f"{len(field.value)} characters are too many: write at most {longest}")


def _expression(text: str, path: Path) -> Iterator[Fault]:
    if len(text) > _LONGEST_EXPRESSION:
        return  # told already: no field takes a text of this length
    foreign = _NOT_RE2.search(re.sub(r"\[[^\]]*\]", "[]", text))
    if foreign:
        yield Fault(path, f"{shown(text)} uses {foreign.group()}, which RE2 does not have: write it without")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        yield Fault(path, f"{shown(text)} is no regular expression ({error}): correct it, or write `type: Exact`")


def _backends(refs: tuple[BackendRef, ...], path: Path) -> Iterator[Fault]:
    for i, ref in enumerate(refs):
        place = (*path, i)
        if not ref.group and ref.kind == "Service" and ref.port is None:
            yield Fault((*place, "port"), f"missing: write the port of the Service {ref.name}, such as `port: 8000`")
        if ref.kind == "InferencePool" and not ref.group:
            message = f"missing: an InferencePool is of no core group; write `group: {_POOL_GROUPS[0]}`"
            yield Fault((*place, "group"), message, "warning")
        if ref.group in _POOL_GROUPS and ref.kind == "Service":
            yield Fault((*place, "kind"), f"{ref.group} has no Service: write `kind: InferencePool`", "warning")
        yield from filters.check(ref.filters, (*place, "filters"))
