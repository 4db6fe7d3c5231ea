"""`headgate bench`, as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.cli import main

CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: SCORER}, {type: random-picker}]
"""


CARD = """\
{"cost": {"base": 0.01}, "block_size": 16, "num_blocks": 9000, "max_num_seqs": 64, "max_num_batched_tokens": 2048,
 "max_model_len": 8192}
"""


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headgate", "bench", *words]
    return subprocess.run(command, text=True, capture_output=True, timeout=60)


def begun(words: tuple[str, ...]) -> int:
    """The same in this process: the exit status."""
    try:
        return main(["bench", *words])
    except SystemExit as done:
        return int(done.code or 0)


def test_a_table_for_each_workload_with_a_line_for_each_policy(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(CONFIG.replace("SCORER", "queue-scorer"))
    done = bench("chat", "multi-lora", "--seconds", "2", "--policies", f"round-robin,default,{mine}")
    assert (done.returncode, done.stderr) == (0, "")
    chat, lora = done.stdout.strip().split("\n\n")
    assert chat.startswith("chat: ")
    assert "8 × a100-40g-llama-3.1-8b" in chat
    assert [line.split()[0] for line in lora.splitlines()[1:]] == ["policy", "round-robin", "default", str(mine)]


def test_where_prompts_are_computed_elsewhere_the_table_says_what_it_did() -> None:
    words = ("long-context", "--seconds", "5", "--prefill", "3", "--policies", "default,disaggregated")
    done = bench(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 × h100-llama-3.1-8b (3 for prefill); SLO" in done.stdout
    head, default, apart = done.stdout.strip().splitlines()[1:]
    assert head.split()[-6:] == ["longest", "ITL", "p50", "p99", "ms", "pulled"]
    assert default.split()[-1] == "0%"
    assert int(apart.split()[-1].removesuffix("%")) > 50


def test_json_has_all_figures_and_the_flags_count() -> None:
    words = ("chat", "--rate", "20", "--seconds", "3", "--endpoints", "2", "--server", "h100-llama-3.1-8b")
    done = bench(*words, "--policies", "default", "--seed", "7", "-o", "json")
    told = json.loads(done.stdout)["chat"]
    assert told["workload"]["stages"] == [{"requests_per_s": 20.0, "seconds": 3.0}]
    assert (told["workload"]["endpoints"], told["workload"]["server"]) == (2, "h100-llama-3.1-8b")
    (one,) = told["policies"]
    assert one["requests"] > 30
    assert 0 < one["ttft"]["p50"] <= one["ttft"]["p99"]
    again = bench(*words, "--policies", "default", "--seed", "7", "-o", "json")
    assert again.stdout == done.stdout
    assert bench(*words, "--policies", "default", "--seed", "8", "-o", "json").stdout != done.stdout


def test_tokens_cost_what_a_list_of_prices_says(tmp_path: Path) -> None:
    prices, card = tmp_path / "prices.yaml", tmp_path / "card.json"
    prices.write_text("a100-40g: 2.5\nl4: 0.7\n")
    card.write_text(CARD)
    words = ("chat", "--seconds", "1", "--policies", "default", "-o", "json")

    def cost(*more: str) -> float:
        (one,) = json.loads(bench(*words, *more).stdout)["chat"]["policies"]
        found: float = one["cost"]
        return found

    assert cost("--price", str(prices)) == cost("--price", "2.5") > 0
    assert cost("--price", "5") == pytest.approx(2 * cost("--price", "2.5"))
    assert cost("--price", "5", "--server", str(card)) > 0  # of an endpoint, whatever it runs on


def test_what_can_not_be_rehearsed_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, empty = tmp_path / "broken.yaml", tmp_path / "empty.yaml"
    broken.write_text(CONFIG.replace("SCORER", "queue-skorer"))
    nobody, prices, card = tmp_path / "nobody.yaml", tmp_path / "prices.yaml", tmp_path / "card.json"
    prices.write_text("h100: 2.5\nl4: 0.7\n")
    card.write_text(CARD)
    nobody.write_text(CONFIG.replace("{type: SCORER}", "{type: prefill-filter}"))
    empty.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    for words, status, said in (
        (("chatt",), 2, "there is no 'chatt', but shared-prefix, one-prefix, rag, multi-lora, chat"),
        (("chat", "--policies", "best"), 1, "the policy best: No such file or directory; or write one of round-robin"),
        (("chat", "--policies", str(broken)), 1, f"{broken}:3: plugins[0].type: there is no plugin"),
        (("chat", "--seconds", "1", "--policies", str(nobody)), 1, f"{nobody}: it lets nobody serve"),
        (("chat", "--policies", str(empty)), 1, "holds no EndpointPickerConfig"),
        (("chat", "--rate", "0.001", "--seconds", "0.001"), 1, "no request comes in that time"),
        (("chat", "--endpoints", "0"), 2, "'0' is no number from 1 to 100000"),
        (("chat", "--rate", "-1"), 2, "--rate"),
        (("chat", "--policies", "disaggregated"), 1, "the policy disaggregated: say with --prefill how many of the"),
        (("chat", "--prefill", "8"), 1, "--prefill 8: of 8 endpoints one at least has to be left for answers"),
        (("--trace", str(tmp_path / "none")), 1, "none: No such file or directory"),
        (("--trace", str(broken)), 1, "can't be told from its beginning: say it with --trace-format"),
        (("--trace", str(broken), "--trace-format", "mooncake"), 1, f"{broken}: line 1: it is no JSON"),
        (("chat", "--trace", str(broken)), 1, "give workloads or --trace, not both"),
        (("chat", "--speed", "2"), 1, "--trace-format and --speed are about a --trace"),
        (("chat", "--price", "h200=2"), 2, "there is no accelerator 'h200', but l4, a100-40g, h100"),
        (("chat", "--price", str(prices), "--seconds", "1"), 1, "--price says nothing of a100-40g"),
        (("chat", "--price", str(tmp_path / "none.yaml")), 2, "none.yaml: No such file or directory"),
        (("chat", "--price", str(empty)), 2, "there is no accelerator 'apiVersion'"),
        (("chat", "--price", "h100=2", "--server", str(card), "--seconds", "1"), 1, "write a price without a name"),
        (("chat", "--price", "h100=2"), 1, "--price says nothing of a100-40g, which a100-40g-llama-3.1-8b runs on"),
    ):
        assert begun(words) == status, words
        told = capsys.readouterr()
        assert told.out == ""
        assert said in told.err
        assert "Traceback" not in told.err


def test_a_policy_in_python_is_asked_with_virtual_time_and_told_of_where_it_fails(tmp_path: Path) -> None:
    mine, module = tmp_path / "mine.yaml", tmp_path / "my_policy.py"
    plugin = "{type: python, module: ./my_policy.py, parameters: {timeBudget: 1s}}"
    mine.write_text(CONFIG.replace("{type: SCORER}, {type: random-picker}", plugin))
    module.write_text(
        "last = 0.0\ndef scorer(ask, endpoint, now):\n"
        "    global last\n    assert last <= now < 4.0, now\n    last = now\n"
        "    return endpoint.name == 'server-1'\n"
    )
    words = ("chat", "--seconds", "3", "--endpoints", "2", "--policies", str(mine), "-o", "json")
    done = bench(*words)
    assert (done.returncode, done.stderr) == (0, "")
    module.write_text("def scorer(ask, endpoint, now): return 2\n")
    done = bench(*words)
    assert done.returncode == 0
    assert "is switched off after 5 faults in a row, the last: it returned 2" in done.stderr
    module.write_text("def scorer(ask: return 2\n")
    done = bench(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{module}:1: policy python: it is no Python" in done.stderr


def test_a_trace_is_played_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    lines = [
        {"timestamp": 100 * at, "input_length": 700, "output_length": 20, "hash_ids": [at % 3, 100 + at]}
        for at in range(50)
    ]
    lines.append({"timestamp": 0, "input_length": 10_000_000, "output_length": 1, "hash_ids": []})
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("--trace", str(trace), "--policies", "default,round-robin", "--endpoints", "2")
    done = bench(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("trace.jsonl: 50 requests, 10.2 a second, 2 × h100-llama-3.1-8b; SLO 1 s")
    assert "left out: 1 of more than" in done.stderr
    twice = json.loads(bench(*words, "--speed", "2", "-o", "json", "--ttft", "0.2").stdout)["trace.jsonl"]["workload"]
    (stage,) = twice["stages"]
    assert (stage["requests_per_s"], stage["seconds"], twice["ttft_slo_s"]) == (50 / 4.9 * 2, 4.9 / 2, 0.2)
    at_rate = json.loads(bench(*words, "--rate", "100", "--seconds", "0.3", "-o", "json").stdout)["trace.jsonl"]
    assert at_rate["policies"][0]["requests"] == 30
    trace.write_text(json.dumps(lines[0]))
    assert "came at once: there is no rate" in bench(*words, "--rate", "100").stderr


def test_priorities_and_prices_have_their_figures() -> None:
    words = ("criticality", "--seconds", "4", "--policies", "default", "--price", "h100=9,a100-40g=1.5")
    done = bench(*words)
    assert done.returncode == 0
    assert "per M tokens" in done.stdout
    by_priority = done.stdout.split("\n\n")[1].splitlines()
    assert by_priority[0].split()[:4] == ["policy", "priority", "requests", "shed"]
    assert [line.split()[-7] for line in by_priority[2:]] == ["0", "-1"]
    (one,) = json.loads(bench(*words, "-o", "json").stdout)["criticality"]["policies"]
    assert one["cost"] == 1.5 * 8 / 3600 / one["output_tokens_per_s"] * 1e6
    assert sum(some["requests"] for some in one["priorities"]) == one["requests"]
    assert 0 < one["fairness"] <= 1
    moments = one["over_time"]
    assert len(moments) == 60
    assert sum(some["came"] for some in moments) * moments[1]["at"] == pytest.approx(one["requests"])
    assert max(some["running"] for some in moments) > 0
