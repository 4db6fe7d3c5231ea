"""Policies in Python: read, followed, asked, skipped and switched off."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.api import Snapshot, Text, Where, load
from headgate.api.embedded import embedded
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, ladder
from headgate.pick.choose import choose
from headgate.pick.configure import configure
from headgate.pick.decision import Ask, Decision
from headgate.pick.standing import Standing
from headgate.pick.trail import explain, render
from headgate.runtime.exposition import Page
from headgate.runtime.policies import Policies
from headgate.runtime.policy import FAULTS_IN_A_ROW

CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: python, name: mine, module: ./my_policy.py%s}
"""
SCORER = "def scorer(ask, endpoint, now):\n    return 1.0 if endpoint.name == 'b' else 0.0\n"


class World:
    """A directory with a configuration and a module, and what becomes of both."""

    def __init__(
        self, directory: Path, code: str | None, more: str = "", timer: Callable[[], float] | None = None
    ) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.now = 7.0
        # Time stands still: what is late on a busy machine is late in no test but those of time.
        self.policies = Policies(self.said.append, timer=(lambda: 0.0) if timer is None else timer)
        self.config = directory / "picker.yaml"
        self.module = directory / "my_policy.py"
        self.config.write_text(CONFIG % more)
        self.before: Snapshot | None = None
        if code is not None:
            self.module.write_text(code)
        self.problems = self.read()

    def read(self, code: str | None = None) -> list[str]:
        if code is not None:
            self.module.write_text(code)
        snapshot, problems = load([Text(str(self.config), self.config.read_text())], self.before)
        assert problems == ()
        snapshot, problems, self.files = self.policies.attached(snapshot)
        self.before = snapshot
        if snapshot.picker_configs:
            self.profile = configure(snapshot.picker_configs[0].picking, self.policies.functions(self.clock))
        return [str(one).replace(f"{self.directory}/", "") for one in problems]

    def clock(self) -> float:
        return self.now

    def choose(self, ask: Ask | None = None, index: PrefixIndex | None = None, **loads: Load) -> Decision:
        loads = loads or {"a": Load(), "b": Load()}
        endpoints = [Endpoint(name, "10.0.0.1", 8000, {"zone": name}) for name in loads]
        standing = Standing("ns/p", endpoints, loads, Ledger(), index or PrefixIndex())
        return choose(ask or Ask("m"), standing, self.profile, lambda: 0.0)

    def chosen(self) -> str | None:
        endpoint = self.choose().endpoint
        return endpoint.name if endpoint is not None else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, SCORER)
    assert made.problems == []
    return made


def test_a_function_scores(world: World) -> None:
    told = explain(world.choose())
    assert (told["chosen"], told["skipped"]) == ("b", {})
    assert told["candidates"][0]["scores"]["mine"] == {"score": 1.0, "weight": 1.0, "points": 1.0}
    assert world.files == (str(world.module),)


def test_a_function_filters(tmp_path: Path) -> None:
    code = "def keep(ask, endpoint, now):\n    return endpoint.labels['zone'] != 'b'\n"
    world = World(tmp_path, code, ", function: keep, parameters: {kind: filter}")
    decision = world.choose(a=Load(), b=Load(), c=Load())
    assert decision.removed == {"mine": ("b",)}
    nobody = world.choose(b=Load())
    assert (nobody.endpoint, nobody.emptied) == (None, "mine")
    assert world.profile.sifts("mine")


def test_what_a_function_is_given(tmp_path: Path) -> None:
    world = World(tmp_path, "seen = []\ndef scorer(*given):\n    seen.append(given)\n    return 0.5\n")
    prompt, index = bytes(1000), PrefixIndex()
    index.record(ladder("m", prompt[:600]), "b")
    load = Load(3, 4, 0.5, frozenset({"x"}), frozenset({"y"}), 2)
    world.choose(Ask("m", ladder("m", prompt), 1000, -1), index, a=Load(), b=load)
    (_, module) = world.policies._modules[str(world.module)]
    (ask, first, now), (_, second, _) = module.seen
    assert (ask.model, ask.prompt_bytes, ask.priority, now) == ("m", 1000, -1, 7.0)
    assert (first.name, first.waiting, first.running, first.kv_usage, first.prefix) == ("a", None, None, None, 0.0)
    assert (second.waiting, second.running, second.kv_usage, second.prefix) == (3, 4, 0.5, 1.0)
    assert (second.address, second.port, second.labels, second.in_flight) == ("10.0.0.1", 8000, {"zone": "b"}, 0)
    assert (second.adapters, second.max_adapters) == ({"x", "y"}, 2)


def test_an_edit_counts_and_a_broken_one_keeps_what_was(world: World) -> None:
    assert world.read(SCORER.replace("'b'", "'a'")) == []
    assert world.chosen() == "a"
    kept = "what it was before stays in force"
    assert world.read("def scorer(ask, endpoint, now:\n") == [
        f"my_policy.py:1: policy mine: it is no Python: '(' was never closed; {kept}"
    ]
    assert world.chosen() == "a"
    assert world.read("\nimport nowhere_at_all\n") == [
        "my_policy.py:2: policy mine: it can't be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'; "
        f"{kept}"
    ]
    assert world.read("def other(ask, endpoint, now): return 1\n") == [
        f"picker.yaml:1: policy mine: {world.module} has no function scorer (there is other): write `def scorer(ask, "
        f"endpoint, now)` there, or `function:` here; {kept}".replace(f"{world.directory}/", "")
    ]
    assert world.read("\n\ndef scorer(ask): return 1\n") == [
        "my_policy.py:3: policy mine: scorer can't be called with three arguments (too many positional arguments): "
        f"write `def scorer(ask, endpoint, now)`; {kept}"
    ]
    assert world.read("async def scorer(ask, endpoint, now): return 1\n") == [
        f"my_policy.py:1: policy mine: scorer is no plain function: write `def scorer(ask, endpoint, now)`; {kept}"
    ]
    world.module.unlink()
    assert world.read() == [
        f"picker.yaml:1: policy mine: my_policy.py can't be read: No such file or directory; {kept}"
    ]
    assert world.chosen() == "a"
    assert world.read(SCORER) == []
    assert world.chosen() == "b"


def test_code_that_was_never_right_leaves_the_configuration_out(tmp_path: Path) -> None:
    world = World(tmp_path, None)
    assert world.problems == ["picker.yaml:1: policy mine: my_policy.py can't be read: No such file or directory"]
    assert world.before is not None
    assert world.before.picker_configs == ()
    assert world.files == (str(world.module),)  # it is followed all the same
    assert world.read(SCORER) == []
    assert world.chosen() == "b"


def test_code_that_does_not_end_when_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.runtime.policies._LOAD_S", 0.05)
    world = World(tmp_path, "x = 1\nwhile True:\n    x += 1\n")
    (told,) = world.problems
    assert told.startswith(("my_policy.py:2: ", "my_policy.py:3: "))
    assert told.endswith("policy mine: it could not be loaded within 0.05 s")


@pytest.mark.parametrize(
    ("code", "reason", "why"),
    [
        ("return 1 / (now - now)", "raised", "raised ZeroDivisionError: float division by zero (line 2)"),
        ("raise SystemExit(3)", "raised", "raised SystemExit: 3 (line 2)"),
        ("return 1.5", "wrong", "returned 1.5: a score is a number from 0 to 1 (a)"),
        ("return -1", "wrong", "returned -1: a score is a number from 0 to 1 (a)"),
        ("return float('nan')", "wrong", "returned nan: a score is a number from 0 to 1 (a)"),
        ("return 'much'", "wrong", "returned 'much': a score is a number from 0 to 1 (a)"),
        ("pass", "wrong", "returned None: a score is a number from 0 to 1 (a)"),
        ("return [1]", "wrong", "returned a list: a score is a number from 0 to 1 (a)"),
    ],
)
def test_one_that_fails_is_skipped_and_switched_off_when_it_goes_on(
    tmp_path: Path, code: str, reason: str, why: str
) -> None:
    world = World(tmp_path, f"def scorer(ask, endpoint, now):\n    {code}\n")
    told = explain(world.choose())
    assert (told["chosen"], told["tied"], told["skipped"]) == ("a", 2, {"mine": why})
    assert told["candidates"][0]["scores"]["mine"]["score"] is None
    assert f"skipped   mine: {why}\n" in render(world.choose())
    for _ in range(FAULTS_IN_A_ROW + 3):
        world.choose()
    off = f"switched off after 5 faults in a row, the last: it {why}"
    assert explain(world.choose())["skipped"] == {"mine": off}
    assert world.said == [
        f"Policy mine ({world.module}) {why}: it was skipped, and is asked again.",
        f"Policy mine ({world.module}) is {off}. The next edit of the file switches it on.",
    ]
    page = Page()
    world.policies.describe(page)
    text = page.text()
    assert 'headgate_policy_calls_total{policy="mine"} 5\n' in text
    assert f'headgate_policy_faults_total{{policy="mine",reason="{reason}"}} 5\n' in text
    assert 'headgate_policy_switched_off{policy="mine"} 1\n' in text
    world.read(SCORER)
    assert world.chosen() == "b"


def test_what_fails_now_and_then_goes_on(tmp_path: Path) -> None:
    code = "n = 0\ndef scorer(ask, endpoint, now):\n    global n\n    n += 1\n    return 1 / (n % 3)\n"
    world = World(tmp_path, code)
    assert {explain(world.choose())["skipped"] == {} for _ in range(30)} == {True, False}
    assert len(world.said) == 1


def test_a_filter_that_fails_removes_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, "def filter(ask, endpoint, now): return None\n", ", parameters: {kind: filter}")
    decision = world.choose()
    told = explain(decision)
    assert (told["chosen"], told["removed"]) == ("a", {})
    assert told["skipped"] == {"mine": "returned None: a filter returns True or False (a)"}
    assert "skipped   mine: returned None" in render(decision)
    assert world.choose(a=Load()).endpoint is not None


def test_one_that_is_slow_is_skipped_and_the_rest_of_the_endpoints_not_asked(tmp_path: Path) -> None:
    code = "import time\nn = 0\ndef scorer(ask, endpoint, now):\n    global n\n    n += 1\n"
    code += "    time.sleep(0.01)\n    return 1\n"
    world = World(tmp_path, code, ", parameters: {timeBudget: 2ms}", time.perf_counter)
    told = explain(world.choose())
    assert told["skipped"]["mine"].startswith("took ")
    assert told["skipped"]["mine"].endswith(" ms of its 2")
    assert world.policies._modules[str(world.module)][1].n == 1


def test_one_that_never_returns_is_stopped_and_switched_off_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, "def scorer(ask, endpoint, now):\n    while True:\n        pass\n")
    assert explain(world.choose())["skipped"] == {"mine": "switched off: it ran for 50 ms and was stopped"}
    assert world.said == [
        f"Policy mine ({world.module}) is switched off: it ran for 50 ms and was stopped. The next edit of the file "
        "switches it on."
    ]
    world.read(SCORER)
    assert world.chosen() == "b"


def test_a_module_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "headgate_test_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sibling.py").write_text("BEST = 'b'\n")
    (package / "policy.py").write_text(
        "from .sibling import BEST\ndef scorer(ask, endpoint, now): return float(endpoint.name == BEST)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    world = World(tmp_path, None)
    world.config.write_text((CONFIG % "").replace("./my_policy.py", "headgate_test_package.policy"))
    assert world.read() == []
    assert world.chosen() == "b"
    assert world.files == (str(package / "policy.py"),)
    world.config.write_text((CONFIG % "").replace("./my_policy.py", "json.nothing"))
    assert world.read()[0].startswith("picker.yaml:1: policy mine: there is no module json.nothing in a file")


def test_two_functions_of_a_file_share_its_state_and_dataclasses_work(tmp_path: Path) -> None:
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass State:\n"
        "    left: int = 2\nstate = State()\n"
        "def filter(ask, endpoint, now):\n    state.left -= 1\n    return True\n"
        "def scorer(ask, endpoint, now):\n    return 1.0 if state.left == 0 else 0.0\n"
    )
    world = World(tmp_path, code)
    world.config.write_text(
        CONFIG % ", parameters: {kind: filter}" + "- {type: python, name: other, module: ./my_policy.py}\n"
    )
    assert world.read() == []
    decision = world.choose()
    assert [list(term.scores) for term in decision.terms] == [[1.0, 1.0]]


def test_one_policy_is_one_wherever_it_is_asked(world: World) -> None:
    assert world.before is not None
    (plugin,) = world.before.picker_configs[0].picking.scorers
    functions = world.policies.functions(world.clock)
    assert functions(plugin) is functions(plugin)


def test_a_configuration_of_an_object_brings_no_code() -> None:
    picking, faults = embedded(CONFIG % "")
    assert picking is None
    assert [fault.message.partition(":")[0] for fault in faults] == ["it is taken from no ConfigMap"]


def test_what_could_be_loaded_elsewhere_and_can_not_here_is_switched_off(world: World) -> None:
    """As in a worker that lacks what the controller has."""
    assert world.before is not None
    (plugin,) = world.before.picker_configs[0].picking.scorers
    picking, problems, _ = world.policies.attach(world.before.picker_configs[0].picking, world.directory, Where("x"))
    assert (problems, picking) == ((), world.before.picker_configs[0].picking)
    assert plugin.code is not None
    from msgspec.structs import replace

    run = world.policies.functions()(replace(plugin, code=replace(plugin.code, text="raise OSError('gone')")))
    assert str(run(None, ())).endswith("it can't be loaded: OSError: gone")  # type: ignore[arg-type]
    assert world.said[0].endswith("my_policy.py:1) is switched off: it can't be loaded: OSError: gone")


def test_the_example_of_the_documentation_does_what_it_says(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "python-policies.md").read_text()
    (code,), (config,) = re.findall(r"```python\n(.*?)```", text, re.S), re.findall(r"```yaml\n(.*?)```", text, re.S)
    world = World(tmp_path, code)
    world.config.write_text(config)
    assert world.read() == []
    long = Ask("m", prompt_bytes=40_000)
    loads = {"a": Load(waiting=9), "b": Load(waiting=1)}
    decision = world.choose(long, **loads)
    assert {term.scorer: list(term.scores) for term in decision.terms}["long-prompts"] == [0.1, 0.5]
    assert [term.scorer for term in world.choose(**loads).terms] == ["long-prompts", "queue-scorer"]
    assert world.said == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (SCORER, ""),
        ("from elsewhere import scorer\n", ""),
        ("from elsewhere import *\n", ""),
        ("scorer = lambda ask, endpoint, now: 1.0\n", ""),
        ("if True:\n    def scorer(ask, endpoint, now): return 1.0\n", ""),
        ("def scorer(*given): raise SystemExit\n", ""),
        ("def scorer(ask, endpoint, now, more=1, *, other=2): return 1.0\n", ""),
        ("import functools\n@functools.cache\ndef scorer(): pass\n", ""),
        ("raise SystemExit(1)\n" + SCORER, ""),
        ("def scorer(ask\n", "my_policy.py:1: policy mine: it is no Python: '(' was never closed"),
        (
            "\ndef scorer(ask, endpoint): pass\n",
            "my_policy.py:2: policy mine: scorer can't be called with three arguments",
        ),
        ("def scorer(a, b, c, d): pass\n", "my_policy.py:1: policy mine: scorer can't be called with three arguments"),
        (
            "def scorer(a, b, c, *, d): pass\n",
            "my_policy.py:1: policy mine: scorer can't be called with three arguments",
        ),
        ("async def scorer(a, b, c): pass\n", "my_policy.py:1: policy mine: scorer is no plain function"),
        (
            "def one(): pass\nTWO = 2\n",
            "picker.yaml:1: policy mine: my_policy.py has no function scorer (there is one)",
        ),
    ],
)
def test_what_is_wrong_is_found_without_running_it(tmp_path: Path, code: str, told: str) -> None:
    world = World(tmp_path, None)
    world.policies = Policies(world.said.append, run=False)
    world.module.write_text(code)
    snapshot, _ = load([Text(str(world.config), world.config.read_text())])
    _, problems, _ = world.policies.attached(snapshot)
    found = [str(one).replace(f"{tmp_path}/", "") for one in problems]
    assert [one[: len(told)] for one in found] == ([told] if told else [])
    assert world.policies._modules == {}


def test_a_dotted_module_is_not_looked_for_without_running_it(tmp_path: Path) -> None:
    world = World(tmp_path, None)
    world.config.write_text((CONFIG % "").replace("./my_policy.py", "nowhere.at_all"))
    snapshot, _ = load([Text(str(world.config), world.config.read_text())])
    assert Policies(print, run=False).attached(snapshot) == (snapshot, (), ())


def test_check_tells_what_is_wrong_with_code_and_runs_none_of_it(tmp_path: Path) -> None:
    world = World(tmp_path, None)
    world.module.write_text("open('ran', 'w')\ndef scorer(ask): return 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "headgate", "check", str(world.config)],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{world.module}:2: policy mine: scorer can't be called with three arguments")
    assert not (tmp_path / "ran").exists()
