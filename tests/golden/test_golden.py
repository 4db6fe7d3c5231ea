"""Every case is a directory whose name is a sentence: in.yaml → plan.yaml and status.yaml.

`pytest tests/golden --update` writes the outputs anew; then read the diff.
"""

from pathlib import Path

import pytest

from headgate.api import Text, load
from headgate.plan import plan_yaml, status_yaml, translate

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/in.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_manifests_become_the_plan_and_the_statuses_that_were_agreed(case: Path, update: bool) -> None:
    snapshot, problems = load([Text("in.yaml", (case / "in.yaml").read_text())])
    assert not [str(problem) for problem in problems if problem.severity == "error"]
    plan, statuses = translate(snapshot)
    outputs = {case / "plan.yaml": plan_yaml(plan), case / "status.yaml": status_yaml(statuses)}
    if update:
        for path, text in outputs.items():
            path.write_text(text)
    for path, text in outputs.items():
        assert text == path.read_text(), f"{path.name} differs: if that is right, run with --update"
