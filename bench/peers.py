"""The systems that do the same job, each as its own documentation starts it, with its log of requests off."""

import os
from collections.abc import Callable

import msgspec

from bench.canned import MODEL
from bench.cases import KEY
from bench.envoy import cluster, command, hosts, listener
from bench.install import version
from bench.launch import AT_ONCE, Launch, Place
from bench.page import MODEL as BASE
from bench.processes import free_port


def envoy(place: Place) -> Launch:
    endpoints = hosts("canned", *((host, place.backend.port) for host in place.backend.addresses))
    canned = cluster("canned", type="STATIC", lb_policy="ROUND_ROBIN", load_assignment=endpoints)
    argv = command(place, listener(place.port), canned)
    return Launch(argv, f"{version('envoy')} plain: 1 worker, round robin; no log, no look at the request")


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
        more += ("--prometheus-port", str(free_port()), "--max-concurrent-requests", str(AT_ONCE))
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
