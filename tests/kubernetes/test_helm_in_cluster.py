"""Real helm before a real API server: what is installed, upgraded and removed is there, changed, and gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
SINCE = (1, 30)  # as the charts say themselves
CHARTS = {
    "headgate": ((), ("--set", "replicas=3"), "deployment/one-headgate"),
    "headgate-inferencepool": (
        ("--set", "inferencePool.modelServers.matchLabels.app=vllm", "--set", "provider.name=none"),
        ("--set", "inferenceExtension.replicas=3"),
        "deployment/one-epp",
    ),
    "headgate-body-based-routing": ((), ("--set", "bbr.replicas=3"), "deployment/body-based-router"),
}


def helm(cluster: ControlPlane, home: Path, *words: str) -> str:
    program = Path(sys.executable).with_name("helm")
    environment = {"HOME": str(home), "KUBECONFIG": str(cluster.kubeconfig), "PATH": os.environ["PATH"]}
    command = [str(program), *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cluster_wide(cluster: ControlPlane) -> set[tuple[str, str]]:
    """What is in no namespace, kind and name: other tests have left theirs."""
    found = cluster.get("clusterroles,clusterrolebindings,gatewayclasses")["items"]
    return {(one["kind"], one["metadata"]["name"]) for one in found}


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_is_installed_upgraded_and_removed(cluster: ControlPlane, tmp_path: Path, chart: str) -> None:
    if cluster.version < SINCE:
        pytest.skip(f"{cluster.release} is too old for the charts, which want 1.30: give a newer kube-apiserver")
    arguments, more, deployment = CHARTS[chart]
    namespace = f"helm-{chart}"
    where, before = ("--namespace", namespace), cluster_wide(cluster)
    helm(cluster, tmp_path, "install", "one", f"deploy/helm/{chart}", *where, "--create-namespace", *arguments)
    assert cluster.get(deployment, *where)["spec"]["replicas"] != 3
    assert chart == "headgate-body-based-routing" or cluster_wide(cluster) > before  # that one has nothing there
    helm(cluster, tmp_path, "upgrade", "one", f"deploy/helm/{chart}", *where, *arguments, *more)
    assert cluster.get(deployment, *where)["spec"]["replicas"] == 3
    helm(cluster, tmp_path, "uninstall", "one", *where)
    for kind in ("deployments", "services", "serviceaccounts", "configmaps", "roles", "rolebindings", "secrets"):
        left = [one["metadata"]["name"] for one in cluster.get(kind, *where)["items"]]
        assert set(left) <= {"default", "kube-root-ca.crt"}, kind  # what Kubernetes makes itself in each namespace
    assert cluster_wide(cluster) == before
