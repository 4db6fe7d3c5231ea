"""Filters of a rule or of one backend, read into the plan's edits, and those that we can't serve."""

from collections.abc import Iterable

from msgspec import Struct

from headgate.api.gateway import (
    CorsFilter,
    Header,
    HeaderModifier,
    PathModifier,
    RequestRedirect,
    RouteFilter,
    UrlRewrite,
)
from headgate.plan.conditions import Fault
from headgate.plan.plan import Cors, HeaderEdit, Redirect, Rewrite


class Edits(Struct, frozen=True):
    """What the filters of one rule (or one backend) do, together; their mirrors refer to others: see `mirrors`."""

    request: HeaderEdit | None = None
    response: HeaderEdit | None = None
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    cors: Cors | None = None


_SERVED = {"RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite", "RequestRedirect", "RequestMirror", "CORS"}
_PORTS = {"http": ":80", "https": ":443"}


def edits(filters: Iterable[RouteFilter]) -> Edits:
    """The filters that are served; each type at most once (the CRD says so)."""
    by_type = {one.type: one for one in filters}
    request, response = by_type.get("RequestHeaderModifier"), by_type.get("ResponseHeaderModifier")
    rewrite, redirect, cors = by_type.get("URLRewrite"), by_type.get("RequestRedirect"), by_type.get("CORS")
    return Edits(
        request=_headers(request.request_header_modifier) if request else None,
        response=_headers(response.response_header_modifier) if response else None,
        rewrite=_rewrite(rewrite.url_rewrite) if rewrite else None,
        redirect=_redirect(redirect.request_redirect) if redirect else None,
        cors=_cors(cors.cors) if cors else None,
    )


def refused(filters: Iterable[RouteFilter], place: str) -> list[str]:
    """What to say of the filters whose type is not served. ExtensionRefs are references: see `extensions`."""
    return [
        f"{place}.filters[{index}]: {one.type} is not served"
        for index, one in enumerate(filters)
        if one.type not in _SERVED and one.type != "ExtensionRef"
    ]


def extensions(filters: Iterable[RouteFilter], place: str) -> list[Fault]:
    """ExtensionRefs, none of which we know: what they were to filter gets an error (Gateway API: HTTPRouteFilter)."""
    return [
        Fault("InvalidKind", f"{place}.filters[{index}]: no ExtensionRef of kind {_kind(one)} is known")
        for index, one in enumerate(filters)
        if one.type == "ExtensionRef"
    ]


def _kind(one: RouteFilter) -> str:
    return f"{one.extension_ref.get('kind', '')} ({one.extension_ref.get('group') or 'core'})"


def replaces_prefix(filters: Iterable[RouteFilter]) -> bool:
    paths = [one.url_rewrite.path for one in filters if one.url_rewrite]
    paths += [one.request_redirect.path for one in filters if one.request_redirect]
    return any(path is not None and path.type == "ReplacePrefixMatch" for path in paths)


def _headers(modifier: HeaderModifier | None) -> HeaderEdit | None:
    if modifier is None:
        return None
    return HeaderEdit(
        set=_first_of_each(modifier.set),
        add=_first_of_each(modifier.add),
        remove=tuple(dict.fromkeys(name.lower() for name in modifier.remove)),
    )


def _first_of_each(headers: Iterable[Header]) -> tuple[tuple[str, str], ...]:
    """Of entries whose names differ only by case the first counts (Gateway API: HTTPHeader)."""
    values: dict[str, str] = {}
    for header in headers:
        values.setdefault(header.name.lower(), header.value)
    return tuple(values.items())


def _rewrite(rewrite: UrlRewrite | None) -> Rewrite | None:
    if rewrite is None:
        return None
    full, prefix = _path(rewrite.path)
    return Rewrite(hostname=rewrite.hostname and rewrite.hostname.lower(), full=full, prefix=prefix)


def _redirect(redirect: RequestRedirect | None) -> Redirect | None:
    if redirect is None:
        return None
    full, prefix = _path(redirect.path)
    hostname = redirect.hostname and redirect.hostname.lower()
    return Redirect(redirect.status_code, redirect.scheme, hostname, redirect.port, full, prefix)


def _path(path: PathModifier | None) -> tuple[str | None, str | None]:
    """`full` and `prefix`, one of them at most; a prefix's trailing slash means nothing and is left out."""
    if path is None:
        return None, None
    if path.type == "ReplaceFullPath":
        return path.replace_full_path or "/", None
    return None, (path.replace_prefix_match or "").rstrip("/")


def _cors(cors: CorsFilter | None) -> Cors | None:
    if cors is None:
        return None
    return Cors(
        origins=tuple(dict.fromkeys(_origin(origin) for origin in cors.allow_origins)),
        credentials=cors.allow_credentials,
        methods=cors.allow_methods,
        headers=cors.allow_headers,
        exposed=cors.expose_headers,
        max_age_s=cors.max_age,
    )


def _origin(origin: str) -> str:
    """As a browser writes it: lower case, without a port that is the scheme's own."""
    scheme, _, _ = origin.lower().partition(":")
    return origin.lower().removesuffix(_PORTS.get(scheme, "\0"))
