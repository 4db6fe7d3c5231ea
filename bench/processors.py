"""`headgate epp` as it is measured: beside an Envoy of one worker, which takes its destinations from it."""

import sys
from collections.abc import Callable

import msgspec

from bench.envoy import cluster, command, hosts, listener, typed
from bench.install import version
from bench.launch import Launch, Place
from bench.processes import free_port
from bench.subject import objects, program


def behind_envoy(request: str, response: str) -> Callable[[Place], Launch]:
    """`request`, `response`: how Envoy sends bodies."""

    def launch(place: Place) -> Launch:
        manifests = place.directory / "manifests"
        manifests.mkdir(exist_ok=True)
        pool = b"\n---\n".join(map(msgspec.yaml.encode, objects(place.backend, place.port)))
        (manifests / "bench.yaml").write_bytes(pool)
        port = free_port()
        none = ("--grpc-health-port", "0", "--metrics-port", str(free_port()))
        picker = [program(), "epp", "--pool-name", "canned", "--secure-serving=false", "--address", "127.0.0.1"]
        picker += ["--grpc-port", str(port), *none, "--access-log", str(place.directory / "access.log"), str(manifests)]
        beside = {
            "picker": picker,
            "proxy": _proxy(place, port, request, response),
            "port": port,
            "env": {"HEADGATE_STATE": str(place.directory / "state")},
        }
        (place.directory / "beside.json").write_bytes(msgspec.json.encode(beside))
        said = f"envoy {version('envoy')}, 1 worker; bodies {request} in, {response} out; queue, KV, LoRA and prefix "
        said += "scorers; usage accounted where answers are sent; metrics; access log to a file"
        return Launch((sys.executable, "-m", "bench.beside", str(place.directory)), said)

    return launch


def _proxy(place: Place, port: int, request: str, response: str) -> tuple[str, ...]:
    modes = {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": request,
        "response_body_mode": response,
        "request_trailer_mode": "SEND" if request == "FULL_DUPLEX_STREAMED" else "SKIP",
        "response_trailer_mode": "SEND" if response == "FULL_DUPLEX_STREAMED" else "SKIP",
    }
    processor = typed(
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": "picker"}},
        processing_mode=modes,
        message_timeout="30s",
    )
    canned = cluster(
        "canned",
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        original_dst_lb_config={"use_http_header": True, "http_header_name": "x-gateway-destination-endpoint"},
    )
    protocol = typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
    picker = cluster(
        "picker",
        type="STATIC",
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        load_assignment=hosts("picker", ("127.0.0.1", port)),
    )
    return command(place, listener(place.port, {"name": "picker", "typed_config": processor}), canned, picker)
