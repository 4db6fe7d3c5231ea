"""Pickers side by side over real sockets: what is asked follows from the seed, and all of it is heard."""

from pathlib import Path
from random import Random

import pytest
from bench.client import Heard
from bench.scenes import SCENES, Ask, prose
from bench.sockets import measure, middle, page, result


def test_text_has_the_tokens_that_were_asked_for_and_only_its_seed_gives_it() -> None:
    assert len(prose(120, 7)) == 480
    assert prose(120, 7) == prose(120, 7)
    assert prose(120, 7) != prose(120, 8)


@pytest.mark.parametrize("name", SCENES)
def test_what_is_asked_follows_from_the_seed(name: str) -> None:
    make = SCENES[name].make
    asks = make(20.0, Random(3).random)
    assert asks == make(20.0, Random(3).random)
    assert asks != make(20.0, Random(4).random)
    assert [ask.at for ask in asks] == sorted(ask.at for ask in asks)
    assert {ask.model for ask in asks} <= {asks[0].model, *SCENES[name].adapters}


def test_a_conversation_begins_with_all_that_was_said_before() -> None:
    asks = SCENES["turns"].make(40.0, Random(1).random)
    by_start: dict[str, str] = {}
    for ask in asks:
        start = ask.system[:3200]
        assert ask.system.startswith(by_start.get(start, ""))
        by_start[start] = ask.system + ask.question


def test_wrong_answers_are_in_no_slo_and_told() -> None:
    heard = [Heard(0.0, 0.5, 0.1, 1.0, 10), Heard(0.0, 3.0, 0.1, 4.0, 10), Heard(0.0, ended=2.0, error="answered 503")]
    found = result("a", SCENES["chat"], heard, 0.25)
    assert (found.requests, found.errors, found.why) == (3, 1, "answered 503")
    assert (found.ttft_mean, found.ttft_p99, found.tokens_per_s) == (1.75, 3.0, 5.0)
    assert found.in_slo == pytest.approx(1 / 3)
    quick = result("a", SCENES["chat"], heard[:1], 0.25)
    assert middle([found, quick, quick]).ttft_p99 == 0.5
    assert middle([found, quick, quick]).errors == 1


def test_every_request_of_a_scene_is_answered_through_the_gateway(tmp_path: Path) -> None:
    scene = SCENES["adapters"]
    asks = [Ask(at * 0.1, scene.adapters[at % 3], "", prose(20, at), 3) for at in range(6)]
    found = measure("adapters", scene, "headgate", asks, tmp_path / "run", Path())
    assert (found.requests, found.errors, found.why) == (6, 0, "")
    assert 0 < found.ttft_p50 <= found.ttft_p99
    assert found.tokens_per_s > 1
    told = {"date": "2026-01-01", "machine": {"cpu": "c", "cores": 2, "python": "3", "load_average": 0}}
    text = page({"adapters": [found]}, {**told, "seconds": 1, "rounds": 1})
    assert "| headgate | " in text
