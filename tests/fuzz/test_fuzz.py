"""A short run of the fuzzer, and that it finds what it is for."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fuzz.mutate import cut, damaged

ROOT = Path(__file__).parents[2]


def fuzz(*words: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzz", "-o", "json", *words]
    return subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": path}, text=True, capture_output=True, timeout=120)


def test_some_thousand_cases_break_no_law() -> None:
    done = fuzz("--cases", "2500", "--seed", "1")
    said = json.loads(done.stdout)
    assert (done.returncode, said["failure"]) == (0, None), said["failure"]
    assert said["cases"] == dict.fromkeys(("requests", "answers", "bodies", "streams", "usage"), 500)


_MISTAKES = {
    "requests": ("headgate.proxy.heads", "Known.measure", "lambda self, data: (data.find(b'\\r\\n\\r\\n') + 4, 0)"),
    "answers": ("headgate.proxy.upstream", "Upstream._release", "lambda self: self._upstreams.keep(self)"),
    "bodies": ("headgate.exchange.body", "_wrong_name", "lambda name: None if name else Reading('base')"),
    "streams": ("headgate.exchange.restore", "Restorer.end", "lambda self: b''"),
    "usage": ("headgate.exchange.meter", "_may_be_hidden", "lambda line: False"),
}


@pytest.mark.parametrize("target", _MISTAKES)
def test_a_mistake_is_found_and_the_case_is_named(tmp_path: Path, target: str) -> None:
    module, name, replacement = _MISTAKES[target]
    (tmp_path / "sitecustomize.py").write_text(
        f"import {module} as module\nmodule.{name} = eval({replacement!r}, vars(module))\n"
    )
    done = fuzz("--cases", "6000", "--seed", "1", "--targets", target, path=f"{tmp_path}:{ROOT}")
    assert done.returncode == 1, done.stderr
    failure = json.loads(done.stdout)["failure"]
    assert f"--cases 1 --targets {target}" in failure


def test_cuts_are_cuts_and_damage_is_damage() -> None:
    dice = Random(1)
    data = bytes(range(200))
    for _ in range(300):
        pieces = cut(dice, data)
        assert b"".join(pieces) == data
        assert all(pieces)
    assert sum(damaged(dice, data) != data for _ in range(300)) > 250
