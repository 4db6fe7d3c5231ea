"""What each part costs: it runs, with right answers, and tells of every part."""

import subprocess
import sys

from bench.anatomy import VARIATIONS
from bench.processes import ROOT


def test_every_variation_answers_and_is_told() -> None:
    argv = [sys.executable, "-m", "bench.anatomy", "--rounds", "1", "--calls"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    costs = {row[0].removeprefix("| "): float(row[1]) for row in rows if row[0][2:] in {v.name for v in VARIATIONS}}
    assert len(costs) == len(VARIATIONS)
    assert all(cost > 1 for cost in costs.values())
    assert "| proxy/downstream.py data_received | 1.00 |" in done.stdout
