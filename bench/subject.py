"""Headgate as it is measured: `headgate gateway` with everything on that a production gateway has."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from bench.backend import Backend
from bench.canned import MODEL
from bench.cases import KEY
from bench.launch import Launch, Place
from bench.processes import Failed, free_port

_POOL = {"app": "canned-vllm"}

# Everything that is on. What comes to need a flag is switched on in `_flags`, what comes to need an object in
# `objects`, and both are named here for the reader of the results. The clients send bench.cases.KEY as their API key.
_ON = "API keys; queue, KV, LoRA and prefix scorers; usage accounted; metrics; access log to a file"


def _flags(place: Place) -> tuple[str, ...]:
    return (
        *("--address", "127.0.0.1"),
        *("--access-log", str(place.directory / "access.log")),
        *("--metrics", f"127.0.0.1:{free_port()}"),
    )


def headgate(place: Place, workers: int = 1) -> Launch:
    manifests = place.directory / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "bench.yaml").write_bytes(
        b"\n---\n".join(map(msgspec.yaml.encode, objects(place.backend, place.port)))
    )
    argv = (program(), "gateway", "--config", str(manifests), *_flags(place))
    said = f"{workers} worker{'s' * (workers > 1)}; {_ON}"
    if workers > 1:
        argv += (_known("--workers"), str(workers))
    if place.case.scrape_interval_s is not None:
        argv += (_known("--scrape-interval"), str(place.case.scrape_interval_s))
        said += f"; --scrape-interval {place.case.scrape_interval_s:g}"
    return Launch(argv, said, {"HEADGATE_STATE": str(place.directory / "state")})


def two_workers(place: Place) -> Launch:
    return headgate(place, workers=2)


def program() -> str:
    path = Path(sys.executable).with_name("headgate")
    if not path.is_file():
        raise Failed("headgate is not installed here: make bench installs it")
    return str(path)


@cache
def _help() -> str:
    return subprocess.run([program(), "gateway", "--help"], capture_output=True, text=True, check=False).stdout


def _known(flag: str) -> str:
    if flag not in _help():
        raise Failed(f"not there: headgate gateway has no {flag}")
    return flag


def objects(backend: Backend, port: int) -> list[dict[str, Any]]:
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
    listening = _object("gateway.networking.k8s.io/v1", "Gateway", "bench", gateway)
    listening["metadata"] = {"name": "bench", "annotations": {"headgate.dev/api-keys": "clients"}}
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "clients"}, "stringData": {"bench": KEY}}
    written: list[dict[str, Any]] = [
        listening,
        keys,
        _object("gateway.networking.k8s.io/v1", "HTTPRoute", "bench", route),
        _object("inference.networking.k8s.io/v1", "InferencePool", "canned", selector),
        _object("inference.networking.x-k8s.io/v1alpha2", "InferenceModel", MODEL, model),
    ]
    for at, endpoint in enumerate(backend.endpoints):
        annotations = {"headgate.dev/address": endpoint}
        metadata = {"name": f"canned-{at}", "labels": _POOL, "annotations": annotations}
        written.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    return written


def _object(version: str, kind: str, name: str, spec: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
