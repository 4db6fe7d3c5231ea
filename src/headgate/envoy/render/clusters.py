"""A pool as one of Envoy's clusters, and its endpoints, which have a file of their own."""

import ipaddress
from collections.abc import Iterable

from headgate.envoy.hints import DESTINATION, NAMESPACE
from headgate.envoy.render import tls
from headgate.envoy.render.settings import Data, Settings, safe, seconds, typed
from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import Pool

_MANY = 1 << 30  # connections and requests: who limits them is the exchange


def cluster(pool: Pool, settings: Settings) -> Data:
    source = {"path_config_source": {"path": settings.path(endpoints_file(pool))}, "resource_api_version": "V3"}
    found: Data = {
        "name": pool.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": source},
        "connect_timeout": seconds(settings.connect_s) if settings.connect_s != float("inf") else "3600s",
        "load_balancing_policy": {"policies": [_chosen(_FEWEST)]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _protocol(pool, settings)
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY, "max_retries": _MANY}
            ]
        },
    }
    if pool.kind == "service" and settings.eject_after:
        found["outlier_detection"] = {
            "consecutive_gateway_failure": settings.eject_after,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "base_ejection_time": "5s",
            "max_ejection_percent": 50,
        }
    if pool.tls is not None and not pool.tls.fault:
        found["transport_socket"] = tls.upstream(pool.tls, settings)
    return found


_FEWEST = {
    "name": "envoy.load_balancing_policies.least_request",
    "typed_config": typed("extensions.load_balancing_policies.least_request.v3.LeastRequest"),
}


def _policy(name: str, **fields: object) -> Data:
    return {"typed_extension_config": {"name": f"envoy.load_balancing_policies.{name}", **fields}}


def _chosen(otherwise: Data) -> Data:
    """The endpoints that the exchange names, in its order; where it names none, any."""
    config = typed(
        "extensions.load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": {"key": NAMESPACE, "path": [{"key": DESTINATION}]}}],
        fallback_policy={"policies": [{"typed_extension_config": otherwise}]},
    )
    return _policy("override_host", typed_config=config)


def _protocol(pool: Pool, settings: Settings) -> Data:
    """Kept connections are let go before servers do so: some (uvicorn's) wait for 5 s only."""
    speaks = "http2_protocol_options" if pool.app_protocol == "kubernetes.io/h2c" else "http_protocol_options"
    return typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={speaks: {}},
        common_http_protocol_options={"idle_timeout": "4s"},
    )


def endpoints_file(pool: Pool) -> str:
    return f"endpoints/{safe(pool.name)}"


def assignment(pool: Pool, endpoints: Iterable[Endpoint], settings: Settings) -> Data:
    """A ClusterLoadAssignment with those that may serve, or still do."""
    found = [
        _endpoint(one, "DRAINING" if one.draining else "HEALTHY")
        for one in endpoints
        if one.ready and not one.ejected and is_ip(one.address)
    ]
    return typed(
        "config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=pool.name,
        endpoints=[{"lb_endpoints": found}] if found else [],
    )


def _endpoint(endpoint: Endpoint, health: str) -> Data:
    place = {"address": endpoint.address, "port_value": endpoint.port}
    return {"endpoint": {"address": {"socket_address": place}}, "health_status": health}


def is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
