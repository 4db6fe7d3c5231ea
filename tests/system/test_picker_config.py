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


def served(gate: Running) -> str:
    """The id of a request that is made now."""
    body = json.dumps({"model": "base", "prompt": "Hello", "max_tokens": 1}).encode()
    request = urllib.request.Request(
        f"http://{gate.address}:8080/v1/completions", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        number: str = answer.headers["x-request-id"]
    return number


def decision(gate: Running) -> dict[str, object]:
    """Of a request that is made now."""
    told = json.loads(gate.admin(f"/explain/{served(gate)}"))
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
        # Among both: what the second serves may be read a moment after the first is asked.
        gate.until(lambda: str(decision(gate)["why"]).startswith("drawn by weight"))
        assert decision(gate)["profile"] == "first"
        config.write_text(CONFIG.format(name="broken", scorer="multicluster-queue-scorer", weight=2))
        gate.until(lambda: gate.said("multicluster-queue-scorer is not supported"))
        assert gate.said(f"{config}:4: plugins[0].type")
        assert decision(gate)["profile"] == "first"
        config.write_text(CONFIG.format(name="second", scorer="queue-scorer", weight=1))
        gate.until(lambda: decision(gate)["profile"] == "second")


def test_what_another_policy_would_have_chosen_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.format(name="other", scorer="load-aware-scorer", weight=2))
    args = ("--sim-speed", "0", "--workers", "2")
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        number = served(gate)
        told = json.loads(gate.run("explain", number, "--what-if", str(other), "-o", "json").stdout)["what_if"]
        assert (told["file"], told["profile"]) == (str(other), "other")
        assert [one["endpoint"] for one in told["decisions"][0]["decision"]["candidates"]]
        text = gate.run("explain", number, "--what-if", str(other)).stdout
        assert f"under {other}\n" in text
        other.write_text("kind: EndpointPickerConfig\n")
        wrong = gate.run("explain", number, "--what-if", str(other))
        assert wrong.returncode == 1
        assert f"{other}:1: apiVersion: write `apiVersion: llm-d.ai/v1alpha1`" in wrong.stderr
        missing = gate.run("explain", number, "--what-if", "nowhere.yaml")
        assert missing.stderr == "headgate: --what-if nowhere.yaml: No such file or directory\n"


def test_pools_that_say_nothing_pick_by_the_profile_of_the_command_line(tmp_path: Path) -> None:
    args = ("--sim-speed", "0", "--workers", "2", "--profile", "inference-extension-default")
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        assert decision(gate)["profile"] == "inference-extension-default"


def test_a_picker_config_may_be_a_text(tmp_path: Path) -> None:
    text = CONFIG.format(name="as-text", scorer="queue-scorer", weight=1)
    args = ("--sim-speed", "0", "--config-text", text)
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        assert decision(gate)["profile"] == "as-text"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_policy_in_the_shadow_chooses_too_and_sends_nothing(tmp_path: Path, workers: str) -> None:
    config = tmp_path / "shadow.yaml"
    config.write_text(CONFIG.format(name="first", scorer="load-aware-scorer", weight=2))
    args = ("--sim-speed", "0", "--workers", workers, "--shadow-config", str(config))
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        for _ in range(5):
            assert decision(gate)["profile"] == "default"
        (row,) = gate.get("shadow")
        assert (row["pool"], row["profile"], row["requests"]) == ("default/pool", "first", 5)
        assert "POOL" in gate.run("get", "shadow").stdout
        config.write_text(CONFIG.format(name="broken", scorer="multicluster-queue-scorer", weight=2))
        gate.until(lambda: gate.said(f"{config}:4: plugins[0].type: multicluster-queue-scorer is not supported"))
        served(gate)
        (row,) = gate.get("shadow")
        assert (row["profile"], row["requests"]) == ("first", 6)
        config.write_text(CONFIG.format(name="second", scorer="queue-scorer", weight=1))
        gate.until(lambda: gate.get("shadow")[0]["profile"] == "second")
        assert gate.get("shadow")[0]["requests"] == 0
        assert decision(gate)["profile"] == "default"


def test_without_a_shadow_there_is_nothing_to_get(tmp_path: Path) -> None:
    with Running(tmp_path, system(tmp_path / "manifests", replicas=1), args=("--sim-speed", "0")) as gate:
        assert gate.get("shadow") == []
        assert "--shadow-config FILE" in gate.run("get", "shadow").stdout


PYTHON = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: python, name: mine, module: ./my_policy.py, function: best, parameters: {timeBudget: 40ms}}
"""
BEST = "def best(ask, endpoint, now):\n    return 1.0 if endpoint.name.endswith(%r) else 0.0\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_policy_in_python_counts_as_soon_as_it_is_saved_and_one_that_hangs_harms_nobody(
    tmp_path: Path, workers: str
) -> None:
    config, module = tmp_path / "picker.yaml", tmp_path / "my_policy.py"
    config.write_text(PYTHON)
    module.write_text(BEST % "-rank-0")
    args = ("--sim-speed", "0", "--workers", workers, "--slow-start", "0")
    args += ("--picker-config", str(config), "--shadow-config", str(config))
    with Running(tmp_path, system(tmp_path / "manifests", replicas=2), args=args) as gate:
        first, second = sorted(str(one["endpoint"]) for one in gate.get("endpoints"))
        for best in (first, second, first):
            module.write_text(BEST % best)
            gate.until(lambda best=best: {decision(gate)["chosen"] for _ in range(4)} == {best})
        module.write_text("def best(ask, endpoint, now:\n")
        gate.until(lambda: gate.said(f"{module}:1: policy mine: it is no Python"))
        assert decision(gate)["chosen"] == first
        module.write_text("def best(ask, endpoint, now):\n    while True:\n        pass\n")
        gate.until(lambda: gate.said("switched off: it ran for 50 ms and was stopped") or not decision(gate))
        skipped = decision(gate)["skipped"]
        assert isinstance(skipped, dict)
        assert skipped["mine"] == "switched off: it ran for 50 ms and was stopped"
        module.write_text(BEST % second)
        gate.until(lambda: decision(gate)["skipped"] == {})
        assert decision(gate)["chosen"] == second
        gate.until(lambda: gate.get("shadow")[0]["same_percent"] == 100.0 or not served(gate))
        told = json.loads(gate.run("explain", served(gate), "--what-if", str(config), "-o", "json").stdout)
        assert told["what_if"]["decisions"][0]["decision"]["chosen"] == second
