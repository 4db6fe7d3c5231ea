"""The five examples, applied with kubectl to a real API server, and the commands of their READMEs before them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from control_plane import ControlPlane
from gate import gateway, refusals
from kubelet import Kubelet, until
from running import ROOT, Running

sys.path.insert(0, str(ROOT / "tests" / "examples"))  # what a README's commands answer
from example_readme import EXAMPLES, agrees, commands

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
CLASSES = ("gke-l7-regional-external-managed", "gke-l7-rilb")
# Kinds of other operators: a cluster without these knows none of them.
OTHERS = ("ComputeClass", "ContainerNodePool", "RayService")
SIDECARS_SINCE = (1, 30)  # and hooks that sleep


def files(example: str) -> list[Path]:
    return sorted(EXAMPLES.joinpath(example).glob("*.yaml"))


def documents(example: str) -> list[dict[str, Any]]:
    return [one for path in files(example) for one in yaml.safe_load_all(path.read_text()) if one]


def apply(cluster: ControlPlane, example: str, *more: str) -> None:
    """By kubectl, as it is written; what the cluster has no definition of fails, and only that."""
    given = ""
    words: tuple[str | Path, ...] = ("apply", *more, "-f", EXAMPLES / example)
    if cluster.version < SIDECARS_SINCE:
        given = "\n---\n".join(yaml.safe_dump(older(one)) for one in documents(example))
        words = (*words[:-1], "-")
    foreign = {one["kind"] for one in documents(example)} & set(OTHERS)
    told = cluster.kubectl(*words, given=given, fails=bool(foreign))
    if foreign:
        assert set(re.findall(r'no matches for kind "(\w+)"', told)) == foreign, told
        assert "Error from server" not in told, told
        assert "error validating" not in told, told


def older(obj: dict[str, Any]) -> dict[str, Any]:
    """As it was written before init containers could stay, and hooks could sleep."""
    if obj["kind"] == "Deployment":
        spec = obj["spec"]["template"]["spec"]
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            container.pop("restartPolicy", None)
            hook = container.get("lifecycle", {}).get("preStop", {})
            if "sleep" in hook:
                hook["exec"] = {"command": ["sleep", str(hook.pop("sleep")["seconds"])]}
    return obj


def adapters(example: str) -> list[str]:
    """The LoRA adapters that the ConfigMaps of the example want."""
    found: list[str] = []
    for one in documents(example):
        for text in one.get("data", {}).values() if one["kind"] == "ConfigMap" else ():
            wanted = yaml.safe_load(text).get("vLLMLoRAConfig", {}).get("ensureExist", {}).get("models", ())
            found += [adapter["id"] for adapter in wanted]
    return found


def model(template: dict[str, Any]) -> str:
    """What the vLLM container of a Deployment serves."""
    for container in template["spec"]["containers"]:
        words = [*container.get("command", ()), *container.get("args", ())]
        for i, word in enumerate(words):
            if word in ("serve", "--model"):
                return str(words[i + 1])
            if word.startswith("--model="):
                return str(word.partition("=")[2])
    raise AssertionError("no model is named")


def play(cluster: ControlPlane, kubelet: Kubelet, example: str) -> None:
    """What Deployments would become in a cluster; of Ray's the stand-in that the example has."""
    stand_in = EXAMPLES / example / "local" / "stand-in.yaml"
    if stand_in.exists():
        pod, config = yaml.safe_load_all(stand_in.read_text())
        program = cluster.directory / "serve.py"
        program.write_text(config["data"]["serve.py"])
        cluster.apply(config)
        kubelet.run(pod, "", command=lambda _: [sys.executable, str(program)], health="/-/healthz")
    for deployment in cluster.get("deployments")["items"]:
        template = deployment["spec"]["template"]
        for _ in range(deployment["spec"]["replicas"]):
            kubelet.run(template, model(template), adapters(example))


@pytest.mark.parametrize("example", NAMES)
def test_the_server_would_take_all_of_it(cluster: ControlPlane, example: str) -> None:
    apply(cluster, example, "--dry-run=server")


@pytest.fixture(params=NAMES)
def served(
    cluster: ControlPlane, account: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Running]]:
    example = request.param
    apply(cluster, example)
    classes = [word for name in CLASSES for word in ("--gateway-class", name)]
    with Kubelet(cluster, "default") as kubelet:
        play(cluster, kubelet, example)
        with gateway(account, tmp_path, *classes) as running:
            yield example, running
            assert not refusals(running)
            assert running.stop() == 0
        ours = [yaml.safe_dump(one) for one in documents(example) if one["kind"] not in OTHERS]
        cluster.kubectl("delete", "--wait=false", "-f", "-", given="\n---\n".join(ours))


def test_the_readmes_commands_answer_as_they_say(cluster: ControlPlane, served: tuple[str, Running]) -> None:
    example, running = served
    name = next(one["metadata"]["name"] for one in documents(example) if one["kind"] == "Gateway")
    cluster.kubectl("wait", "--for=condition=Programmed", f"gateway/{name}", "--timeout=30s")
    address = cluster.kubectl("get", "gateway", name, "-o", "jsonpath={.status.addresses[0].value}")
    assert address == running.address
    until(lambda: {row["state"] for row in running.get("endpoints")} == {"ready"})
    # What edits files, or asks for metrics, is of one machine.
    shown = [one for one in commands(example)[1:] if "curl" in one.script and not re.search("9090|cat >", one.script)]
    assert shown
    for command in shown:
        script = command.script.replace("127.0.0.1:8080", f"{address}:8080").replace("curl ", "curl -sS --max-time 20 ")
        done = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, timeout=60)
        assert agrees(done.stdout, command.answer), f"{script}\n{done.stdout}{done.stderr}"
