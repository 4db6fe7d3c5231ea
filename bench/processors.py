"""`headgate epp` as it is measured: beside an Envoy of one worker, which takes its destinations from it."""

import sys
from collections.abc import Callable
from typing import Any

import msgspec

from bench.install import version
from bench.launch import Launch, Place
from bench.processes import free_port
from bench.subject import objects, program

_AT_ONCE = 32768


def _typed(name: str, **more: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **more}


def behind_envoy(request: str, response: str) -> Callable[[Place], Launch]:
    """`request`, `response`: how Envoy sends bodies."""

    def launch(place: Place) -> Launch:
        manifests = place.directory / "manifests"
        manifests.mkdir(exist_ok=True)
        pool = b"\n---\n".join(map(msgspec.yaml.encode, objects(place.backend, place.port)))
        (manifests / "bench.yaml").write_bytes(pool)
        port = free_port()
        path = place.directory / "envoy.json"
        path.write_bytes(msgspec.json.encode(_configuration(place, port, request, response)))
        none = ("--grpc-health-port", "0", "--metrics-port", str(free_port()))
        picker = [program(), "epp", "--pool-name", "canned", "--secure-serving=false", "--address", "127.0.0.1"]
        picker += ["--grpc-port", str(port), *none, "--access-log", str(place.directory / "access.log"), str(manifests)]
        proxy = [str(place.home / "bin" / "envoy"), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
        beside = {
            "picker": picker,
            "proxy": [*proxy, "--disable-hot-restart"],
            "port": port,
            "env": {"HEADGATE_STATE": str(place.directory / "state")},
        }
        (place.directory / "beside.json").write_bytes(msgspec.json.encode(beside))
        said = f"envoy {version('envoy')}, 1 worker; bodies {request} in, {response} out; queue, KV, LoRA and prefix "
        said += "scorers; usage accounted where answers are sent; metrics; access log to a file"
        return Launch((sys.executable, "-m", "bench.beside", str(place.directory)), said)

    return launch


def _configuration(place: Place, port: int, request: str, response: str) -> dict[str, Any]:
    def address(host: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": number}}

    streamed = "SEND" if "FULL_DUPLEX_STREAMED" in (request, response) else "SKIP"
    modes = {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": request,
        "response_body_mode": response,
        "request_trailer_mode": streamed if request == "FULL_DUPLEX_STREAMED" else "SKIP",
        "response_trailer_mode": streamed if response == "FULL_DUPLEX_STREAMED" else "SKIP",
    }
    processor = _typed(
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": "picker"}},
        processing_mode=modes,
        message_timeout="30s",
    )
    route = {"match": {"prefix": "/"}, "route": {"cluster": "canned", "timeout": "0s"}}
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            {"name": "picker", "typed_config": processor},
            {"name": "router", "typed_config": _typed("filters.http.router.v3.Router")},
        ],
    )
    listener = {
        "address": address("127.0.0.1", place.port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    limits = {"max_connections": _AT_ONCE, "max_requests": _AT_ONCE, "max_pending_requests": _AT_ONCE}
    canned = {
        "name": "canned",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": {"thresholds": [limits]},
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": "x-gateway-destination-endpoint"},
    }
    protocol = _typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
    hosts = [{"endpoint": {"address": address("127.0.0.1", port)}}]
    picker = {
        "name": "picker",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        "load_assignment": {"cluster_name": "picker", "endpoints": [{"lb_endpoints": hosts}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [canned, picker]}}
