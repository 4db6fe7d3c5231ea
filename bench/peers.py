"""The systems that do the same job, each as its own documentation starts it, with its log of requests off."""

import os
from collections.abc import Callable

import msgspec

from bench.canned import MODEL
from bench.cases import KEY
from bench.install import version
from bench.launch import Launch, Place
from bench.page import MODEL as BASE
from bench.processes import free_port

_AT_ONCE = 32768  # requests that a router may have under way: none of them shall refuse what the load asks


def envoy(place: Place) -> Launch:
    def typed(name: str, **more: object) -> dict[str, object]:
        return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **more}

    def address(host: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": number}}

    hosts = [{"endpoint": {"address": address(host, place.backend.port)}} for host in place.backend.addresses]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "canned", "timeout": "0s"}}
    connection_manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "router", "typed_config": typed("filters.http.router.v3.Router")}],
    )
    listener = {
        "address": address("127.0.0.1", place.port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connection_manager}]}],
    }
    limits = {"max_connections": _AT_ONCE, "max_requests": _AT_ONCE, "max_pending_requests": _AT_ONCE}
    cluster = {
        "name": "canned",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "canned", "endpoints": [{"lb_endpoints": hosts}]},
    }
    path = place.directory / "envoy.json"
    path.write_bytes(msgspec.json.encode({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    argv = (str(place.home / "bin" / "envoy"), "-c", str(path), "--concurrency", "1")
    more = ("--log-level", "error", "--disable-hot-restart")
    return Launch(argv + more, f"{version('envoy')} plain: 1 worker, round robin; no log, no look at the request")


def router(peer: str, policy: str) -> Callable[[Place], Launch]:
    """One of the three Rust routers: relatives, whose flags are nearly the same."""

    def launch(place: Place) -> Launch:
        program = {
            "smg": ("smg", "launch"),
            "vllm-router": ("python", "-m", "vllm_router.launch_router"),
            "sglang-router": ("python", "-m", "sglang_router.launch_router"),
        }[peer]
        log_level = "warning" if peer == "vllm-router" else "warn"
        # smg knows a worker by its base model and answers 404 for the adapters that it has loaded.
        alias = ("--model-alias", f"{MODEL}={BASE}") if peer == "smg" else ()
        argv = (str(place.home / "bin" / program[0]), *program[1:])
        more: tuple[str, ...] = ("--host", "127.0.0.1", "--port", str(place.port))
        more += ("--prometheus-host", "127.0.0.1")
        more += ("--prometheus-port", str(free_port()), "--max-concurrent-requests", str(_AT_ONCE))
        more += ("--log-level", log_level, "--policy", policy, *alias, "--worker-urls", *place.urls)
        threads = os.cpu_count()
        said = f"{version(peer)}, --policy {policy}; {threads} threads, one per core; no access log"
        return Launch(argv + more, said)

    return launch


def litellm(place: Place) -> Launch:
    models = [
        {
            "model_name": MODEL,
            "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": "none"},
        }
        for url in place.urls
    ]
    path = place.directory / "litellm.yaml"
    path.write_bytes(msgspec.yaml.encode({"model_list": models, "general_settings": {"master_key": KEY}}))
    argv = (str(place.home / "bin" / "litellm"), "--config", str(path), "--host", "127.0.0.1")
    more = ("--port", str(place.port), "--num_workers", "1", "--telemetry", "False")
    said = f"{version('litellm')}: 1 worker, simple shuffle, a master key; its answers are compared by meaning"
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    return Launch(argv + more, said, env, check="meaning")


def portkey(place: Place) -> Launch:
    start = place.home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    targets = [{"provider": "openai", "api_key": KEY, "custom_host": f"{url}/v1"} for url in place.urls]
    config = msgspec.json.encode({"strategy": {"mode": "loadbalance"}, "targets": targets}).decode()
    argv = ("node", str(start), f"--port={place.port}", "--headless")
    # Streams are answered by 500 with a newer one (Portkey-AI/gateway issue 1389), which npm would take.
    said = f"{version('portkey')} with @hono/node-server 1.14.1: 1 process, targets by chance, configured by a header"
    env = {"TRUSTED_CUSTOM_HOSTS": ",".join(place.backend.addresses), "NODE_ENV": "production"}
    # Node compiles what turns out to be hot: after a second it costs twice what it costs after five.
    return Launch(argv, said, env, {"x-portkey-config": config}, warm_s=5.0)
