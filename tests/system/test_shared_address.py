"""`headgate up --pod-network off`: all Pods at one address, as on machines that have no others (macOS)."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

from openai import OpenAI
from running import ROOT, Running

EXAMPLE = ROOT / "examples" / "lora-multi-model"


def commands(readme: str, word: str) -> list[str]:
    """The README's command blocks that begin with this word."""
    blocks = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
    return [block for block in blocks if block.startswith(word)]


def belonging_to(state: Path) -> list[int]:
    """The processes that have this state directory in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if f"HOME={state}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_the_example_answers_its_readmes_requests_from_two_replicas(tmp_path: Path) -> None:
    with Running(tmp_path, EXAMPLE, args=("--pod-network", "off", "--sim-speed", "0", "--debug-headers")) as gate:
        rows = gate.get("endpoints")
        addresses = {str(row["address"]) for row in rows}
        assert {row["state"] for row in rows} == {"ready"}
        assert len(addresses) == 2
        assert all(re.fullmatch(r"127\.0\.0\.1:2\d{4}", address) for address in addresses)

        curls = commands((EXAMPLE / "README.md").read_text(), "curl")[:2]
        for curl, model in zip(curls, ("google/gemma-3-1-it", "food-review"), strict=True):
            asked = curl.replace("127.0.0.1", gate.address)
            done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=30, check=True)
            answer = json.loads(done.stdout)
            assert answer["model"] == model
            assert answer["choices"][0]["message"]["content"]

        with OpenAI(base_url=f"http://{gate.address}:8080/v1", api_key="none", timeout=10) as client:
            asking = client.chat.completions.with_raw_response
            answers = [
                asking.create(model="food-review", messages=[{"role": "user", "content": f"{n} {'x' * n}"}])
                for n in range(40)
            ]
        assert {answer.headers["x-gateway-destination-endpoint-served"] for answer in answers} == addresses
        with urllib.request.urlopen(f"http://{next(iter(addresses))}/v1/models", timeout=5) as answer:
            assert "food-review" in answer.read().decode()
    assert belonging_to(tmp_path) == []


def test_a_network_that_the_machine_does_not_have_is_told_of_once(tmp_path: Path) -> None:
    with Running(tmp_path, EXAMPLE, args=("--pod-network", "192.0.2.0/24", "--sim-speed", "0")) as gate:
        assert sum("this machine has no address 192.0.2.1" in line for line in gate.lines) == 1
        assert {row["state"] for row in gate.get("endpoints")} == {"ready"}


def test_a_network_that_is_none_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    done = Running(tmp_path).run("up", str(EXAMPLE), "--pod-network", "127.77.0.9/24")
    assert done.returncode == 2
    assert "write a network such as 127.77.0.0/24, or off" in done.stderr
