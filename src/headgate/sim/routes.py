"""Which handler answers a request, and what the web framework below vLLM answers when none does."""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from headgate.sim import handlers, housekeeping
from headgate.sim.bodies import Ask
from headgate.sim.job import EVENT_STREAM
from headgate.sim.refusals import Reply, framework
from headgate.sim.service import Answered, Service

Handler = Callable[[Service, Ask, float], Answered]

_ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/health": {"GET": housekeeping.healthy},
    "/ping": {"GET": housekeeping.healthy, "POST": housekeeping.healthy},
    "/version": {"GET": housekeeping.version},
    "/load": {"GET": housekeeping.server_load},
    "/metrics": {"GET": housekeeping.metrics},
    "/kv_event_sources": {"GET": housekeeping.kv_event_sources},
    "/v1/models": {"GET": housekeeping.models},
    "/v1/chat/completions": {"POST": handlers.chat_completions},
    "/v1/chat/completions/batch": {"POST": handlers.chat_batch},
    "/v1/chat/completions/render": {"POST": housekeeping.scale_out},
    "/v1/chat/completions/derender": {"POST": housekeeping.scale_out},
    "/v1/completions": {"POST": handlers.completions},
    "/v1/completions/render": {"POST": housekeeping.scale_out},
    "/v1/completions/derender": {"POST": housekeeping.scale_out},
    "/inference/v1/generate": {"POST": housekeeping.scale_out},
    "/v1/responses": {"POST": handlers.create_response},
    "/v1/responses/{response_id}": {"GET": handlers.stored_response},
    "/v1/responses/{response_id}/cancel": {"POST": handlers.stored_response},
    "/v1/messages": {"POST": handlers.create_message},
    "/v1/messages/count_tokens": {"POST": handlers.count_tokens},
    "/tokenize": {"POST": handlers.tokenize},
    "/detokenize": {"POST": handlers.detokenize},
    "/invocations": {"POST": handlers.invocations},
    "/docs": {"GET": housekeeping.docs, "HEAD": housekeeping.docs},
}
_ADAPTER_ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/v1/load_lora_adapter": {"POST": housekeeping.load_adapter},
    "/v1/unload_lora_adapter": {"POST": housekeeping.unload_adapter},
    "/adapters": {"POST": housekeeping.register_adapter},
    "/adapters/{adapter_name}": {"DELETE": housekeeping.unregister_adapter},
}
_DEVELOPMENT_ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/reset_prefix_cache": {"POST": housekeeping.reset_prefix_cache},
}
# What the instrumentation leaves out, wherever it occurs in a route: /v1/load_lora_adapter too.
_UNCOUNTED = ("/metrics", "/health", "/load", "/ping", "/version", "/server_info")
_VARY = ("vary", "Origin")
_PREFLIGHT = Reply(
    400,
    (
        (
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
            "Access-Control-Request-Private-Network",
        ),
        ("access-control-allow-methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"),
        ("access-control-max-age", "600"),
        ("content-type", "text/plain; charset=utf-8"),
    ),
    b"Disallowed CORS origin",
)


class Found(Struct, frozen=True):
    """A request's answer, and the route that gave it as the HTTP metrics name it (empty: not counted)."""

    answer: Answered
    route: str


def answer(service: Service, ask: Ask, now: float) -> Found:
    """What the server answers to a request."""
    if ask.method == "OPTIONS" and "origin" in ask.headers and "access-control-request-method" in ask.headers:
        return Found(_preflight(ask), "")  # answered before anything is counted
    route, methods = _find(service, ask.path)
    handler = methods.get(ask.method)
    if handler is not None:
        answered = handler(service, ask, now)
    elif ask.path.startswith("/metrics"):
        answered, route = housekeeping.mounted_metrics(service, ask, now), "/metrics"
    elif methods:
        answered, route = framework(405, "Method Not Allowed", ("allow", next(iter(methods)))), "none"
    else:
        answered, route = _elsewhere(service, ask)
    if isinstance(answered, Reply):
        answered = replace(answered, headers=(*answered.headers, _VARY))
    name = ask.path if route == "none" else route
    return Found(answered, "" if any(word in name for word in _UNCOUNTED) else route)


def stream_headers() -> tuple[tuple[str, str], ...]:
    """The headers of a stream."""
    return (EVENT_STREAM, _VARY)


def whole_headers(service: Service, ask: Ask) -> tuple[tuple[str, str], ...]:
    """The headers of a job's whole answer."""
    return (("content-type", "application/json"), *_orca(service, ask), _VARY)


def _find(service: Service, path: str) -> tuple[str, Mapping[str, Handler]]:
    methods = _ROUTES.get(path)
    if methods is not None:
        return path, methods
    if service.settings.updating:
        methods = _ADAPTER_ROUTES.get(path)
        if methods is not None:
            return path, methods
        if path.startswith("/adapters/") and path.count("/") == 2 and not path.endswith("/"):
            route = "/adapters/{adapter_name}"
            return route, _ADAPTER_ROUTES[route]
    if service.settings.developed and path in _DEVELOPMENT_ROUTES:
        return path, _DEVELOPMENT_ROUTES[path]
    parts = path.split("/")
    if parts[:3] == ["", "v1", "responses"] and parts[-1]:
        if len(parts) == 4:
            route = "/v1/responses/{response_id}"
            return route, _ROUTES[route]
        if len(parts) == 5 and parts[4] == "cancel":
            route = "/v1/responses/{response_id}/cancel"
            return route, _ROUTES[route]
    return "none", {}


def _elsewhere(service: Service, ask: Ask) -> tuple[Reply, str]:
    """No such path: a redirect when there is one with or without the slash at its end."""
    other = ask.path.rstrip("/") if ask.path.endswith("/") else ask.path + "/"
    if ask.path != "/" and _find(service, other)[1]:
        query = f"?{ask.query}" if ask.query else ""
        location = f"http://{ask.headers.get('host', '')}{other}{query}"
        return Reply(307, (("location", location),), b""), ask.path
    return framework(404, "Not Found"), "none"


def _preflight(ask: Ask) -> Reply:
    asked = ask.headers.get("access-control-request-headers")
    if asked is None:
        return _PREFLIGHT
    return replace(_PREFLIGHT, headers=(*_PREFLIGHT.headers, ("access-control-allow-headers", asked)))


def _orca(service: Service, ask: Ask) -> tuple[tuple[str, str], ...]:
    """The load report that a client may ask for (ORCA, `endpoint-load-metrics-format: TEXT` or `JSON`)."""
    form = ask.headers.get("endpoint-load-metrics-format", "").lower()
    waiting, usage = service.load()
    if form == "json":
        report = f'JSON {{"named_metrics": {{"num_requests_waiting": {waiting}, "kv_cache_usage_perc": {usage}}}}}'
    elif form == "text":
        report = f"TEXT named_metrics.num_requests_waiting={waiting}, named_metrics.kv_cache_usage_perc={usage}"
    else:
        return ()
    return (("endpoint-load-metrics", report),)
