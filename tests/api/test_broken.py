"""Every broken manifest of `broken/` is told as its table says: the whole text, line for line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.api import Text, load
from headgate.api.texts import read

TABLES = sorted(Path(__file__).parent.joinpath("broken").glob("*.yaml"))
SYNTAX = Path(__file__).parent / "broken" / "syntax.yaml"
CASES = [(table, case) for table in TABLES for case in yaml.safe_load(table.read_text())]

_VERBS = (
    "write",
    "add",
    "remove",
    "keep",
    "rename",
    "give",
    "align",
    "begin",
    "indent",
    "render",
    "mount",
    "no effect",
)


def problems_of(case: dict[str, Any]) -> list[str]:
    files = case.get("files") or {"in.yaml": case["manifest"]}
    _, problems = load([Text(file, text) for file, text in files.items()])
    return [("" if each.severity == "error" else f"{each.severity}: ") + str(each) for each in problems]


@pytest.mark.parametrize(("table", "case"), CASES, ids=[case["name"] for _, case in CASES])
def test_a_broken_manifest_is_told_as_its_table_says(table: Path, case: dict[str, Any], update: bool) -> None:
    if update:
        return  # the test below writes the tables
    assert case["problems"], "a case that expects nothing belongs among the valid ones"
    assert problems_of(case) == case["problems"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_no_two_cases_of_a_table_have_one_name(table: Path, update: bool) -> None:
    cases = yaml.safe_load(table.read_text())
    assert len({case["name"] for case in cases}) == len(cases)
    if update:
        table.write_text(_table([{**case, "problems": problems_of(case)} for case in cases]))


def test_every_problem_names_its_file_and_line_and_says_what_to_write() -> None:
    for _, case in CASES:
        for problem in case["problems"]:
            place, _, rest = problem.removeprefix("warning: ").removeprefix("note: ").partition(": ")
            assert place.rpartition(":")[2].isdigit(), problem
            assert any(word in rest for word in _VERBS), problem


@pytest.mark.parametrize("case", yaml.safe_load(SYNTAX.read_text()), ids=lambda case: case["name"])
def test_pyyaml_without_libyaml_finds_the_same_texts_broken(case: dict[str, Any]) -> None:
    for text in (case.get("files") or {"": case["manifest"]}).values():
        broken = [document.tree is None for document in read(text)]
        assert [document.tree is None for document in read(text, yaml.SafeLoader)] == broken


def _table(cases: list[dict[str, Any]]) -> str:
    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            return super().increase_indent(flow, False)

    def text(dumper: yaml.Dumper, value: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return "\n".join(
        yaml.dump([case], Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True) for case in cases
    )
