"""What the charts and deploy/gke hold is what a real API server takes: built-in kinds, ours, and GKE's policies."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import pytest
import yaml
from control_plane import ControlPlane, free_ports

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("tests/deploy/golden/*.yaml"), *ROOT.glob("deploy/gke/*/*.yaml")])
_SINCE = {"Deployment": (1, 30)}  # preStop sleeps and gRPC probes
# Kinds of others, whose definitions are not here.
_FOREIGN = (
    *("monitoring.googleapis.com/", "monitoring.coreos.com/", "networking.istio.io/"),
    *("container.cnrm.cloud.google.com/", "cloud.google.com/", "ray.io/"),
)


@pytest.fixture(scope="module")
def plurals(cluster: ControlPlane) -> dict[tuple[str, str], tuple[str, bool]]:
    for name in ("headgate-system", "inference", "team-a", "team-b"):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return _plurals(cluster)


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_object_is_taken(
    cluster: ControlPlane, plurals: dict[tuple[str, str], tuple[str, bool]], file: Path
) -> None:
    refused: list[str] = []
    for one in yaml.safe_load_all(file.read_text()):
        key = (one["apiVersion"], one["kind"])
        if key not in plurals or cluster.version < _SINCE.get(one["kind"], (0, 0)):
            # The server is too old, or it is a kind of others: said by the names above, not passed over for any reason.
            assert one["kind"] in (*_SINCE, "PodDisruptionBudget", "HorizontalPodAutoscaler") or _foreign(one), key
            continue
        refusal = cluster.refusal(_path(one, plurals[key]), one)
        if refusal:
            refused.append(f"{one['kind']} {one['metadata']['name']}: {refusal}")
    assert not refused


def _foreign(one: dict[str, Any]) -> bool:
    extension = one["kind"] in ("GCPRoutingExtension", "GCPTrafficExtension")
    return extension or one["apiVersion"].startswith(_FOREIGN)


def _plurals(cluster: ControlPlane) -> dict[tuple[str, str], tuple[str, bool]]:
    """(apiVersion, kind) → plural, and whether it has a namespace, of all that is served."""
    found: dict[tuple[str, str], tuple[str, bool]] = {}
    groups = cluster.request("GET", "/apis")["groups"]
    versions = ["v1", *[each["groupVersion"] for group in groups for each in group["versions"]]]
    for version in versions:
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        for resource in cluster.request("GET", root)["resources"]:
            if "/" not in resource["name"]:
                found[version, resource["kind"]] = (resource["name"], resource["namespaced"])
    return found


def _path(one: dict[str, Any], resource: tuple[str, bool]) -> str:
    plural, namespaced = resource
    root = "/api/v1" if one["apiVersion"] == "v1" else f"/apis/{one['apiVersion']}"
    home = f"/namespaces/{one['metadata'].get('namespace', 'default')}" if namespaced else ""
    return f"{root}{home}/{plural}"


def _rendered(file: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in yaml.safe_load_all((ROOT / file).read_text()):
        found.setdefault(one["kind"], []).append(one)
    return found


def test_a_picker_runs_as_its_chart_starts_it_with_the_rights_that_it_gives(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    """Whoever reads its metrics needs the token that the chart makes for that."""
    chart = _rendered("deploy/gke/3-autopilot-body-routing/helm-inferencepool.yaml")
    rights = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Service", "InferencePool")
    cluster.apply(*[one for kind in rights for one in chart[kind]])
    for name, text in chart["ConfigMap"][0]["data"].items():
        (tmp_path / name).write_text(text)
    words = chart["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]["args"]
    words = [word.replace("/config/", f"{tmp_path}/") for word in words if "-port=" not in word]
    ports = free_ports(3)
    words += [
        f"--{name}={port}" for name, port in zip(("grpc-port", "grpc-health-port", "metrics-port"), ports, strict=True)
    ]
    reader = cluster.account("default", "vllm-llama-pool-epp-metrics-reader")
    token = yaml.safe_load(reader.read_text())["users"][0]["user"]["token"]
    kubeconfig = cluster.account("default", "vllm-llama-pool-epp")
    with _running(
        [*words, f"--kubeconfig={kubeconfig}", "--address=127.0.0.1", "--drain-timeout=0s"], tmp_path
    ) as told:
        told.until("Ready: endpoints of the pool default/vllm-llama-pool are picked")
        assert _status(ports[2]) == 401
        assert _status(ports[2], token) == 200
    assert "forbidden" not in told.text
    assert not cluster.get("leases", "-n", "default")["items"]
    (pool,) = [one for one in cluster.get("inferencepools")["items"] if one["metadata"]["name"] == "vllm-llama-pool"]
    assert "status" not in pool  # that is for the gateway whose picker it is
    cluster.kubectl("delete", "inferencepool", "vllm-llama-pool")


@pytest.mark.parametrize("golden", ["gateway", "gateway-of-two-namespaces"])
@pytest.mark.usefixtures("plurals")
def test_a_gateway_runs_as_its_chart_starts_it_with_the_rights_that_it_gives(
    cluster: ControlPlane, golden: str, tmp_path: Path
) -> None:
    chart = _rendered(f"tests/deploy/golden/{golden}.yaml")
    rights = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Service", "GatewayClass")
    made = [one for kind in rights for one in chart[kind]]
    cluster.apply(*made)
    for name, text in chart.get("ConfigMap", [{"data": {}}])[0]["data"].items():
        (tmp_path / name).write_text(text)
    words = chart["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]["args"]
    words = [word.replace("/config/", f"{tmp_path}/") for word in words]
    kubeconfig = cluster.account("headgate-system", "headgate")
    (port,) = free_ports(1)
    words += [f"--kubeconfig={kubeconfig}", "--address=127.0.0.1", f"--metrics=127.0.0.1:{port}", "--grace=0"]
    with _running(words, tmp_path) as told:
        told.until("Ready after")
        assert _status(port) == 200
        cluster.kubectl(
            "wait", "--for=condition=Accepted", "gatewayclass/headgate", "--timeout=30s"
        )  # it leads, it writes
    assert "forbidden" not in told.text
    cluster.kubectl("delete", "lease", "-n", "headgate-system", "--all")
    for one in made:  # the next one has other rights, by the same names
        cluster.kubectl(
            "delete", one["kind"], one["metadata"]["name"], "-n", one["metadata"].get("namespace", "default")
        )


def test_a_body_based_router_runs_as_its_chart_starts_it_with_the_rights_that_it_gives(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    chart = _rendered("deploy/gke/3-autopilot-body-routing/helm-body-based-routing.yaml")
    cluster.apply(*[one for kind in ("ServiceAccount", "Role", "RoleBinding") for one in chart[kind]])
    words = chart["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]["args"]
    ports = free_ports(3)
    words = [word for word in words if "-port=" not in word]
    words += [
        f"--{name}={port}" for name, port in zip(("grpc-port", "grpc-health-port", "metrics-port"), ports, strict=True)
    ]
    kubeconfig = cluster.account("default", "body-based-router")
    with _running(
        [*words, f"--kubeconfig={kubeconfig}", "--address=127.0.0.1", "--drain-timeout=0s"], tmp_path
    ) as told:
        told.until("Ready")
        assert _status(ports[2]) == 200
    assert "forbidden" not in told.text


class _Told:
    """What a process says, line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.text = ""
        self._process = process
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def until(self, words: str) -> None:
        while words not in self.text:
            try:
                self.text += self._lines.get(timeout=30)
            except Empty:
                raise AssertionError(f"it never said {words!r}:\n{self.text}") from None

    def rest(self) -> None:
        self._reader.join(10)
        while not self._lines.empty():
            self.text += self._lines.get()


@contextmanager
def _running(words: list[str], state: Path) -> Iterator[_Told]:
    environment = {"PATH": os.environ["PATH"], "HEADGATE_STATE": str(state / "state"), "NAMESPACE": "default"}
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told = _Told(process)
    try:
        yield told
        process.terminate()
        assert process.wait(30) == 0
        told.rest()
    finally:
        process.kill()
        process.wait()


def _status(port: int, token: str = "") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
