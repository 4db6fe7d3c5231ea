"""Who names a configuration that can't be used starts nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from written import POOL

PICKER = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: {plugin}\n"
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


def test_a_text_with_a_mistake(tmp_path: Path) -> None:
    done = started(tmp_path, "epp", "--config-text", PICKER.format(plugin="quue-scorer"))
    assert done.returncode == 1, done.stderr
    assert "--config-text:4: plugins[0].type" in done.stderr
    assert "--config-text holds no EndpointPickerConfig that can be used" in done.stderr
