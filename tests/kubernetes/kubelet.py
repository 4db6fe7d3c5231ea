"""Plays scheduler and kubelet: Pods with addresses of loopback, in which a simulated model server runs.

Each Pod is an object of the API server, with a node and a status as a kubelet writes it, and a process of this machine.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from control_plane import ControlPlane, Refused

_numbers = itertools.count(1)
_PORT = 8000


class Pod:
    """One Pod and its server. `address` is the Pod's, the port is 8000."""

    def __init__(self, namespace: str, name: str, address: str, process: subprocess.Popen[bytes]) -> None:
        self.namespace, self.name, self.address, self.process = namespace, name, address, process
        self.path = f"/api/v1/namespaces/{namespace}/pods/{name}"


class Kubelet:
    """Use as a context manager: what still runs at the end is ended."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.pods: dict[str, Pod] = {}

    def __enter__(self) -> "Kubelet":
        return self

    def __exit__(self, *_: object) -> None:
        for pod in list(self.pods.values()):
            pod.process.kill()
            pod.process.wait()
            with suppress(Refused, OSError):
                self._forget(pod)

    def run(
        self,
        template: dict[str, Any],
        model: str,
        adapters: Iterable[str] = (),
        name: str = "",
        command: Callable[[str], list[str]] | None = None,
        health: str = "/health",
    ) -> Pod:
        """A Pod made of a template (metadata and spec), which becomes ready once its server answers."""
        name = name or f"pod-{next(_numbers)}"
        pod = self.start(template, name, command or (lambda address: simulator(address, model, adapters)))
        until(lambda: _answers(pod, health), 60)
        self.status(pod, ready=True)
        return pod

    def start(self, template: dict[str, Any], name: str, command: Callable[[str], list[str]]) -> Pod:
        """As `run`, up to where the Pod has an address, and its server starts."""
        address = f"127.{os.getpid() % 100 + 130}.{next(_numbers)}.1"
        log = (self.cluster.directory / f"{self.namespace}-{name}.log").open("wb")
        environment = {
            "PATH": os.environ["PATH"],
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true",
            "HEADGATE_POD_ADDRESS": address,
        }
        with log:
            process = subprocess.Popen(command(address), env=environment, stdout=log, stderr=log)
        pod = self.pods[name] = Pod(self.namespace, name, address, process)
        spec = {**template["spec"], "nodeName": "node"}
        labels = template.get("metadata", {}).get("labels", {})
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
        self.cluster.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", body)
        self.status(pod, ready=False)
        return pod

    def status(self, pod: Pod, *, ready: bool) -> None:
        word = "True" if ready else "False"
        status = {
            "phase": "Running",
            "podIP": pod.address,
            "podIPs": [{"ip": pod.address}],
            "conditions": [{"type": one, "status": word} for one in ("Ready", "ContainersReady")],
        }
        path = f"{pod.path}/status"
        self.cluster.request("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")

    def delete(self, pod: Pod, patience: float = 30) -> None:
        """As `kubectl delete pod`: it is told to end, ends what it has, and is gone."""
        self.cluster.request("DELETE", f"{pod.path}?gracePeriodSeconds=30")
        time.sleep(PRE_STOP_S)
        pod.process.send_signal(signal.SIGTERM)
        pod.process.wait(patience)
        self._forget(pod)

    def _forget(self, pod: Pod) -> None:
        self.cluster.request("DELETE", f"{pod.path}?gracePeriodSeconds=0")
        del self.pods[pod.name]


# What a preStop hook waits in a Deployment that wants no request to fail: longer than its end takes to get around.
PRE_STOP_S = 1.0


def simulator(address: str, model: str, adapters: Iterable[str] = (), port: int = _PORT) -> list[str]:
    words = [sys.executable, "-m", "headgate", "sim", model, "--host", address, "--port", str(port), "--speed", "0"]
    modules = [f"{name}=/adapters/{name}" for name in adapters]
    return [*words, "--enable-lora", "--max-loras", "8", "--lora-modules", *modules] if modules else words


def until(condition: Callable[[], object], patience: float = 30, why: Callable[[], object] = lambda: "") -> None:
    """Wait until the condition holds, at most `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def _answers(pod: Pod, health: str) -> bool:
    assert pod.process.poll() is None, f"the server of {pod.name} has ended"
    with suppress(OSError), urllib.request.urlopen(f"http://{pod.address}:{_PORT}{health}", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
