"""What the charts and deploy/gke hold is what a real API server takes: built-in kinds, ours, and GKE's policies."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from control_plane import ControlPlane

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
