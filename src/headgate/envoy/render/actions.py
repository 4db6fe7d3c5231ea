"""What Envoy does with the requests of one backend of one route: a RouteAction, a redirect, or an answer."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.envoy.render import cors
from headgate.envoy.render.edits import host_set, redirect_port, redirecting, request_edits, response_edits, rewriting
from headgate.envoy.render.settings import Data, Settings, Socket, seconds
from headgate.exchange.refuse import error_type
from headgate.plan.plan import Backend, Mirror, Pool, Redirect, Retry, Route

_ANYWHERE = "connect-failure,refused-stream"  # it has reached no server
_MILLION = 1_000_000


class Scene(Struct, frozen=True):
    """Where a route stands: whose requests come to it. `domain`: "" any host, `*.x` those that end so."""

    settings: Settings
    pools: Mapping[str, Pool]
    socket: Socket
    scheme: str
    domain: str
    here: bool = False  # only requests whose Host header has the socket's port


def action(route: Route, backend: Backend, scene: Scene, *, asked: bool) -> Data:
    """`asked`: the exchange has chosen it, and edits what goes there and what comes back."""
    redirect = route.redirect or backend.redirect
    if redirect is not None:
        return _redirect(redirect, route, backend, scene)
    pool = scene.pools.get(backend.pool or "")
    if pool is None:
        why = f": {backend.reason}" if backend.reason else ""
        return answer(backend.status, f"The route {route.name} has no backend{why}.".replace("%", "%%"))
    if pool.tls is not None and pool.tls.fault:
        return answer(
            502, f"The model server could not answer ({pool.tls.fault}).".replace("%", "%%"), code="endpoint_failed"
        )
    found: Data = {"route": _route(route, backend, pool, scene)}
    if asked:
        return found
    found["route"] |= rewriting(route.match, backend.rewrite, route.rewrite)
    host = host_set(route.request, backend.request)
    if host:
        found["route"].setdefault("host_rewrite_literal", host)
    # Of the route first: what a backend wants is done to what came out of that.
    found |= request_edits(route.request, backend.request)
    found |= response_edits(backend.response, route.response)
    sharing = route.cors or backend.cors
    if sharing is not None:
        found["typed_per_filter_config"] = {cors.FILTER: cors.policy(sharing)}
    return found


def answer(status: int, message: str, *, code: str | None = None) -> Data:
    """In the form that OpenAI clients read. Envoy puts in what stands between percent signs."""
    error = {"message": message, "type": error_type(status), "param": None, "code": code or status}
    return {"direct_response": {"status": status, "body_format": {"json_format": {"error": error}}}}


def _redirect(redirect: Redirect, route: Route, backend: Backend, scene: Scene) -> Data:
    port = redirect_port(redirect, scene.socket, scene.scheme, scene.domain, here=scene.here)
    found: Data = {"redirect": redirecting(redirect, route.match, scene.scheme, port)}
    sharing = route.cors or backend.cors
    if sharing is not None:
        found["typed_per_filter_config"] = {cors.FILTER: cors.policy(sharing)}
    return found


def _route(route: Route, backend: Backend, pool: Pool, scene: Scene) -> Data:
    settings = scene.settings
    whole = route.timeout_s if route.timeout_s is not None else pool.timeout_s
    if whole is None:
        whole = settings.request_s
    found: Data = {
        "cluster": pool.name,
        "timeout": seconds(whole),
        "idle_timeout": seconds(max(settings.first_byte_s, settings.silence_s)),
        "retry_policy": _retries(route.retry, route.backend_timeout_s, pool, settings),
    }
    mirrors = [_mirror(one) for one in (*route.mirrors, *backend.mirrors) if one.pool in scene.pools]
    if mirrors:
        found["request_mirror_policies"] = mirrors
    return found


def _retries(retry: Retry | None, attempt_s: float | None, pool: Pool, settings: Settings) -> Data:
    """To another endpoint where there is one. Requests of a model server may be repeated; a service's, who knows."""
    conditions, codes = _ANYWHERE, retry.codes if retry is not None else ()
    attempts = settings.tries - 1
    if retry is not None:
        conditions += ",reset"
        attempts = attempts if retry.attempts is None else retry.attempts
    elif pool.kind == "inference":
        conditions, codes = f"{_ANYWHERE},reset", (502, 503)
    found: Data = {"num_retries": attempts}
    if codes:
        conditions += ",retriable-status-codes"
        found["retriable_status_codes"] = list(codes)
    found["retry_on"] = conditions
    if attempt_s:
        found["per_try_timeout"] = seconds(attempt_s)
    if retry is not None and retry.backoff_s:
        found["retry_back_off"] = {"base_interval": seconds(retry.backoff_s)}
    found["host_selection_retry_max_attempts"] = "5"
    found["retry_host_predicate"] = [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ]
    return found


def _mirror(mirror: Mirror) -> Data:
    found: Data = {"cluster": mirror.pool, "disable_shadow_host_suffix_append": True}
    if mirror.share < 1.0:
        found["runtime_fraction"] = fraction(mirror.share)
    return found


def fraction(share: float) -> Data:
    return {"default_value": {"numerator": round(share * _MILLION), "denominator": "MILLION"}}
