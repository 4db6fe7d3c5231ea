"""A real `headgate gateway` in front of one raw endpoint: a Service at every path, an inference pool under /v1."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from raw_client import RawClient
from raw_endpoint import RawEndpoint
from running import Running
from written import GATEWAY, POOL, write

_ROUTES = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /v1}}]
    backendRefs: [{name: pool, group: inference.networking.k8s.io, kind: InferencePool}]
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: web, port: 80}]
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: vllm}
  ports: [{port: 80, targetPort: 8000}]
"""
_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: raw
  labels: {app: vllm}
  annotations: {headgate.dev/address: "ADDRESS:8000"}
"""


class Gated:
    def __init__(self, running: Running, endpoint: RawEndpoint) -> None:
        self.running, self.endpoint = running, endpoint

    @contextlib.contextmanager
    def client(self) -> Iterator[RawClient]:
        client = RawClient((self.running.address, 8080))
        try:
            yield client
        finally:
            client.close()

    @property
    def pid(self) -> int:
        return self.running.process.pid


@contextlib.contextmanager
def gated(directory: Path) -> Iterator[Gated]:
    running = Running(directory, directory / "manifests", verb="gateway", args=("--wait", "1", "--access-log", "off"))
    address = running.address.removesuffix(".1") + ".2"
    write(
        directory / "manifests",
        gateway=GATEWAY,
        routes=_ROUTES,
        pools=f"{POOL}---\n{_SERVICE}",
        pods=_POD.replace("ADDRESS", address),
    )
    endpoint = RawEndpoint(address, 8000)
    try:
        with running:
            yield Gated(running, endpoint)
    finally:
        endpoint.close()
