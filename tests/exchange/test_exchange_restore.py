"""The model's name in the answer is the one that the client asked for, however the answer was cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook import JSON, STREAM, Play, serving, to

from headgate.exchange.events import Relay, Reply
from headgate.exchange.restore import Restorer
from headgate.plan.plan import Model, Target

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def restored(served: str, asked: str, parts: list[bytes], *, lines: bool) -> bytes:
    restorer = Restorer(served, asked, lines=lines)
    return b"".join([restorer.feed(part) for part in parts]) + restorer.end()


@given(NAMES, NAMES, st.lists(st.integers(0, 400), max_size=8), st.booleans(), st.sampled_from([None, 2]))
def test_any_cut_of_a_json_answer_gives_the_same(served, asked, cuts, ascii_only, indent):
    answer = {
        "id": "1",
        "model": served,
        "choices": [{"text": f'"model": "{served}" and "model":"x'}],
        "nested": {"model": served},
    }
    data = json.dumps(answer, ensure_ascii=ascii_only, indent=indent).encode()
    whole = restored(served, asked, [data], lines=False)
    assert restored(served, asked, pieces(data, cuts), lines=False) == whole
    found = json.loads(whole)
    assert found["model"] == found["nested"]["model"] == asked
    assert found["choices"] == answer["choices"]


@given(NAMES, NAMES, st.lists(st.integers(0, 600), max_size=12))
def test_any_cut_of_a_stream_gives_the_same(served, asked, cuts):
    events = [{"model": served, "choices": [{"delta": {"content": text}}]} for text in ("a", f'"model":"{served}"', "")]
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    whole = restored(served, asked, [data], lines=True)
    assert restored(served, asked, pieces(data, cuts), lines=True) == whole
    lines = [line for line in whole.decode().split("\n\n") if line]
    assert [json.loads(line[6:]) for line in lines[:-1]] == [{**event, "model": asked} for event in events]


@given(st.lists(st.binary(max_size=30), max_size=10), st.booleans())
def test_what_names_no_model_stays_as_it_is(parts, lines):
    assert restored("served-name", "asked", parts, lines=lines) == b"".join(parts)


@given(st.integers(0, 12), st.integers(0, 12), st.lists(st.integers(0, 100), max_size=20), st.booleans())
def test_blanks_around_the_colon_do_not_depend_on_the_cut_either(before, after, cuts, lines):
    data = b'{"model"' + b" " * before + b":" + b"\t" * after + b'"served"}\n'
    assert restored("served", "asked", pieces(data, cuts), lines=lines) == restored(
        "served", "asked", [data], lines=lines
    )


def test_an_event_that_is_whole_is_not_held_back():
    restorer = Restorer("food-review-v1", "food-review", lines=True)
    event = b'data: {"model":"food-review-v1"}\n\n'
    assert restorer.feed(event) == b'data: {"model":"food-review"}\n\n'
    assert restorer.feed(event + b'data: {"mod').startswith(b'data: {"model":"food-review"}\n\n')
    assert restorer.feed(b'el":"food-review-v1"}\n\n') == b'data: {"model":"food-review"}\n\n'


def test_a_line_without_end_does_not_pile_up():
    restorer = Restorer("served", "asked", lines=True)
    assert sum(len(restorer.feed(b"x" * 1000)) for _ in range(100)) > 99_000


@pytest.mark.parametrize("served", ["meta-llama/Llama-3", 'a"b', "a\\b", "é", "a.b*c"])
def test_names_with_any_characters_are_found(served):
    for text in (json.dumps(served), json.dumps(served, ensure_ascii=False), json.dumps(served).replace("/", "\\/")):
        whole = restored(served, r"\1 asked\g<0>", [b'{"model":' + text.encode() + b"}"], lines=False)
        assert json.loads(whole) == {"model": r"\1 asked\g<0>"}


@given(st.binary(max_size=200), st.integers(0, 200), st.sampled_from([JSON, STREAM]))
def test_an_answer_that_comes_whole_is_edited_like_one_that_comes_in_pieces(noise, cut, kind):
    answer = noise[:100] + b'{"model": "v1"}\n\n' + noise[100:]
    at_once, piecewise = renaming(), renaming()
    reply, relay = at_once.answers_whole(answer, headers=kind), piecewise.answers(headers=kind)
    assert isinstance(reply, Reply)
    assert isinstance(relay, Relay)
    assert reply.lines == relay.lines
    assert reply.body == piecewise.chunk(answer[:cut]) + piecewise.chunk(answer[cut:]) + piecewise.ends()
    piecewise.record.chunks = at_once.record.chunks  # of the pieces there are as many as there were
    assert at_once.record == piecewise.record


def renaming() -> Play:
    """A request for `chat` that its server knows as v1."""
    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    play.ask(model="chat")
    return play
