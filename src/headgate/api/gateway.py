"""The Gateway API's objects (gateway.networking.k8s.io/v1, v1beta1), field for field."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import (
    Duration,
    Group,
    HeaderName,
    HeaderValue,
    Hostname,
    KindName,
    Label,
    LabelKey,
    LabelValue,
    Origin,
    PreciseHostname,
    Protocol,
    Subdomain,
)
from headgate.api.meta import Meta, Name, Port
from headgate.api.tls import ClientValidation, GatewayTLS

Filters = Annotated[tuple["RouteFilter", ...], msgspec.Meta(max_length=16)]


class Expression(Struct, frozen=True, rename="camel"):
    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[LabelValue, ...] = ()


class LabelSelector(Struct, frozen=True, rename="camel"):
    match_labels: Mapping[LabelKey, LabelValue] = {}
    match_expressions: tuple[Expression, ...] = ()


class GatewayClass(Struct, frozen=True):
    meta: Meta
    controller_name: str


class RouteNamespaces(Struct, frozen=True, rename="camel"):
    from_: Literal["All", "Selector", "Same", "None"] = msgspec.field(name="from", default="Same")
    selector: LabelSelector | None = None


class RouteKind(Struct, frozen=True, rename="camel"):
    kind: KindName
    group: Group = "gateway.networking.k8s.io"


class AllowedRoutes(Struct, frozen=True, rename="camel"):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteKind, ...], msgspec.Meta(max_length=8)] = ()


class ObjectRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: KindName = "Secret"
    namespace: Label | None = None


class ListenerTLS(Struct, frozen=True, rename="camel"):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[tuple[ObjectRef, ...], msgspec.Meta(max_length=64)] = ()
    frontend_validation: ClientValidation | None = None  # its place up to v1.3 of the API
    options: Annotated[Mapping[LabelKey, str], msgspec.Meta(max_length=16)] = {}


class Listener(Struct, frozen=True, rename="camel"):
    name: Subdomain
    port: Port
    protocol: Protocol
    hostname: Hostname = ""
    tls: ListenerTLS | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewayAddress(Struct, frozen=True, rename="camel"):
    value: Annotated[str, msgspec.Meta(max_length=253)] = ""
    type: Name = "IPAddress"


API_KEYS = "headgate.dev/api-keys"


class Gateway(Struct, frozen=True):
    """With the annotation `headgate.dev/api-keys: SECRET[,SECRET]` clients need a key: see `named_secrets`."""

    meta: Meta
    gateway_class_name: str
    listeners: tuple[Listener, ...]
    addresses: tuple[GatewayAddress, ...] = ()
    tls: GatewayTLS = GatewayTLS()


def named_secrets(meta: Meta) -> tuple[str, ...]:
    """The Secrets in a Gateway's own namespace that hold its clients' keys: each entry is a client's name and key."""
    written = meta.annotations.get(API_KEYS, "")
    return tuple(dict.fromkeys(name.strip() for name in written.split(",") if name.strip()))


class ParentRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = "gateway.networking.k8s.io"
    kind: KindName = "Gateway"
    namespace: Label | None = None
    section_name: Subdomain | None = None
    port: Port | None = None


class PathMatch(Struct, frozen=True, rename="camel"):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, msgspec.Meta(max_length=1024)] = "/"


class FieldMatch(Struct, frozen=True, rename="camel"):
    """A match on a header or a query parameter."""

    name: HeaderName
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


class RouteMatch(Struct, frozen=True, rename="camel"):
    path: PathMatch = PathMatch()
    headers: Annotated[tuple[FieldMatch, ...], msgspec.Meta(max_length=16)] = ()
    query_params: Annotated[tuple[FieldMatch, ...], msgspec.Meta(max_length=16)] = ()
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = None


class Header(Struct, frozen=True, rename="camel"):
    name: HeaderName
    value: HeaderValue


class HeaderModifier(Struct, frozen=True, rename="camel"):
    set: Annotated[tuple[Header, ...], msgspec.Meta(max_length=16)] = ()
    add: Annotated[tuple[Header, ...], msgspec.Meta(max_length=16)] = ()
    remove: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=16)] = ()


class PathModifier(Struct, frozen=True, rename="camel"):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, msgspec.Meta(max_length=1024)] | None = None


class UrlRewrite(Struct, frozen=True, rename="camel"):
    hostname: PreciseHostname | None = None
    path: PathModifier | None = None


class RequestRedirect(Struct, frozen=True, rename="camel"):
    scheme: Literal["http", "https"] | None = None
    hostname: PreciseHostname | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class BackendObjectRef(Struct, frozen=True, rename="camel"):
    """Where a copy of a request goes."""

    name: Name
    group: Group = ""
    kind: KindName = "Service"
    namespace: Label | None = None
    port: Port | None = None


class Fraction(Struct, frozen=True):
    numerator: Annotated[int, msgspec.Meta(ge=0)]
    denominator: Annotated[int, msgspec.Meta(ge=1)] = 100


class RequestMirror(Struct, frozen=True, rename="camel"):
    """Neither percent nor fraction: every request."""

    backend_ref: BackendObjectRef
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class CorsFilter(Struct, frozen=True, rename="camel"):
    allow_origins: Annotated[tuple[Origin, ...], msgspec.Meta(max_length=64)] = ()
    allow_credentials: bool = False
    allow_methods: Annotated[
        tuple[Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"], ...],
        msgspec.Meta(max_length=9),
    ] = ()
    allow_headers: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=64)] = ()
    expose_headers: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=64)] = ()
    max_age: Annotated[int, msgspec.Meta(ge=1)] = 5


class RouteFilter(Struct, frozen=True, rename="camel"):
    """One filter; the member that goes with `type` is set. Those we do not serve stay as written."""

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
    request_mirror: RequestMirror | None = None
    extension_ref: Mapping[str, Any] = {}
    cors: CorsFilter | None = None
    external_auth: Mapping[str, Any] = {}


class BackendRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: KindName = "Service"
    namespace: Label | None = None
    port: Port | None = None
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    filters: Filters = ()


class RouteTimeouts(Struct, frozen=True, rename="camel"):
    """Durations as written (GEP-2257: `10s`, `1m30s`, `500ms`); "" where none is set, `0s` for no limit."""

    request: Duration = ""
    backend_request: Duration = ""


class RouteRetry(Struct, frozen=True, rename="camel"):
    codes: tuple[Annotated[int, msgspec.Meta(ge=400, le=599)], ...] = ()
    attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    backoff: Duration = ""


class CookieLifetime(Struct, frozen=True, rename="camel"):
    """What releases up to v1.6 say of a session's cookie."""

    lifetime_type: Literal["Session", "Permanent"] = "Session"


class SessionCookie(Struct, frozen=True, rename="camel"):
    name: HeaderName | None = None
    path: Annotated[str, msgspec.Meta(max_length=1024)] = "/"
    lifetime_type: Literal["Session", "Permanent"] = "Session"


class SessionHeader(Struct, frozen=True):
    name: HeaderName


class SessionPersistence(Struct, frozen=True, rename="camel"):
    """Releases up to v1.6 write `sessionName`, `idleTimeout` and `cookieConfig`; later ones `cookie` and `header`."""

    type: Literal["Cookie", "Header"] = "Cookie"
    absolute_timeout: Duration = ""
    idle_timeout: Duration = ""
    session_name: Annotated[str, msgspec.Meta(max_length=128)] = ""
    cookie_config: CookieLifetime | None = None
    cookie: SessionCookie | None = None
    header: SessionHeader | None = None

    @property
    def permanent(self) -> bool:
        written = self.cookie or self.cookie_config
        return written is not None and written.lifetime_type == "Permanent"


class RouteRule(Struct, frozen=True, rename="camel"):
    matches: Annotated[tuple[RouteMatch, ...], msgspec.Meta(max_length=64)] = (RouteMatch(),)
    filters: Filters = ()
    backend_refs: Annotated[tuple[BackendRef, ...], msgspec.Meta(max_length=16)] = ()
    timeouts: RouteTimeouts = RouteTimeouts()
    retry: RouteRetry | None = None
    session_persistence: SessionPersistence | None = None
    name: Subdomain | None = None


class HTTPRoute(Struct, frozen=True):
    meta: Meta
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = (RouteRule(),)


class GrantFrom(Struct, frozen=True, rename="camel"):
    group: Group
    kind: KindName
    namespace: Label


class GrantTo(Struct, frozen=True, rename="camel"):
    group: Group
    kind: KindName
    name: Name | None = None


class ReferenceGrant(Struct, frozen=True):
    meta: Meta
    from_: tuple[GrantFrom, ...] = msgspec.field(name="from")
    to: tuple[GrantTo, ...]
