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
from control_plane import ControlPlane, find_programs

WANTED = bool(os.environ.get("HEADGATE_TEST_KUBERNETES"))
_RULES_SINCE = (1, 25)  # CEL in CustomResourceDefinitions


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    programs, missing = find_programs()
    if not WANTED:
        pytest.skip("needs a real API server: `make test-kubernetes` runs it and says what that takes")
    if programs is None:
        pytest.exit("\n".join(["test-kubernetes: programs are missing", *missing]), returncode=1)
    # Not tmp_path: logs, and the names of Unix sockets below it must stay short.
    with tempfile.TemporaryDirectory(prefix="headgate-") as directory, ControlPlane(programs, Path(directory)) as found:
        old = [] if found.version >= _RULES_SINCE else ["--no-rules"]
        definitions = subprocess.run(
            [sys.executable, "-m", "headgate", "crds", "--gke", *old], capture_output=True, text=True, check=True
        ).stdout
        found.apply(definitions)
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield found


@pytest.fixture(scope="session")
def judge(cluster: ControlPlane) -> ControlPlane:
    """Who holds objects against our definitions, with the rules between fields where it knows any."""
    return cluster
