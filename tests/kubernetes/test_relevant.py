"""What a cluster has beyond what matters changes nothing: a law over all golden cases."""

from pathlib import Path

import pytest

from headgate.api import Text, load
from headgate.plan import translate
from headgate.runtime.expected import expected_adapters
from headgate.runtime.kubernetes.relevant import ours, referred, relevant

CASES = sorted((Path(__file__).parents[1] / "golden").glob("*/in.yaml"))
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*"))


@pytest.mark.parametrize(
    "case", [*CASES, *EXAMPLES], ids=lambda case: case.parent.name if case.is_file() else case.name
)
def test_what_nothing_refers_to_changes_neither_plan_nor_statuses(case: Path) -> None:
    files = [case] if case.is_file() else sorted(case.glob("*.yaml"))
    snapshot, _ = load([Text(str(file), file.read_text()) for file in files])
    kept = relevant(snapshot, referred(snapshot))
    plan, statuses = translate(snapshot)
    less_plan, less_statuses = translate(kept)
    assert less_plan == plan
    assert less_statuses == statuses
    assert expected_adapters(kept, plan) == expected_adapters(snapshot, plan)


def test_all_gateways_are_ours_where_all_classes_are() -> None:
    for case in CASES:
        snapshot, _ = load([Text(str(case), case.read_text())])
        classes = {gateway.gateway_class_name for gateway in snapshot.gateways}
        assert ours(snapshot, classes).gateways == snapshot.gateways
        assert ours(snapshot, ()).gateways == ()
        assert ours(snapshot, ()).routes == ()
