"""What is asked for, and how is it put to a server?  `receive`: Asked → Job, or a Respond that ends it here."""

from collections.abc import Callable

from msgspec import Struct

from headgate.exchange.body import NOTHING, Reading, read_body, with_model
from headgate.exchange.edits import edit_headers, location, rewrite_target
from headgate.exchange.events import Asked, Respond
from headgate.exchange.models import asks_for_models, list_models, unknown_model
from headgate.exchange.record import Record
from headgate.exchange.refuse import refuse, sentence
from headgate.exchange.request import Request, read_request
from headgate.exchange.resolve import resolve
from headgate.exchange.router import Asking, Routes, find_route, hostname
from headgate.exchange.site import PoolView, Site, Way, reachable
from headgate.fleet.prefix import ladder
from headgate.pick.decision import Ask
from headgate.plan.plan import Backend, Route

_LONGEST_PATH = 1024  # characters of a path that are recorded
_WAYS_REMEMBERED = 1024  # clients choose targets and models: what is kept for them is bounded
_LONGEST_REMEMBERED = 256
_BODILESS = (b"GET", b"HEAD", b"OPTIONS", b"DELETE")  # methods that need no `content-length: 0`
_IDEMPOTENT = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE")  # RFC 9110 §9.2.2


class Job(Struct, frozen=True, gc=False):
    """A request as a pool's servers will see it. `ends` is when the whole of it must be over, None for no limit.

    `repeatable`: doing it twice does no harm.
    """

    routes: Routes
    route: Route
    backend: Backend
    pool: str
    head: bytes
    ask: Ask
    repeatable: bool
    ends: float | None


def receive(event: Asked, site: Site, record: Record) -> tuple[Job, bytes] | Respond:
    """The job and its body, which need not be kept as long. Fills `record` as far as it gets."""
    request = read_request(event)
    record.id = request.id.decode("latin-1")
    record.peer = event.peer.decode("latin-1")
    record.bytes_in = len(event.body)
    record.asked_at = event.now
    told = request.told
    if request.refusal is not None:
        _record_target(record, event, request)
        return request.refusal
    reading = read_body(told.get(b"content-type", b""), event.body, request.encoding) if event.body else NOTHING
    key = (event.method, event.target, told.get(b"host", b""), reading.model)
    way = site.ways.get(key)
    if way is None:
        found = _find_way(event, site, record, request, reading)
        if type(found) is Respond:
            return found
        assert isinstance(found, Way)
        way = found
        if _holds(way, event):
            if len(site.ways) >= _WAYS_REMEMBERED:
                site.ways.clear()
            site.ways[key] = way
    record.method, record.host, record.path = way.method, way.host, way.path
    record.route, record.pool, record.model = way.route.name, way.pool, reading.model
    return _for_pool(event, request, reading, site, record, way)


def _record_target(record: Record, event: Asked, request: Request) -> None:
    path = request.target.path
    record.method = event.method.decode("latin-1")
    record.path = path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…"


def _holds(way: Way, event: Asked) -> bool:
    """Whether the next such request goes the same way: no dice were thrown, and no header looked at but the model's."""
    return (
        len(way.route.backends) == 1
        and len(event.target) <= _LONGEST_REMEMBERED
        and all(h.name == "x-gateway-model-name" for c in way.routes for h in c.route.match.headers)
    )


def _find_way(event: Asked, site: Site, record: Record, request: Request, reading: Reading) -> Way | Respond:
    """The route and the backend, or the answer where there is none to be had."""
    _record_target(record, event, request)
    target = request.target
    host = target.host if target.host is not None else request.told.get(b"host", b"").decode("latin-1")
    routes = site.router.routes_for(host)
    if routes is None:
        return _unknown_host(host)
    record.host = host
    if asks_for_models(record.method, target.path) and (models := list_models(target.path, site, routes)):
        return models
    record.model = reading.model
    asking = Asking(record.method, target.path, target.query, reading.model, site.base_models, event.headers)
    route = find_route(routes, asking)
    if route is None:
        return _unrouted(record, reading, site, routes)
    record.route = route.name
    if route.redirect is not None:
        where = location(route.redirect, route.match, scheme=event.scheme.decode(), host=host, target=target.text)
        return Respond(route.redirect.status, [(b"location", where.encode("latin-1", "replace"))], b"")
    backend = _weighted(route.backends, site.dice)
    if backend is None or backend.pool is None or backend.pool not in site.pools:
        why = f": {backend.reason}" if backend is not None and backend.reason else ""
        return refuse(backend.status if backend is not None else 500, f"The route {route.name} has no backend{why}.")
    start = _start(event.method, target.text, host)
    return Way(record.method, host, record.path, routes, route, backend, backend.pool, start)


def _for_pool(
    event: Asked, request: Request, reading: Reading, site: Site, record: Record, way: Way
) -> tuple[Job, bytes] | Respond:
    view = site.pools.get(way.pool)
    if view is None:
        return refuse(500, f"The route {way.route.name} has no backend: the pool {way.pool} is gone.")
    pool, route = view.pool, way.route
    model, prompt, body = reading.model, reading.prompt, event.body
    repeatable = True
    if pool.kind != "inference":
        repeatable = event.method in _IDEMPOTENT
        prompt = b""
    elif reading.error:
        return refuse(reading.status, sentence(reading.error), param=reading.param)
    else:
        objective = request.objective
        if objective or pool.models or pool.rules:
            resolution = resolve(pool, model, objective, site.dice)
            record.priority, record.resolved_by = resolution.priority, resolution.by
            if model and resolution.model != model:
                model = resolution.model
                renamed = with_model(request.told.get(b"content-type", b""), body, model)
                if renamed is None:
                    return refuse(400, "The body is not valid JSON: a key is not UTF-8.")
                body = renamed
    record.target = model
    whole = route.timeout_s if route.timeout_s is not None else pool.timeout_s
    job = Job(
        way.routes,
        route,
        way.backend,
        way.pool,
        _head(event, request, site, record, way, view, len(body)),
        Ask(model, ladder(model, prompt) if prompt else (), len(prompt), record.priority),
        repeatable,
        event.now + whole if whole else None,
    )
    return job, body


def _head(event: Asked, request: Request, site: Site, record: Record, way: Way, view: PoolView, length: int) -> bytes:
    """Request line and headers for the server."""
    headers, model, route = request.kept, record.model, way.route
    if model:
        if record.target != model:  # what comes back has to be read
            headers = [pair for pair in headers if pair[0] != b"accept-encoding"]
        headers.append((b"x-gateway-model-name", model.encode()))
        headers.append((b"x-gateway-base-model-name", site.base_models.get(model, "").encode()))
        if view.ray:
            headers = [pair for pair in headers if pair[0] != b"serve_multiplexed_model_id"]
            headers.append((b"serve_multiplexed_model_id", record.target.encode()))
    start = way.start
    if route.request is not None or way.backend.request is not None or route.rewrite is not None:
        target, host = request.target.text, way.host
        if route.request is not None or way.backend.request is not None:
            headers = edit_headers(headers, route.request, way.backend.request)
            host = next((value.decode("latin-1") for name, value in headers if name == b"host"), host)
            headers = [pair for pair in headers if pair[0] != b"host"]
        if route.rewrite is not None:
            target = rewrite_target(target, route.match, route.rewrite)
            host = route.rewrite.hostname or host
        start = _start(event.method, target, host)
    lines = [b": ".join(pair) for pair in headers]
    before = request.told.get(b"x-forwarded-for")
    lines.append(
        b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-request-id: %b"
        % (event.peer if before is None else b"%b, %b" % (before, event.peer), event.scheme, request.id)
    )
    if length or event.method not in _BODILESS:
        lines.append(b"content-length: %d" % length)
    return b"%b%b\r\n\r\n" % (start, b"\r\n".join(lines))


def _start(method: bytes, target: str, host: str) -> bytes:
    """Request line and Host header."""
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target.encode("latin-1"), host.encode("latin-1"))


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


def _unknown_host(host: str) -> Respond:
    if hostname(host) is None:
        return refuse(400, "The Host header is not valid: it must be a host name or address, with or without a port.")
    return refuse(404, f"No listener here serves the host `{host}`.")


def _unrouted(record: Record, reading: Reading, site: Site, routes: Routes) -> Respond:
    models = reachable(site, routes)
    if not models:
        return refuse(404, f"No route here takes {record.method} {record.path}.")
    if reading.error:
        return refuse(reading.status, sentence(reading.error), param=reading.param)
    if reading.model and reading.model not in models:
        return unknown_model(reading.model, models)
    model = f"for the model `{reading.model}`" if reading.model else "without a model"
    return refuse(404, f"No route here takes {record.method} {record.path} {model}.")
