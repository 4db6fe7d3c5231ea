"""What `headgate get` shows, of a gateway with one pool, two servers and a route."""

import asyncio
import json
import socket

import msgspec

from headgate.api import Text, load
from headgate.fleet.endpoint import Load, Served, Server
from headgate.plan import translate
from headgate.runtime.gateway import Gateway, Options
from headgate.runtime.pods import PodRow
from headgate.runtime.rows import ROWS, Seen

_MANIFESTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gke-l7-rilb
  listeners:
  - {name: http, protocol: HTTP, port: PORT}
  - {name: tls, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: cert}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: llm}
spec:
  parentRefs: [{name: gw, sectionName: http}]
  hostnames: [a.com, "*.b.com"]
  rules:
  - matches:
    - {path: {type: PathPrefix, value: /v1}, method: POST}
    - {path: {type: PathPrefix, value: /v1}, headers: [{name: X-Team, value: red}]}
    - {path: {type: Exact, value: /x}, queryParams: [{name: q, value: "1"}]}
    backendRefs:
    - {name: pool, group: inference.networking.k8s.io, kind: InferencePool, weight: 9}
    - {name: absent, group: inference.networking.k8s.io, kind: InferencePool, weight: 1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost}
spec:
  parentRefs: [{name: nowhere}]
  rules: [{}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: vllm}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: epp, port: {number: 9002}}
"""
_POD = PodRow("default/a", "Deployment default/d", "127.0.0.1", "Pending", False, 2, "exit status 1", "/tmp/a.log")


def _shown() -> dict[str, list[dict[str, object]]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    snapshot, _ = load([Text("in.yaml", _MANIFESTS.replace("PORT", str(port)))])
    plan, statuses = translate(snapshot)

    async def main() -> bytes:
        gateway = Gateway(Options(), lambda text: None, None)
        await gateway.start()
        await gateway.apply(plan)
        gateway.servers(
            [Server("default", name, f"127.0.0.{at}", {"app": "vllm"}, ready=True) for at, name in enumerate("ab", 7)]
        )
        models = (Served("base"), Served("food", "base"))
        gateway.fleet.load(
            "default/a-rank-0",
            Load(models=models, waiting=1, running=2, kv_usage=0.5, adapters_running=frozenset({"food"}), at=1.0),
        )
        seen = Seen(gateway, statuses, (_POD,))
        shown = msgspec.json.encode({kind: rows(seen) for kind, rows in ROWS.items()})
        await gateway.stop(0.0)
        return shown.replace(str(port).encode(), b"1234")

    shown: dict[str, list[dict[str, object]]] = json.loads(asyncio.run(main()))
    return shown


def test_gateways_are_shown_with_the_address_that_they_have_here() -> None:
    served, refused = _shown()["gateways"]
    assert served == {
        "gateway": "default/gw",
        "listener": "http",
        "url": "http://127.0.0.1:1234",
        "hostname": "*",
        "address": "127.0.0.1",
        "port": 1234,
        "routes": 1,
        "status": "Programmed",
    }
    assert (refused["url"], refused["listener"]) == ("", "tls")
    assert refused["status"] == "InvalidCertificateRef: Secret default/cert does not exist"


def test_routes_are_shown_in_order_of_precedence_each_match_once() -> None:
    first, second, third, partly, lost = _shown()["routes"]
    assert first["route"] == "default/llm/0/2"
    assert first["match"] == "/x ?q=1"
    assert first["hosts"] == ["a.com", "*.b.com"]
    assert second["match"] == "POST /v1/*"
    assert third["match"] == "/v1/* x-team=red"
    to = second["to"]
    assert isinstance(to, list)
    assert to[0] == "default/pool ×9"
    assert str(to[1]).startswith("500 (")
    assert (partly["route"], lost["route"]) == ("default/llm", "default/lost")
    assert "absent" in str(partly["status"])
    assert "nowhere" in str(lost["status"])


def test_pools_endpoints_models_and_adapters_are_shown() -> None:
    shown = _shown()
    assert shown["pools"] == [
        {"pool": "default/pool", "kind": "inference", "ready": "1/2", "models": 2, "selector": ["app=vllm"]}
    ]
    first, second = shown["endpoints"]
    assert first == {
        "endpoint": "default/a-rank-0",
        "pool": "default/pool",
        "address": "127.0.0.7:8000",
        "state": "ready",
        "in_flight": 0,
        "waiting": 1,
        "running": 2,
        "kv_usage": 0.5,
        "adapters": ["food"],
        "prefix": "what was sent",
        "note": "",
    }
    assert (second["state"], second["note"]) == ("not ready", "was not asked for its models yet")
    models = [(row["model"], row["parent"], row["host"], row["url"]) for row in shown["models"]]
    assert models == [
        (model, parent, host, "http://127.0.0.1:1234")
        for host in ("*.b.com", "a.com")
        for model, parent in (("base", ""), ("food", "base"))
    ]
    assert shown["adapters"] == [
        {
            "adapter": "food",
            "pool": "default/pool",
            "parent": "base",
            "running": 1,
            "endpoints": ["default/a-rank-0"],
        }
    ]


def test_pods_are_shown_with_what_is_wrong_and_where_to_read_on() -> None:
    assert _shown()["pods"] == [
        {
            "pod": "default/a",
            "owner": "Deployment default/d",
            "phase": "Pending",
            "ready": "no",
            "restarts": 2,
            "address": "127.0.0.1",
            "message": "exit status 1",
            "log": "/tmp/a.log",
        }
    ]
