"""Peers: pinned, installed when they are asked for, and reported when that fails; what the figures are held against."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.install import install, version
from bench.processes import ROOT, Failed
from bench.report import Row
from bench.subject import _known
from bench.systems import SYSTEMS
from bench.targets import verdicts

PEERS = sorted({system.peer for system in SYSTEMS.values()} - {""})
OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


@pytest.mark.parametrize("peer", [*PEERS, "matplotlib"])
def test_every_peer_is_pinned_and_its_pins_name_no_host(peer: str) -> None:
    assert version(peer)[0].isdigit()
    locks = [*ROOT.glob(f"requirements/bench-{peer}.*"), *ROOT.glob(f"requirements/bench-{peer}/*.json")]
    assert len(locks) == 2
    for lock in locks:
        text = lock.read_text()
        assert '"resolved"' not in text
        assert "--index" not in text
        assert "@ file" not in text


def test_a_peer_that_does_not_install_is_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bench", "--systems", "floor,smg,direct", "--cases", "chat-short", "--rounds", "1"]
    argv += ["--seconds", "0.3", "--load", "own", "--work", str(tmp_path / "work")]
    argv += ["--output", str(tmp_path / "latest.json")]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **OFFLINE}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    rows = {row["system"]: row for row in json.loads((tmp_path / "latest.json").read_bytes())["cases"]}
    assert rows["smg"]["void"].startswith("not installed: ")
    assert "No matching distribution found" in rows["smg"]["void"]
    assert rows["smg"]["cpu_us_per_request"] is None
    assert rows["floor"]["cpu_us_per_request"] > 1
    assert rows["direct"]["requests_per_s"] > 100
    named = {"case", "system", "settings", "requests_per_s", "p50_ms", "p99_ms", "rss_mb", "errors"}
    assert named <= rows["floor"].keys() & rows["smg"].keys()
    assert "| smg | void: not installed: " in (tmp_path / "latest.md").read_text()
    assert (tmp_path / "latest.md").read_text() == done.stdout


def test_what_is_installed_as_pinned_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "bench-nothing.in").write_text("nothing==1.0\n")
    (pins / "bench-nothing.txt").write_text("")
    monkeypatch.setattr("bench.install._PINS", pins)
    home = tmp_path / "homes" / "nothing"
    home.mkdir(parents=True)
    (home / "of-another-version").touch()
    assert install("nothing", tmp_path / "homes") == home
    assert (home / "bin" / "python").exists()
    assert not (home / "of-another-version").exists()
    (home / "kept").touch()
    assert install("nothing", tmp_path / "homes") == home
    assert (home / "kept").exists()


def test_a_flag_that_headgate_does_not_have_is_said() -> None:
    assert _known("--metrics") == "--metrics"
    with pytest.raises(Failed, match="not there: headgate gateway has no --hyperdrive"):
        _known("--hyperdrive")


def row(system: str, **figures: float) -> Row:
    return Row("chat-short", system, "", figures, 0, ())


def test_targets_are_held_against_the_best_of_the_peers() -> None:
    rows = [row("headgate", cpu_us_per_request=30.0), row("smg", cpu_us_per_request=100.0)]
    rows += [row("sglang-router", cpu_us_per_request=60.0), row("vllm-router"), row("envoy", cpu_us_per_request=40.0)]
    lines = verdicts(rows).splitlines()
    assert "| chat-short | CPU × the best cache-aware peer | ≤ 0.4 | 0.5 | missed |" in lines
    assert "| chat-short | CPU × plain Envoy | ≤ 1 | 0.75 | met |" in lines
    assert "| chat-short | throughput, two workers × one | ≥ 0.9 |  | not measured |" in lines
    assert not [line for line in lines if line.startswith("| stream")]
    assert verdicts([]) == ""
