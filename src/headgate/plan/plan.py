"""What the gateway should do: a value with no Kubernetes word and no Envoy word in it.

Names are `namespace/name`; a pool made from a service is `namespace/name:port`. Times are seconds. Text that the
data plane compares without regard to case (header names, hostnames) is lower case here already.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from headgate.api.picker import Picking
from headgate.plan.keys import Keys
from headgate.plan.tls import Origination, Termination


class HeaderEdit(Struct, frozen=True, omit_defaults=True):
    """In this order: remove, set, add (Gateway API: HTTPHeaderFilter)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class Rewrite(Struct, frozen=True, omit_defaults=True):
    """`full` replaces the path; `prefix` replaces the part that the route's path prefix matched.

    A prefix has no trailing slash ("" for none at all); a path that comes out empty is `/`.
    """

    hostname: str | None = None
    full: str | None = None
    prefix: str | None = None


class Redirect(Struct, frozen=True, omit_defaults=True):
    status: int = 302
    scheme: str | None = None
    hostname: str | None = None
    port: int | None = None
    full: str | None = None
    prefix: str | None = None


class Mirror(Struct, frozen=True, omit_defaults=True):
    """A copy of some requests goes to one endpoint of the pool; what it answers is thrown away."""

    pool: str
    share: float = 1.0  # of the requests, above 0


class Cors(Struct, frozen=True, omit_defaults=True):
    """Which pages may read the answers (Gateway API: HTTPCORSFilter; Fetch §3.3).

    An origin is `*`, `scheme://host` or `scheme://*.host`, lower case, with a port where it is not the scheme's own;
    `scheme://*` has any host. `*` as a method or a header stands for all. Nothing is allowed that is not named.
    """

    origins: tuple[str, ...] = ()
    credentials: bool = False
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: int = 5


class Session(Struct, frozen=True, omit_defaults=True):
    """Requests of one session go to one endpoint, for as long as it serves.

    A token of another rule means nothing, also under the same name.
    """

    rule: str  # namespace/name/rule
    name: str  # of the cookie, or of the header (lower case)
    header: bool = False
    path: str = "/"  # of the cookie
    permanent: bool = False  # the cookie outlives the browser, for `absolute_s`
    absolute_s: float | None = None  # since the session began; None no limit
    idle_s: float | None = None  # since its last request; None no limit


class Retry(Struct, frozen=True, omit_defaults=True):
    """What is done again besides requests that reached no server: also those that broke, took too long, or got a code.

    `attempts` come after the first; None the default.
    """

    codes: tuple[int, ...] = ()
    attempts: int | None = None
    backoff_s: float | None = None  # the least between two attempts; None at once


class TextMatch(Struct, frozen=True, omit_defaults=True):
    """`name` is a header (lower case) or a query parameter. A regex (Python's `re`) must match the whole value."""

    name: str
    value: str
    kind: Literal["exact", "regex"] = "exact"


class Match(Struct, frozen=True, omit_defaults=True):
    """All of it must hold. A prefix (no trailing slash but in `/`) matches by path elements: `/a` is not one of `/ab`.

    A path's regex must match the whole path, without the query.
    """

    path: str = "/"
    path_kind: Literal["exact", "prefix", "regex"] = "prefix"
    method: str = ""
    headers: tuple[TextMatch, ...] = ()
    query: tuple[TextMatch, ...] = ()


class Backend(Struct, frozen=True, omit_defaults=True):
    """`pool` is None where what was referred to is not there (or not allowed): its share gets `status` (500).

    What filters do is done for the requests that this backend gets, besides what those of the route do to all.
    """

    pool: str | None
    weight: int = 1
    request: HeaderEdit | None = None
    response: HeaderEdit | None = None
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    status: int = 500
    reason: str = ""


class Route(Struct, frozen=True, omit_defaults=True):
    """One match of one rule. `backends` empty and no redirect: every request gets 500, by the Gateway API.

    A match with hostnames both exact and wildcard comes once for each sort of them, under one name: in the order of
    precedence other routes may stand between.
    """

    name: str  # namespace/name/rule/match
    match: Match
    hostnames: tuple[str, ...] = ()  # what both listener and route allow; () any, `*.x` a wildcard
    backends: tuple[Backend, ...] = ()
    request: HeaderEdit | None = None
    response: HeaderEdit | None = None
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    session: Session | None = None
    retry: Retry | None = None
    ring: str = ""  # the listener's keys of which clients need one, "" where they need none
    timeout_s: float | None = None  # the whole request; None the default, 0 no limit
    backend_timeout_s: float | None = None  # one attempt


class Listener(Struct, frozen=True, omit_defaults=True):
    """One listener of one gateway. Its routes are in order of precedence: the first that matches wins.

    `ring` is for requests that no route takes.
    """

    gateway: str
    name: str
    port: int
    protocol: Literal["HTTP", "HTTPS"] = "HTTP"
    hostname: str = ""  # "" any
    addresses: tuple[str, ...] = ()  # those the gateway asks for, () the runtime's choice
    routes: tuple[Route, ...] = ()
    tls: Termination | None = None  # of protocol HTTPS
    ring: str = ""
    keys: Mapping[str, Keys] = {}  # by ring: those that it and its routes name


class Target(Struct, frozen=True, omit_defaults=True):
    model: str
    weight: int = 1


class Model(Struct, frozen=True, omit_defaults=True):
    """A model name that clients may ask a pool for. No targets: the server knows it by the same name."""

    name: str
    priority: int = 0  # Critical 1, Standard 0, Sheddable -1
    targets: tuple[Target, ...] = ()


class ModelRule(Struct, frozen=True, omit_defaults=True):
    """A rewrite rule; `models` empty matches every model. A pool holds them in order of precedence."""

    name: str  # namespace/name of the object that said so
    models: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


class HealthCheck(Struct, frozen=True, omit_defaults=True):
    path: str = "/health"
    port: int | None = None
    interval_s: float = 5.0
    timeout_s: float = 5.0
    healthy: int = 2
    unhealthy: int = 2
    tcp: bool = False  # connect only


class Pool(Struct, frozen=True, omit_defaults=True):
    """Endpoints that can serve the same requests, found by the labels of what runs.

    `inference` pools choose by load, KV cache, adapters and prefixes; `service` pools take any ready endpoint.
    A port may be a name, as the server's own declaration calls it.
    """

    name: str
    namespace: str
    selector: Mapping[str, str]
    ports: tuple[int | str, ...]
    kind: Literal["inference", "service"] = "inference"
    app_protocol: str = "http"
    fail_open: bool = False
    models: Mapping[str, Model] = {}
    rules: tuple[ModelRule, ...] = ()
    objectives: Mapping[str, int] = {}  # name → priority
    health: HealthCheck | None = None
    timeout_s: float | None = None
    max_rate_per_endpoint: int | None = None
    tls: Origination | None = None  # None: plain HTTP
    include_usage: bool = True  # streams are asked for it where the client does not ask
    picking: Picking | None = None  # None: as by default
    shadow: Picking | None = None  # chooses too, and nothing is sent by it


class Plan(Struct, frozen=True, omit_defaults=True):
    listeners: tuple[Listener, ...] = ()
    pools: Mapping[str, Pool] = {}
    base_models: Mapping[str, str] = {}  # adapter (or model) → base model, as configuration says


class Condition(Struct, frozen=True, omit_defaults=True):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


class ParentStatus(Struct, frozen=True, omit_defaults=True):
    parent: str  # "Gateway namespace/name", with " section" and ":port" where the reference names them
    conditions: tuple[Condition, ...] = ()


class ListenerStatus(Struct, frozen=True, omit_defaults=True):
    name: str
    attached_routes: int = 0
    supported_kinds: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Status(Struct, frozen=True, omit_defaults=True):
    """The status of one object, in the words of its specification."""

    kind: str
    name: str  # namespace/name
    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    parents: tuple[ParentStatus, ...] = ()


Statuses = tuple[Status, ...]  # sorted by kind, then name
