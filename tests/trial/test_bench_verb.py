"""`headgate bench`, as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: SCORER}, {type: random-picker}]
"""


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headgate", "bench", *words]
    return subprocess.run(command, text=True, capture_output=True, timeout=60)


def test_a_table_for_each_workload_with_a_line_for_each_policy(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(CONFIG.replace("SCORER", "queue-scorer"))
    done = bench("chat", "multi-lora", "--seconds", "2", "--policies", f"round-robin,default,{mine}")
    assert (done.returncode, done.stderr) == (0, "")
    chat, lora = done.stdout.strip().split("\n\n")
    assert chat.startswith("chat: ")
    assert "8 × a100-40g-llama-3.1-8b" in chat
    assert [line.split()[0] for line in lora.splitlines()[1:]] == ["policy", "round-robin", "default", str(mine)]


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


def test_what_can_not_be_rehearsed_is_said_in_a_line(tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.yaml", tmp_path / "empty.yaml"
    broken.write_text(CONFIG.replace("SCORER", "queue-skorer"))
    nobody = tmp_path / "nobody.yaml"
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
    ):
        done = bench(*words)
        assert (done.returncode, done.stdout) == (status, ""), words
        assert said in done.stderr
        assert "Traceback" not in done.stderr
