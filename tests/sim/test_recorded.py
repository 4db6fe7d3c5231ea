"""The simulator against what a real vLLM 0.32 answered (recorded by `make test-engines RECORD=1`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus
import pytest
from simulators import running
from wire_shape import differences

Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=["0", "300"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Answers, Answers]]:
    models: Path = tmp_path_factory.mktemp("models")
    for name in ("base", *corpus.ADAPTERS):
        (models / name).mkdir()
    with running(*corpus.flags(models), "--speed", request.param, environment=corpus.ENVIRONMENT) as simulator:
        yield corpus.read_answers(models), corpus.ask_all(simulator.host, simulator.port, models)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_simulator_answers_as_vllm_does(both: tuple[Answers, Answers], name: str) -> None:
    recorded, ours = both
    case = corpus.CASES[corpus.NAMES.index(name)]
    theirs, mine = recorded[name], ours[name]
    if not case.get("body", True):
        theirs, mine = theirs | {"body": ""}, mine | {"body": ""}
    assert differences(theirs, mine) == []


def test_there_is_a_recorded_answer_to_every_request() -> None:
    assert list(corpus.read_answers(Path("/"))) == corpus.NAMES
    assert len(set(corpus.NAMES)) == len(corpus.NAMES)
