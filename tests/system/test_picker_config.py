"""An EndpointPickerConfig counts from the next request on, and one with mistakes changes nothing."""

import json
import urllib.request
from pathlib import Path

import pytest
from running import Running
from written import system

CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: {scorer}
- type: weighted-random-picker
schedulingProfiles:
- name: {name}
  plugins: [{{pluginRef: {scorer}, weight: {weight}}}, {{pluginRef: weighted-random-picker}}]
"""


def decision(gate: Running) -> dict[str, object]:
    """Of a request that is made now."""
    body = json.dumps({"model": "base", "prompt": "Hello", "max_tokens": 1}).encode()
    request = urllib.request.Request(
        f"http://{gate.address}:8080/v1/completions", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        number = answer.headers["x-request-id"]
    told = json.loads(gate.run("explain", number, "-o", "json").stdout)
    found: dict[str, object] = told["decisions"][-1]
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_picker_config_counts_as_soon_as_it_is_saved_and_a_broken_one_not_at_all(
    tmp_path: Path, workers: str
) -> None:
    config = tmp_path / "picker.yaml"
    config.write_text(CONFIG.format(name="first", scorer="load-aware-scorer", weight=2))
    args = ("--sim-speed", "0", "--workers", workers, "--picker-config", str(config))
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        before = decision(gate)
        assert before["profile"] == "first"
        assert str(before["why"]).startswith("drawn by weight")
        config.write_text(CONFIG.format(name="broken", scorer="multicluster-queue-scorer", weight=2))
        gate.until(lambda: gate.said("multicluster-queue-scorer is not supported"))
        assert gate.said(f"{config}:4: plugins[0].type")
        assert decision(gate)["profile"] == "first"
        config.write_text(CONFIG.format(name="second", scorer="queue-scorer", weight=1))
        gate.until(lambda: decision(gate)["profile"] == "second")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_pools_that_say_nothing_pick_by_the_profile_of_the_command_line(tmp_path: Path, workers: str) -> None:
    args = ("--sim-speed", "0", "--workers", workers, "--profile", "inference-extension-default")
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        assert decision(gate)["profile"] == "inference-extension-default"


def test_a_picker_config_may_be_a_text(tmp_path: Path) -> None:
    text = CONFIG.format(name="as-text", scorer="queue-scorer", weight=1)
    args = ("--sim-speed", "0", "--config-text", text)
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        assert decision(gate)["profile"] == "as-text"
