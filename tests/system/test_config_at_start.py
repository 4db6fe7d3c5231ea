"""A configuration that was named itself must be right at the beginning: picking by another would be a surprise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PICKER = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: {plugin}\n"
POOL = """\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  targetPorts: [{number: 8000}]
  selector: {matchLabels: {app: none}}
  endpointPickerRef: {name: picker, port: {number: 9002}}
"""
LINES = {
    "gateway": ("--picker-config", "--shadow-config"),
    "epp": ("--config-file",),
}
CASES = [(verb, flag) for verb, flags in LINES.items() for flag in flags]


def started(tmp_path: Path, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "pool.yaml").write_text(POOL)
    own = ("--pool-name", "pool", "--grpc-port", "0") if verb == "epp" else ("--metrics", "off")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HEADGATE_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "headgate", verb, *own, *words, str(tmp_path / "pool.yaml")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(("verb", "flag"), CASES)
def test_a_file_that_is_not_there(tmp_path: Path, verb: str, flag: str) -> None:
    done = started(tmp_path, verb, flag, "nowhere.yaml")
    assert done.returncode == 1, done.stderr
    assert "nowhere.yaml: no such file or directory" in done.stderr
    assert "nowhere.yaml holds no EndpointPickerConfig that can be used: nothing is started" in done.stderr
    assert "Ready" not in done.stderr


@pytest.mark.parametrize(("verb", "flag"), CASES)
def test_a_file_with_a_mistake(tmp_path: Path, verb: str, flag: str) -> None:
    config = tmp_path / "picker.yaml"
    config.write_text(PICKER.format(plugin="quue-scorer"))
    done = started(tmp_path, verb, flag, str(config))
    assert done.returncode == 1, done.stderr
    assert f"{config}:4: plugins[0].type" in done.stderr
    assert f"{config} holds no EndpointPickerConfig that can be used" in done.stderr


@pytest.mark.parametrize(("verb", "flag"), CASES)
def test_a_file_with_something_else(tmp_path: Path, verb: str, flag: str) -> None:
    config = tmp_path / "other.yaml"
    config.write_text(POOL.replace("name: pool", "name: other"))
    done = started(tmp_path, verb, flag, str(config))
    assert done.returncode == 1, done.stderr
    assert f"{config} holds no EndpointPickerConfig that can be used" in done.stderr


@pytest.mark.parametrize("verb", LINES)
def test_a_text_with_a_mistake(tmp_path: Path, verb: str) -> None:
    done = started(tmp_path, verb, "--config-text", PICKER.format(plugin="quue-scorer"))
    assert done.returncode == 1, done.stderr
    assert "--config-text:4: plugins[0].type" in done.stderr
    assert "--config-text holds no EndpointPickerConfig that can be used" in done.stderr


def test_a_policy_whose_code_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "picker.yaml"
    config.write_text(PICKER.format(plugin="python\n  module: ./mine.py\n  function: best"))
    done = started(tmp_path, "gateway", "--picker-config", str(config))
    assert done.returncode == 1, done.stderr
    assert "mine.py can't be read: No such file or directory" in done.stderr
    assert f"{config} holds no EndpointPickerConfig that can be used" in done.stderr
