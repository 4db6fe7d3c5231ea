"""What is asked for, and how is it put to a server?  `receive`: Asked → Job, or a Respond that ends it here."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from headgate.exchange.body import NOTHING, Reading, read_body, with_model
from headgate.exchange.caller import ANYONE, Caller, backend_of_session, recognise
from headgate.exchange.coding import ACCEPTED, read_coded
from headgate.exchange.cors import preflight, share
from headgate.exchange.departure import model_lines, outward, request_line
from headgate.exchange.edits import location, rewrite
from headgate.exchange.events import Asked, Decode, Decoded, Respond
from headgate.exchange.forwarded import asked_host
from headgate.exchange.informed import informed
from headgate.exchange.models import asks_for_models, list_models, unknown_model
from headgate.exchange.record import Record
from headgate.exchange.refuse import refuse, sentence
from headgate.exchange.request import RequestHead, wire
from headgate.exchange.resolve import resolve, settled
from headgate.exchange.router import Asking, Routes, find_route, find_shared, hostname
from headgate.exchange.site import Site, Way, reachable
from headgate.exchange.slo import with_slos
from headgate.exchange.stream_options import takes_options, with_usage
from headgate.exchange.wishes import Wishes
from headgate.fleet.prefix import ladder
from headgate.pick.decision import Ask
from headgate.pick.profile import Profile
from headgate.plan.plan import Backend, Redirect, Route

_LONGEST_PATH = 1024  # characters of a path that are recorded
_WAYS_REMEMBERED = 1024  # clients choose targets and models: what is kept for them is bounded
_LONGEST_REMEMBERED = 256
_NAMING = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")  # their bodies name a model
_IDEMPOTENT = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE")  # RFC 9110 §9.2.2


class Job(Struct, frozen=True, gc=False):
    """A request as a pool's servers will see it. `ends` is when the whole of it must be over, None for no limit.

    `repeatable`: doing it twice does no harm. `hides`: the stream will have usage that the client did not ask for.
    """

    way: Way
    head: bytes
    ask: Ask
    repeatable: bool
    ends: float | None
    hides: bool = False
    caller: Caller = ANYONE
    wishes: Wishes | None = None

    def over(self, asked_at: float, now: float) -> str:
        """Which limit is over, in words."""
        if self.ends is not None and now >= self.ends:
            return f"the whole request may take {self.ends - asked_at:g} s"
        return f"one attempt may take {self.way.route.backend_timeout_s or 0.0:g} s"


def receive(
    event: Asked, site: Site, record: Record, decoded: Decoded | None = None
) -> tuple[Job, bytes] | Respond | Decode:
    """The job and its body, which need not be kept as long. Fills `record` as far as it gets.

    Where it says Decode, it wants to be asked again with what came of that.
    """
    head, body = event.head, event.body
    record.id = (head.id or event.id).decode("latin-1")
    record.peer = event.peer.decode("latin-1")
    record.bytes_in = len(body)
    record.asked_at = event.now
    if head.refusal is not None:
        _record_target(record, head)
        return head.refusal
    if head.encoding and body:
        found = read_coded(event, _host(head), site, decoded)
        if isinstance(found, Decode | Respond):
            _record_target(record, head)
            return found
        reading = found
    else:
        reading = read_body(head.kind, body) if body else Reading(event.model) if event.model else NOTHING
    key = (head.method, head.raw, head.host, reading.model)
    way = site.ways.get(key)
    if way is None:
        new = _find_way(event, site, record, reading)
        if type(new) is Respond:
            return new
        assert isinstance(new, Way)
        way = new
        if _holds(way, head):
            if len(site.ways) >= _WAYS_REMEMBERED:
                site.ways.clear()
            site.ways[key] = way
    record.method, record.host, record.path = way.method, way.host, way.path
    record.route, record.pool, record.model = way.route.name, way.pool, reading.model
    if way.gate is not None:
        admitted = way.gate.admit(head)
        if isinstance(admitted, Respond):
            return _shared(admitted, way, head)
        record.client, head = admitted.client, admitted.head
    return _for_pool(event, head, reading, site, record, way, decoded)


def _host(head: RequestHead) -> str:
    """The host of an absolute target counts more than the Host header."""
    return head.target.host if head.target.host is not None else head.host.decode("latin-1")


def _record_target(record: Record, head: RequestHead) -> None:
    path = head.target.path
    record.method = head.method.decode("latin-1")
    record.path = path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…"


def _holds(way: Way, head: RequestHead) -> bool:
    """Whether the next such request goes the same way: no dice were thrown, and no header looked at but the model's.

    What OPTIONS asks for (Fetch §3.3.5) stands in headers.
    """
    return (
        len(way.route.backends) == 1
        and len(head.raw) <= _LONGEST_REMEMBERED
        and head.method != b"OPTIONS"
        and all(h.name == "x-gateway-model-name" for c in way.routes for h in c.route.match.headers)
    )


def _find_way(event: Asked, site: Site, record: Record, reading: Reading) -> Way | Respond:
    """The route and the backend, or the answer where there is none to be had."""
    head, target = event.head, event.head.target
    _record_target(record, head)
    host = _host(head)
    routes = site.router.routes_for(host)
    if routes is None:
        return _unknown_host(host, site)
    record.host = host
    asking = Asking(record.method, target.path, target.query, reading.model, site.base_models, head.headers)
    origin = head.told(b"origin")
    if not origin:
        return _take(event, site, record, reading, routes, asking)
    method = head.told(b"access-control-request-method") if head.method == b"OPTIONS" else b""
    allowing = find_shared(routes, asking, method.decode("latin-1") or record.method)
    if allowing is None:
        return _take(event, site, record, reading, routes, asking)
    route, cors = allowing
    if method:
        record.route = route.name
        return preflight(cors, origin, method, head.told(b"access-control-request-headers"))
    found = _take(event, site, record, reading, routes, asking)
    if isinstance(found, Respond):
        found = replace(found, headers=share(cors, origin, found.headers))
    return found


def _take(event: Asked, site: Site, record: Record, reading: Reading, routes: Routes, asking: Asking) -> Way | Respond:
    head, target = event.head, event.head.target
    route = find_route(routes, asking)
    gate = site.router.gate_for(record.host) if route is None else site.router.gate_of(route)
    if gate is not None:
        admitted = gate.admit(head)
        if isinstance(admitted, Respond):
            return admitted
        record.client = admitted.client
    if (
        site.limits.lists_models
        and asks_for_models(record.method, target.path)
        and (models := list_models(target.path, site, routes))
    ):
        return models
    record.model = reading.model
    if route is None:
        return _unrouted(record, reading, site, routes)
    record.route = route.name
    if route.redirect is not None:
        return _redirect(route.redirect, route, event, site, record.host)
    backend = backend_of_session(route.session, route.backends, event, site) or _weighted(route.backends, site.dice)
    if backend is None or backend.pool is None or backend.pool not in site.pools:
        why = f": {backend.reason}" if backend is not None and backend.reason else ""
        return refuse(backend.status if backend is not None else 500, f"The route {route.name} has no backend{why}.")
    if backend.redirect is not None:
        return _redirect(backend.redirect, route, event, site, record.host)
    cors = route.cors or backend.cors
    pool = site.pools[backend.pool].pool
    seen, _ = rewrite(target.text, "", route.match, backend.rewrite, route.rewrite)
    return Way(
        record.method,
        record.host,
        record.path,
        routes,
        route,
        backend,
        backend.pool,
        request_line(head.method, target.text, record.host) + wire(asked_host(record.host)),
        settled(pool, reading.model),
        site.base_models.get(reading.model, ""),
        model_lines(site, reading.model),
        edited=any(edit is not None for edit in (route.request, backend.request, route.rewrite, backend.rewrite)),
        dressed=any(edit is not None for edit in (route.response, backend.response, cors, route.session)),
        inference=site.pools[backend.pool].pool.kind == "inference",
        bare=not (route.session or route.backend_timeout_s or route.mirrors or backend.mirrors),
        cors=cors,
        mirrors=route.mirrors + backend.mirrors,
        counted=pool.kind == "inference",
        asks=pool.kind == "inference" and pool.include_usage and takes_options(seen),
        gate=gate,
    )


def _redirect(redirect: Redirect, route: Route, event: Asked, site: Site, host: str) -> Respond:
    scheme, target, served = site.scheme.decode(), event.head.target.text, site.served_at
    where = location(redirect, route.match, scheme=scheme, host=host, target=target, served=served)
    return Respond(redirect.status, [(b"location", where.encode("latin-1", "replace"))], b"")


def _for_pool(
    event: Asked, head: RequestHead, reading: Reading, site: Site, record: Record, way: Way, decoded: Decoded | None
) -> tuple[Job, bytes] | Respond:
    """`head` is that of the event without what is not for servers."""
    view = site.pools.get(way.pool)
    if view is None:
        why = f"The route {way.route.name} has no backend: the pool {way.pool} is gone."
        return _shared(refuse(500, why), way, head)
    pool, route = view.pool, way.route
    model, prompt, body = reading.model, reading.prompt, event.body
    repeatable, asking = True, None
    if pool.kind != "inference":
        repeatable = head.method in _IDEMPOTENT
        prompt, decoded = b"", None
    elif reading.error or (not model and body and site.limits.needs_model and way.path.endswith(_NAMING)):
        return _shared(_unreadable(reading), way, head)
    else:
        if decoded is not None:
            body = decoded.body
        objective = head.objective
        resolution = way.resolution
        if objective or resolution is None:
            resolution = resolve(pool, model, objective, site.dice)
            if objective in pool.objectives:  # what else clients write there is nobody's
                record.objective = objective
        record.priority, record.resolved_by = resolution.priority, resolution.by
        if model and resolution.model != model:
            model = resolution.model
            renamed = with_model(head.kind, body, model) if body else body
            if renamed is None:
                return _shared(refuse(400, "The body is not valid JSON: a key is not UTF-8."), way, head)
            body = renamed
        if reading.stream and way.asks and event.returns and (asking := with_usage(body, reading.options)) is not None:
            body = asking
    record.target = model
    start, body = outward(event, head, body, site, record, way, view, decoded is not None)
    whole = route.timeout_s if route.timeout_s is not None else pool.timeout_s
    if whole is None:
        whole = site.limits.request_s
    rungs, profile = ladder(model, prompt) if prompt else (), view.profile
    ask = Ask(model, rungs, len(prompt), record.priority, event.subset)
    if profile.foresight is not None or profile.wants is not None:
        told = _told(ask, profile, head, body, event.now)
        if isinstance(told, Respond):
            return _shared(told, way, head)
        ask = told
    job = Job(
        way,
        start,
        ask,
        repeatable,
        event.now + whole if whole else None,
        asking is not None,
        ANYONE,
        head.wishes,
    )
    if way.dressed:
        job = replace(job, caller=recognise(event, site, view, way))
    return job, body


def _told(ask: Ask, profile: Profile, head: RequestHead, body: bytes, now: float) -> Ask | Respond:
    """The same with what the profile wants to know of the request besides."""
    found = ask if profile.foresight is None else with_slos(ask, head)
    if isinstance(found, Respond) or profile.wants is None:
        return found
    return informed(found, profile.wants, head, body, now)


def _shared(refusal: Respond, way: Way, head: RequestHead) -> Respond:
    """A refusal that a page from elsewhere may read as it may the answers."""
    if way.cors is None:
        return refusal
    return replace(refusal, headers=share(way.cors, head.told(b"origin"), refusal.headers))


def _weighted(backends: tuple[Backend, ...], dice: Callable[[], float]) -> Backend | None:
    """One backend by weight; None where there is none, or none of any weight."""
    if len(backends) == 1:
        return backends[0] if backends[0].weight else None
    mark = dice() * sum(backend.weight for backend in backends)
    for backend in backends:
        mark -= backend.weight
        if mark < 0:
            return backend
    return None


def _unreadable(reading: Reading) -> Respond:
    if not reading.error:
        return refuse(400, "The body names no model.", param="model")
    code = "body_too_large" if reading.status == 413 else None
    accepted = ACCEPTED if reading.status == 415 else None
    return refuse(reading.status, sentence(reading.error), code=code, param=reading.param, headers=accepted)


def _unknown_host(host: str, site: Site) -> Respond:
    if hostname(host) is None:
        return refuse(400, "The Host header is not valid: it must be a host name or address, with or without a port.")
    if site.router.misdirected(host):
        message = f"This connection was made for another host than `{host}`: open one for that."
        return refuse(421, message, code="misdirected_request")
    return refuse(404, f"No listener here serves the host `{host}`.")


def _unrouted(record: Record, reading: Reading, site: Site, routes: Routes) -> Respond:
    models = reachable(site, routes)
    if not models:
        return refuse(404, f"No route here takes {record.method} {record.path}.")
    if reading.error:
        return _unreadable(reading)
    if reading.model and reading.model not in models:
        return unknown_model(reading.model, models)
    model = f"for the model `{reading.model}`" if reading.model else "without a model"
    return refuse(404, f"No route here takes {record.method} {record.path} {model}.")
