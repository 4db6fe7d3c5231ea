"""Tests against a real API server: `make test-kubernetes` runs them, with the programs that KUBEBUILDER_ASSETS has.

For tests: `cluster`, a running ControlPlane that has our CustomResourceDefinitions.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_plane import RULES_SINCE, ControlPlane, find_programs
from extension_server import ExtensionServer
from gate import gateway, refusals
from kubelet import Kubelet
from running import Running
from town import CLASS, POOLS, Town

from headgate.api.crds import crds

ROOT = Path(__file__).parents[2]
WANTED = bool(os.environ.get("HEADGATE_TEST_KUBERNETES"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    programs, missing = find_programs()
    if not WANTED:
        pytest.skip("needs a real API server: `make test-kubernetes` runs it and says what that takes")
    if programs is None:
        pytest.exit("\n".join(["test-kubernetes: programs are missing", *missing]), returncode=1)
    # Not tmp_path: logs, and the names of Unix sockets below it must stay short.
    with tempfile.TemporaryDirectory(prefix="headgate-") as directory, ControlPlane(programs, Path(directory)) as found:
        old = [] if found.version >= RULES_SINCE else ["--no-rules"]
        definitions = subprocess.run(
            [sys.executable, "-m", "headgate", "crds", "--gke", *old], capture_output=True, text=True, check=True
        ).stdout
        found.apply(definitions)
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield found


@pytest.fixture(scope="session", params=["cluster", "extensions"])
def judge(cluster: ControlPlane, request: pytest.FixtureRequest) -> Iterator[ControlPlane | ExtensionServer]:
    """Who holds objects against our definitions: the cluster; where it knows no rules, also somebody who does."""
    if request.param == "cluster":
        yield cluster
        return
    program = cluster.programs.apiextensions_apiserver
    if cluster.version >= RULES_SINCE:
        pytest.skip(f"{cluster.release} knows the rules between fields itself")
    if program is None:
        pytest.skip(f"{cluster.release} knows no rules: put a newer apiextensions-apiserver into KUBEBUILDER_ASSETS")
    with ExtensionServer(program, cluster) as found:
        found.define(list(crds(gke=True)))
        yield found


@pytest.fixture(scope="session")
def account(cluster: ControlPlane) -> Path:
    """A kubeconfig of the service account that deploy/rbac gives a gateway, with its rights and no others."""
    cluster.kubectl("apply", "-f", ROOT / "deploy" / "rbac" / "gateway.yaml")
    return cluster.account("headgate-system", "headgate")


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
def gate(account: Path, town: Town, tmp_path: Path) -> Iterator[Running]:
    """A gateway for the town alone, which is never refused anything."""
    with gateway(account, tmp_path, "--namespace", town.namespace) as running:
        yield running
        assert not refusals(running)
        assert running.stop() == 0
