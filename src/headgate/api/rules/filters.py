"""Rules of HTTPRoute filters (gateway.networking.k8s.io_httproutes.yaml)."""

from collections.abc import Iterator, Mapping
from typing import Any

from headgate.api.fault import Fault, Path
from headgate.api.formats import is_ip
from headgate.api.gateway import CorsFilter, HeaderModifier, PathModifier, RequestMirror, RouteFilter
from headgate.api.rules.sameness import repeated

MEMBERS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "ExtensionRef": "extensionRef",
    "CORS": "cors",
    "ExternalAuth": "externalAuth",
}
ONCE = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")


def check(filters: tuple[RouteFilter, ...], path: Path) -> Iterator[Fault]:
    for i, one in enumerate(filters):
        yield from _filter(one, (*path, i))
    types = [one.type if one.type in ONCE else None for one in filters]
    yield from repeated(types, path, ("type",), "{value} stands at {first} already: write both as one filter")
    if "RequestRedirect" in types and "URLRewrite" in types:
        place = (*path, types.index("URLRewrite"), "type")
        yield Fault(place, "a redirect and a rewrite exclude each other: remove one of the two filters")


def replaces_prefix(filters: tuple[RouteFilter, ...]) -> int | None:
    """The index of the filter that replaces the path prefix that the rule matched."""
    for i, one in enumerate(filters):
        paths = [part.path for part in (one.request_redirect, one.url_rewrite) if part and part.path]
        if any(path.type == "ReplacePrefixMatch" for path in paths):
            return i
    return None


def _members(one: RouteFilter) -> dict[str, Any]:
    return {
        "requestHeaderModifier": one.request_header_modifier,
        "responseHeaderModifier": one.response_header_modifier,
        "requestMirror": one.request_mirror,
        "requestRedirect": one.request_redirect,
        "urlRewrite": one.url_rewrite,
        "extensionRef": one.extension_ref,
        "cors": one.cors,
        "externalAuth": one.external_auth,
    }


def _filter(one: RouteFilter, path: Path) -> Iterator[Fault]:
    wanted = MEMBERS.get(one.type)
    if wanted is None:
        return
    members = _members(one)
    if members[wanted] is None or members[wanted] == {}:
        yield Fault((*path, wanted), f"missing: write it; a filter of type {one.type} says here what it does")
    for name, value in members.items():
        if value not in (None, {}) and name != wanted:
            own = next(kind for kind, member in MEMBERS.items() if member == name)
            yield Fault((*path, name), f"does not go with type {one.type}: write `type: {own}`, or remove it")
    yield from _content(one, path)


def _content(one: RouteFilter, path: Path) -> Iterator[Fault]:
    for name, modifier in (("request", one.request_header_modifier), ("response", one.response_header_modifier)):
        if modifier:
            yield from _headers(modifier, (*path, f"{name}HeaderModifier"))
    for name, part in (("requestRedirect", one.request_redirect), ("urlRewrite", one.url_rewrite)):
        if part and part.hostname and is_ip(part.hostname):
            yield Fault((*path, name, "hostname"), f'"{part.hostname}" is an IP address: write a DNS name')
        if part and part.path:
            yield from _path(part.path, (*path, name, "path"))
    if one.request_mirror:
        yield from _mirror(one.request_mirror, (*path, "requestMirror"))
    if one.cors:
        yield from _cors(one.cors, (*path, "cors"))
    if one.external_auth:
        yield from _authorizer(one.external_auth, (*path, "externalAuth"))
    if one.extension_ref:
        for field in ("group", "kind", "name"):
            if field not in one.extension_ref:
                yield Fault((*path, "extensionRef", field), f"missing: write the {field} of what is referred to")


def _headers(modifier: HeaderModifier, path: Path) -> Iterator[Fault]:
    for name, headers in (("set", modifier.set), ("add", modifier.add)):
        names = [header.name.lower() for header in headers]
        yield from repeated(names, (*path, name), ("name",), "the header {value} stands at {first} already: remove one")
    names = [header.lower() for header in modifier.remove]
    yield from repeated(names, (*path, "remove"), (), "the header {value} stands at {first} already: remove one")


def _path(modifier: PathModifier, path: Path) -> Iterator[Fault]:
    full, prefix = modifier.replace_full_path, modifier.replace_prefix_match
    if modifier.type == "ReplaceFullPath":
        if full is None:
            yield Fault((*path, "replaceFullPath"), "missing: write the path that replaces the request's")
        if prefix is not None:
            yield Fault((*path, "replacePrefixMatch"), "does not go with ReplaceFullPath: write it `replaceFullPath`")
    else:
        if prefix is None:
            yield Fault((*path, "replacePrefixMatch"), "missing: write the path that replaces the matched prefix")
        if full is not None:
            yield Fault(
                (*path, "replaceFullPath"), "does not go with ReplacePrefixMatch: write it `replacePrefixMatch`"
            )


def _mirror(mirror: RequestMirror, path: Path) -> Iterator[Fault]:
    ref, fraction = mirror.backend_ref, mirror.fraction
    if not ref.group and ref.kind == "Service" and ref.port is None:
        yield Fault((*path, "backendRef", "port"), "missing: write the port of the Service")
    if mirror.percent is not None and fraction is not None:
        yield Fault((*path, "fraction"), "`percent` is set too: keep one of the two")
    if fraction is not None and fraction.numerator > fraction.denominator:
        message = f"{fraction.numerator} of {fraction.denominator} are more than all: write at most the denominator"
        yield Fault((*path, "fraction", "numerator"), message)


def _cors(cors: CorsFilter, path: Path) -> Iterator[Fault]:
    for name, values in (
        ("allowOrigins", cors.allow_origins),
        ("allowMethods", cors.allow_methods),
        ("allowHeaders", cors.allow_headers),
        ("exposeHeaders", cors.expose_headers),
    ):
        yield from repeated(values, (*path, name), (), "{value} stands at {first} already: remove one")
        if name != "exposeHeaders" and "*" in values and len(values) > 1:
            yield Fault((*path, name), "`*` stands for all: write it alone, or remove it")


def _authorizer(member: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """The backend of external authorization, which is kept as written."""
    backend = member.get("backendRef")
    if not isinstance(backend, dict) or not isinstance(backend.get("name"), str):
        yield Fault((*path, "backendRef"), "missing: write the name and the port of a Service")
    elif not backend.get("group") and backend.get("kind", "Service") == "Service" and "port" not in backend:
        yield Fault((*path, "backendRef", "port"), "missing: write the port of the Service")
