"""`make bench-scheduling`: the document is what the figures say."""

import json
import subprocess
import sys
from pathlib import Path

from bench.bounds import EASED
from bench.scheduling import AIMS, page

from headgate.trial.cards import SERVERS
from headgate.trial.request import Request
from headgate.trial.run import run

ROOT = Path(__file__).parents[2]


def one(policy: str, tokens: float, ttft: float) -> dict[str, object]:
    spread = {"mean": ttft, "p50": ttft, "p90": ttft, "p99": 2 * ttft}
    return {
        "policy": policy,
        "ttft": spread,
        "tpot": {"mean": 0.02, "p50": 0.02, "p90": 0.02, "p99": 0.04},
        "output_tokens_per_s": tokens,
        "hit_rate": 0.5,
        "kept": 0.9,
        "goodput": tokens / 100,
    }


def test_aims_are_judged_by_the_figures_of_one_run() -> None:
    policies = [one("round-robin", 1000, 10), one("inference-extension-default", 2000, 1), one("default", 2400, 0.4)]
    stages = [{"requests_per_s": 15.0, "seconds": 20.0}, {"requests_per_s": 30.0, "seconds": 20.0}]
    workload = {"stages": stages, "endpoints": 8, "server": "a", "ttft_slo_s": 2.0, "tpot_slo_s": 0.1}
    text = page({"shared-prefix": {"workload": workload, "policies": policies}})
    assert "| shared-prefix | output tokens/s | round-robin | ≥ +130% | +140% | met |  |" in text
    assert "| shared-prefix | mean TTFT | round-robin | ≤ -95% | -96% | met |  |" in text
    assert "| shared-prefix | goodput in SLO | inference-extension-default | ≥ +10% | +20% | met |  |" in text
    assert "15 → 30 requests a second for 40 s, 8 × a; SLO 2 s to the first token, 100 ms" in text
    assert "| default | 0.40 | 0.40 | 0.80 | 20 | 40 | 2,400 | 50% | 90% | 24.0 |" in text
    slow = page({"shared-prefix": {"workload": workload, "policies": [*policies[:2], one("default", 1100, 9)]}})
    assert slow.count("| missed |") == 3


def test_beside_an_aim_stands_what_could_be_reached_at_best() -> None:
    policies = [one("round-robin", 1000, 10), one("inference-extension-default", 2000, 1), one("default", 2000, 1)]
    stages = [{"requests_per_s": 6.0, "seconds": 9.0}]
    workload = {"stages": stages, "endpoints": 8, "server": "a", "ttft_slo_s": 2.0, "tpot_slo_s": 0.1}
    told = {"rag": {"workload": workload, "policies": policies}}
    text = page(told, "", {}, {"rag": one("at best", 2100, 0.9)})
    assert "| rag | goodput in SLO | inference-extension-default | ≥ +10% | +0% | missed | +5% |" in text
    assert "rag: each document at one endpoint" in text


def test_what_could_be_reached_is_rehearsed_too() -> None:
    requests = [Request(float(number), 100, 10, group=number % 5, shared=50) for number in range(20)]
    outcomes = run(requests, EASED["rag"].policy(), SERVERS["h100-llama-3.1-8b"], 3, lambda: 0.0)
    assert [one.endpoint for one in outcomes] == [0, 1, 2, 0, 1] * 4


def test_endpoints_needed_are_judged_too() -> None:
    workload = {"stages": [{"requests_per_s": 36.0, "seconds": 120.0}], "share": 0.95}
    policies = [
        {"policy": "round-robin", "endpoints": None},
        {"policy": "inference-extension-default", "endpoints": 10},
        {"policy": "default", "endpoints": 8},
    ]
    text = page({}, "scheduling.svg", {"rag": {"workload": workload, "policies": policies}})
    assert "| rag | endpoints for the same SLO | round-robin | ≤ -30% | -100% | met |  |" in text
    assert "| rag | endpoints for the same SLO | inference-extension-default | ≤ -10% | -20% | met |  |" in text
    assert "| rag | 36 | 120 | round-robin | none |" in text
    assert "![What each policy came to](scheduling.svg)" in text


def test_it_is_written_from_what_headgate_bench_tells(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headgate", "bench", "chat", "--seconds", "1", "-o", "json"]
    told = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    figures, out = tmp_path / "figures.json", tmp_path / "scheduling.md"
    figures.write_text(told)
    command = [sys.executable, "-m", "bench.scheduling", "--no-bounds", "--json", str(figures), "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    policies = [one["policy"] for one in json.loads(told)["chat"]["policies"]]
    assert all(f"| {policy} | " in out.read_text() for policy in policies)
    assert {aim.against for aim in AIMS} <= set(policies)
    drawn = out.with_suffix(".svg").read_text()
    assert all(f">{said}<" in drawn for said in ("chat", *policies))
    assert "](scheduling.svg)" in out.read_text()
