"""What Envoy is started with: where it finds the rest, our processor, and its own admin face."""

from headgate.envoy.render.settings import PROCESSOR, Data, Settings, typed


def bootstrap(settings: Settings) -> Data:
    return {
        "node": {"id": "headgate", "cluster": "headgate"},
        "admin": {"address": _socket(*settings.admin)},
        "dynamic_resources": {
            "lds_config": _source("listeners", settings),
            "cds_config": _source("clusters", settings),
        },
        "overload_manager": {"resource_monitors": [_connections(settings)]},
        "static_resources": {"clusters": [_processor(settings)]},
    }


def _source(name: str, settings: Settings) -> Data:
    return {"path_config_source": {"path": settings.path(name)}, "resource_api_version": "V3"}


def _processor(settings: Settings) -> Data:
    """A stream for each request, all on one connection for each of Envoy's threads."""
    pipe = {"pipe": {"path": settings.processor}}
    protocol = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": {"max_concurrent_streams": 1 << 20}},
    )
    many = 1 << 30
    return {
        "name": PROCESSOR,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        "circuit_breakers": {
            "thresholds": [{"max_connections": many, "max_pending_requests": many, "max_requests": many}]
        },
        "load_assignment": {
            "cluster_name": PROCESSOR,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe}}]}],
        },
    }


def _connections(settings: Settings) -> Data:
    """Clients beyond it are turned away."""
    most = min(settings.connections, (1 << 31) - 1)
    kind = "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": typed(kind, max_active_downstream_connections=most),
    }


def _socket(address: str, port: int) -> Data:
    return {"socket_address": {"address": address, "port_value": port}}
