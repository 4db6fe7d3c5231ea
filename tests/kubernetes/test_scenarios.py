"""What users do on a cluster, before a real API server: the gateway follows, and no request fails by it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_plane import ControlPlane
from gate import Traffic, gateway, status
from kubelet import Kubelet, Pod, until
from running import Running

OUTAGE_S = float(os.environ.get("HEADGATE_OUTAGE", "5"))
GATEWAY = "gateway.networking.k8s.io"
POOLS = "inference.networking.k8s.io"
MODEL = "base"

CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: headgate}
spec: {controllerName: headgate.dev/gateway-controller}
"""
GATE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate}
spec:
  gatewayClassName: headgate
  listeners: [{name: http, protocol: HTTP, port: 80}]
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: llm}
spec:
  parentRefs: [{name: gate}]
  rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: pool}]}]
"""
POOL = """
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: vllm}}
  targetPorts: [{number: 8000}]
"""


def template(app: str = "vllm") -> dict[str, Any]:
    container = {"name": "vllm", "image": "vllm/vllm-openai:v0.10.1", "ports": [{"containerPort": 8000}]}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}}


class Town:
    """A namespace with a gateway, a route, a pool and what serves it."""

    def __init__(self, cluster: ControlPlane, namespace: str, kubelet: Kubelet) -> None:
        self.cluster, self.namespace, self.kubelet = cluster, namespace, kubelet

    def apply(self, *texts: str) -> None:
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", given="---".join(texts))

    def kubectl(self, *words: str, fails: bool = False) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, fails=fails)

    def pod(self, app: str = "vllm", model: str = MODEL) -> Pod:
        return self.kubelet.run(template(app), model)

    def address(self) -> str:
        return self.kubectl("get", "gateway", "gate", "-o", "jsonpath={.status.addresses[0].value}")


@pytest.fixture
def town(cluster: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Town]:
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    cluster.kubectl("create", "namespace", namespace)
    cluster.apply(CLASS)
    with Kubelet(cluster, namespace) as kubelet:
        yield Town(cluster, namespace, kubelet)
        for kind in ("gateway", "httproute", f"inferencepools.{POOLS}"):
            cluster.kubectl("delete", "-n", namespace, kind, "--all", "--wait=false")


@pytest.fixture
def gate(cluster: ControlPlane, town: Town, tmp_path: Path) -> Iterator[Running]:
    """A gateway for the town alone."""
    with gateway(cluster, tmp_path, "--namespace", town.namespace) as running:
        yield running
        assert running.stop() == 0


def test_edited_deleted_and_made_anew(town: Town, gate: Running) -> None:
    assert status(gate.address, MODEL) == 0
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    town.apply(ROUTE.replace("rules: [{", "rules: [{matches: [{path: {value: /elsewhere}}], "))
    until(lambda: status(gate.address, MODEL) == 404)
    town.apply(ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    town.apply(GATE.replace("port: 80", "port: 81"))
    until(lambda: status(gate.address, MODEL, 8081) == 200)
    assert status(gate.address, MODEL) == 0
    town.kubectl("delete", "gateway", "gate")
    until(lambda: status(gate.address, MODEL, 8081) == 0)
    town.apply(GATE)
    until(lambda: status(gate.address, MODEL) == 200)
    town.kubectl("delete", f"inferencepools.{POOLS}", "pool")
    until(lambda: status(gate.address, MODEL) == 500)
    town.apply(POOL)
    until(lambda: status(gate.address, MODEL) == 200)


def test_a_pod_is_in_and_out_within_a_second(town: Town, gate: Running) -> None:
    first, second = town.pod(), town.pod()
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)

    def addresses() -> set[str]:
        return {row["address"].partition(":")[0] for row in gate.get("endpoints") if row["ready"]}

    town.kubelet.status(second, ready=False)
    until(lambda: second.address not in addresses(), 1 + ASKING_S)
    town.kubelet.status(second, ready=True)
    until(lambda: second.address in addresses(), 1 + ASKING_S)
    assert first.address in addresses()


# What it takes `headgate get` to start and answer on a machine that does much else.
ASKING_S = 5.0


def test_a_rolling_update_fails_no_request(town: Town, gate: Running) -> None:
    old = [town.pod(), town.pod()]
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    with Traffic(gate.address, MODEL) as traffic:
        for pod in old:  # maxSurge 1, maxUnavailable 0
            town.pod()
            town.kubelet.delete(pod)
        until(lambda: traffic.statuses.get(200, 0) > 200)
    assert set(traffic.statuses) == {200}, traffic.statuses


def test_traffic_goes_on_while_the_api_server_is_away(town: Town, gate: Running) -> None:
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    until(lambda: status(gate.address, MODEL) == 200)
    with Traffic(gate.address, MODEL) as traffic:
        with town.cluster.stopped():
            until(lambda: gate.said("can't be followed"))
            time.sleep(OUTAGE_S)  # how long it is away is what this is about
        town.apply(GATE.replace("listeners: [", "listeners: [{name: more, protocol: HTTP, port: 82}, "))
        until(lambda: status(gate.address, MODEL, 8082) == 200, OUTAGE_S + 60)
        newer = town.pod()
        until(lambda: newer.address in {row["address"].partition(":")[0] for row in gate.get("endpoints")})
    assert set(traffic.statuses) == {200}, traffic.statuses
