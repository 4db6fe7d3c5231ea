"""The Gateway API's objects (gateway.networking.k8s.io/v1, v1beta1), field for field."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.meta import Meta, Name, Port

Group = Annotated[str, msgspec.Meta(max_length=253)]


class Expression(Struct, frozen=True, rename="camel"):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Struct, frozen=True, rename="camel"):
    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[Expression, ...] = ()


class GatewayClass(Struct, frozen=True):
    meta: Meta
    controller_name: str


class RouteNamespaces(Struct, frozen=True, rename="camel"):
    from_: Literal["All", "Selector", "Same", "None"] = msgspec.field(name="from", default="Same")
    selector: LabelSelector | None = None


class RouteKind(Struct, frozen=True, rename="camel"):
    kind: str
    group: Group = "gateway.networking.k8s.io"


class AllowedRoutes(Struct, frozen=True, rename="camel"):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteKind, ...] = ()


class ObjectRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: str = "Secret"
    namespace: str | None = None


class ListenerTLS(Struct, frozen=True, rename="camel"):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: tuple[ObjectRef, ...] = ()
    frontend_validation: Mapping[str, Any] = {}
    options: Mapping[str, str] = {}


class Listener(Struct, frozen=True, rename="camel"):
    name: Name
    port: Port
    protocol: str
    hostname: str = ""
    tls: ListenerTLS | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewayAddress(Struct, frozen=True, rename="camel"):
    value: str = ""
    type: str = "IPAddress"


class Gateway(Struct, frozen=True):
    meta: Meta
    gateway_class_name: str
    listeners: tuple[Listener, ...]
    addresses: tuple[GatewayAddress, ...] = ()


class ParentRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: str | None = None
    port: Port | None = None


class PathMatch(Struct, frozen=True, rename="camel"):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class FieldMatch(Struct, frozen=True, rename="camel"):
    """A match on a header or a query parameter."""

    name: Name
    value: str
    type: Literal["Exact", "RegularExpression"] = "Exact"


class RouteMatch(Struct, frozen=True, rename="camel"):
    path: PathMatch = PathMatch()
    headers: tuple[FieldMatch, ...] = ()
    query_params: tuple[FieldMatch, ...] = ()
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = None


class Header(Struct, frozen=True, rename="camel"):
    name: Name
    value: str


class HeaderModifier(Struct, frozen=True, rename="camel"):
    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class PathModifier(Struct, frozen=True, rename="camel"):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class UrlRewrite(Struct, frozen=True, rename="camel"):
    hostname: str | None = None
    path: PathModifier | None = None


class RequestRedirect(Struct, frozen=True, rename="camel"):
    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class RouteFilter(Struct, frozen=True, rename="camel"):
    """One filter; the member that goes with `type` is set. Those we do not serve yet stay as written."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    request_mirror: Mapping[str, Any] = {}
    extension_ref: Mapping[str, Any] = {}
    cors: Mapping[str, Any] = {}
    external_auth: Mapping[str, Any] = {}


class BackendRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: str = "Service"
    namespace: str | None = None
    port: Port | None = None
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    filters: tuple[RouteFilter, ...] = ()


class RouteTimeouts(Struct, frozen=True, rename="camel"):
    """Durations as written (GEP-2257: `10s`, `1m30s`, `500ms`); "" where none is set, `0s` for no limit."""

    request: str = ""
    backend_request: str = ""


class RouteRetry(Struct, frozen=True, rename="camel"):
    codes: tuple[int, ...] = ()
    attempts: int | None = None
    backoff: str = ""


class RouteRule(Struct, frozen=True, rename="camel"):
    matches: tuple[RouteMatch, ...] = (RouteMatch(),)
    filters: tuple[RouteFilter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: RouteTimeouts = RouteTimeouts()
    retry: RouteRetry | None = None
    session_persistence: Mapping[str, Any] = {}
    name: str | None = None


class HTTPRoute(Struct, frozen=True):
    meta: Meta
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = (RouteRule(),)


class GrantFrom(Struct, frozen=True, rename="camel"):
    group: Group
    kind: str
    namespace: str


class GrantTo(Struct, frozen=True, rename="camel"):
    group: Group
    kind: str
    name: str | None = None


class ReferenceGrant(Struct, frozen=True):
    meta: Meta
    from_: tuple[GrantFrom, ...] = msgspec.field(name="from")
    to: tuple[GrantTo, ...]
