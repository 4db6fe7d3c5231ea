"""A small system of one namespace: a gateway, a route, a pool and what serves it; and what is asked of it."""

from typing import Any

from control_plane import ControlPlane
from kubelet import Kubelet, Pod

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
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", given="\n---\n".join(texts))

    def kubectl(self, *words: str, fails: bool = False) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, fails=fails)

    def pod(self, app: str = "vllm", model: str = MODEL) -> Pod:
        return self.kubelet.run(template(app), model)

    def address(self) -> str:
        return self.kubectl("get", "gateway", "gate", "-o", "jsonpath={.status.addresses[0].value}")
