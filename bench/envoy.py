"""Envoy of one worker before the canned endpoints: what its configurations have in common."""

from pathlib import Path

import msgspec

from bench.launch import AT_ONCE, Place

LIMITS = {"max_connections": AT_ONCE, "max_requests": AT_ONCE, "max_pending_requests": AT_ONCE}


def typed(name: str, **more: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **more}


def address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}


def cluster(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "circuit_breakers": {"thresholds": [LIMITS]}, **more}


def hosts(name: str, *addresses: tuple[str, int]) -> dict[str, object]:
    """A cluster's `load_assignment`."""
    found = [{"endpoint": {"address": address(*one)}} for one in addresses]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": found}]}


def listener(port: int, *filters: dict[str, object]) -> dict[str, object]:
    """Everything goes through `filters` to the cluster `canned`."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "canned", "timeout": "0s"}}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[*filters, {"name": "router", "typed_config": typed("filters.http.router.v3.Router")}],
    )
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"address": address("127.0.0.1", port), "filter_chains": [chain]}


def command(place: Place, listening: dict[str, object], *clusters: dict[str, object]) -> tuple[str, ...]:
    """What starts it; its configuration is written."""
    path: Path = place.directory / "envoy.json"
    resources = {"listeners": [listening], "clusters": list(clusters)}
    path.write_bytes(msgspec.json.encode({"static_resources": resources}))
    program = str(place.home / "bin" / "envoy")
    return (program, "-c", str(path), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
