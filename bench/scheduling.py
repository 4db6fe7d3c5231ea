"""`make bench-scheduling`: every workload with every policy, beside what was published of other pickers.

Usage: python -m bench.scheduling [--out docs/scheduling.md] [--json FILE: figures that are there already]
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
Figures = dict[str, Any]  # of one policy, as `headgate bench -o json` tells them

_COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("TTFT mean s", lambda one: f"{one['ttft']['mean']:.2f}"),
    ("p50", lambda one: f"{one['ttft']['p50']:.2f}"),
    ("p99", lambda one: f"{one['ttft']['p99']:.2f}"),
    ("TPOT mean ms", lambda one: f"{one['tpot']['mean'] * 1000:.0f}"),
    ("p99", lambda one: f"{one['tpot']['p99'] * 1000:.0f}"),
    ("tokens/s", lambda one: f"{one['output_tokens_per_s']:,.0f}"),
    ("hits", lambda one: f"{one['hit_rate']:.0%}"),
    ("in SLO", lambda one: f"{one['kept']:.0%}"),
    ("goodput/s", lambda one: f"{one['goodput']:.1f}"),
)


class Aim(NamedTuple):
    """`figure` of headgate's default against that of another policy, as a change; below or above `bound`."""

    workload: str
    what: str
    against: str
    figure: Callable[[Figures], float]
    bound: float
    least: bool  # the bound is the least that will do


def _ttft(one: Figures) -> float:
    return float(one["ttft"]["mean"])


def _tail(one: Figures) -> float:
    return float(one["ttft"]["p99"])


def _tpot(one: Figures) -> float:
    return float(one["tpot"]["mean"])


def _tokens(one: Figures) -> float:
    return float(one["output_tokens_per_s"])


def _goodput(one: Figures) -> float:
    return float(one["goodput"])


_ROUND, _THEIRS = "round-robin", "inference-extension-default"
AIMS = (
    Aim("shared-prefix", "output tokens/s", _ROUND, _tokens, 1.30, True),
    Aim("shared-prefix", "mean TTFT", _ROUND, _ttft, -0.95, False),
    Aim("shared-prefix", "goodput in SLO", _THEIRS, _goodput, 0.10, True),
    Aim("rag", "mean TTFT", _ROUND, _ttft, -0.93, False),
    Aim("rag", "mean TPOT", _ROUND, _tpot, -0.60, False),
    Aim("rag", "goodput in SLO", _THEIRS, _goodput, 0.10, True),
    Aim("multi-lora", "p99 TTFT", _ROUND, _tail, -0.60, False),
    Aim("multi-lora", "output tokens/s", _ROUND, _tokens, 0.40, True),
    Aim("multi-lora", "goodput in SLO", _THEIRS, _goodput, 0.10, True),
    Aim("chat", "goodput in SLO", _ROUND, _goodput, 0.0, True),
    Aim("chat", "goodput in SLO", _THEIRS, _goodput, 0.0, True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scheduling.md")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.json:
        found = json.loads(arguments.json.read_text())
    else:
        command = [sys.executable, "-m", "headgate", "bench", "-o", "json"]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return done.returncode
        found = json.loads(done.stdout)
    arguments.out.write_text(page(found))
    print(f"bench-scheduling: {arguments.out}")
    return 0


def page(found: dict[str, Any]) -> str:
    """The document."""
    parts = [
        "# Scheduling: what came of it",
        "",
        f"Written by `make bench-scheduling` on {datetime.now(UTC).date().isoformat()}, "
        f"Python {platform.python_version()}. "
        "What the workloads, the policies and the servers are: [rehearsals.md](rehearsals.md). "
        "The servers are simulated, and their speed is reckoned, not measured: read ratios.",
        "",
        "| workload | headgate's default | against | aim | found | |",
        "|---|---|---|---|---|---|",
        *(_judged(aim, found[aim.workload]) for aim in AIMS if aim.workload in found),
        "",
    ]
    for name, told in found.items():
        parts += [f"## {name}", "", _described(told["workload"]), "", *_table(told["policies"]), ""]
    return "\n".join(parts)


def _judged(aim: Aim, told: dict[str, Any]) -> str:
    by_name = {one["policy"]: one for one in told["policies"]}
    ours, theirs = aim.figure(by_name["default"]), aim.figure(by_name[aim.against])
    change = ours / theirs - 1 if theirs else float("inf")
    met = change >= aim.bound if aim.least else change <= aim.bound
    sign = "≥" if aim.least else "≤"
    return (
        f"| {aim.workload} | {aim.what} | {aim.against} | {sign} {aim.bound:+.0%} | {change:+.0%} | "
        f"{'met' if met else 'missed'} |"
    )


def _described(workload: dict[str, Any]) -> str:
    rates = " → ".join(f"{stage['requests_per_s']:g}" for stage in workload["stages"])
    seconds = sum(stage["seconds"] for stage in workload["stages"])
    return (
        f"{rates} requests a second for {seconds:g} s, {workload['endpoints']} × {workload['server']}; SLO "
        f"{workload['ttft_slo_s']:g} s to the first token, {workload['tpot_slo_s'] * 1000:g} ms for each further one."
    )


def _table(policies: list[Figures]) -> list[str]:
    return [
        "| policy | " + " | ".join(head for head, _ in _COLUMNS) + " |",
        "|---|" + "---|" * len(_COLUMNS),
        *(f"| {one['policy']} | " + " | ".join(show(one) for _, show in _COLUMNS) + " |" for one in policies),
    ]


if __name__ == "__main__":
    sys.exit(main())
