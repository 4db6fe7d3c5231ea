"""Recorded traffic: each format as it is published, what is left out, and what is said of broken files."""

import json
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headgate.cli import names
from headgate.exchange.record import Record
from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.runtime.accesslog import Clock, line
from headgate.trial.recorded import Broken
from headgate.trial.request import Chains, Request
from headgate.trial.trace import FORMATS, Trace, read


def played(*lines: object, rate: float | None = None, form: str | None = None) -> Trace:
    texts = [one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines]
    return read(texts, Random(1).random, rate, form)


def mooncake(at: float, prompt: int, *blocks: int, output: int = 5) -> dict[str, object]:
    return {"timestamp": at, "input_length": prompt, "output_length": output, "hash_ids": list(blocks)}


def equal(one: Request, other: Request, size: int = 16) -> int:
    """Tokens, in whole blocks, as the engine sees them."""
    pairs = zip(one.keys(size), other.keys(size), strict=False)
    return size * next(
        (at for at, pair in enumerate(pairs) if pair[0] != pair[1]), min(one.prompt, other.prompt) // size
    )


def test_the_command_line_knows_the_formats():
    assert tuple(FORMATS) == names.TRACES


def test_mooncake_prompts_are_equal_as_far_as_their_blocks_are():
    found = played(
        mooncake(3000, 1200, 7, 8, 9),
        mooncake(1000, 1100, 7, 8, 10),
        mooncake(1500, 1200, 7, 11, 9),  # the same block behind another one is another one
        mooncake(1500, 1200, 7, 8, 9, output=0),
    )
    assert found.format == "mooncake"
    assert [(one.at, one.prompt, one.output) for one in found.requests] == [
        (0.0, 1100, 5),
        (0.5, 1200, 5),
        (0.5, 1200, 1),
        (2.0, 1200, 5),
    ]
    short, other, again, first = found.requests
    assert equal(first, again) == 1200
    assert equal(first, short) == 1024
    assert equal(first, other) == 512
    assert {len(one.keys(16)) for one in (other, again, first)} == {75}


def test_blocks_that_a_line_does_not_name_are_its_own():
    one, other = played(mooncake(0, 2000, 1), mooncake(0, 2000, 1)).requests
    assert equal(one, other) == 512
    one, other = played(mooncake(0, 2000), mooncake(0, 2000)).requests
    assert equal(one, other) == 0


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=2, max_size=8), st.sampled_from(["", "a"])
)
def test_a_chain_is_what_was_put_into_it(asked, adapter):
    chains = Chains(32)
    made = [Request(0.0, 32 * len(ids), 1, 0, adapter=adapter, chains=chains, last=chains.add(ids)) for ids in asked]
    for (one, ids), (other, others) in pairwise(zip(made, asked, strict=True)):
        common = next((at for at, pair in enumerate(zip(ids, others, strict=False)) if pair[0] != pair[1]), None)
        common = min(len(ids), len(others)) if common is None else common
        assert equal(one, other) == 32 * common
        longest = max((length for length, _ in set(one.rungs()) & set(other.rungs())), default=0)
        assert longest <= 32 * common * BYTES_PER_TOKEN
        assert [length for length, _ in one.rungs()] == [length for length, _ in Request(0, one.prompt, 1, 0).rungs()]
        assert equal(one, replace(one, adapter="b")) == 0


def test_sharegpt_turns_stand_behind_all_that_was_said():
    talk = {
        "id": "x",
        "conversations": [
            {"from": "system", "value": "s" * 40},
            {"from": "human", "value": "q" * 400},
            {"from": "gpt", "value": "a" * 800},
            {"from": "human", "value": "ü" * 200},
            {"from": "gpt", "value": "b" * 80},
            {"from": "human", "value": "never answered"},
        ],
    }
    alone = {"conversations": [{"from": "gpt", "value": "nobody asked"}]}
    for form in (b"[%s, %s]", b"\n%s\n%s\n"):  # a list, as it is published, or lines
        text = form % (json.dumps(talk).encode(), json.dumps(alone).encode())
        found = read(text.splitlines(keepends=True), Random(1).random, 10.0)
        assert found.format == "sharegpt"
        first, second = found.requests
        assert (first.prompt, first.output, second.prompt, second.output) == (110, 200, 410, 20)
        assert first.at < second.at
        assert equal(first, second) == 96
        assert first.keys(16) == second.keys(16)[: len(first.keys(16))]  # with the answer
        assert found.notes == ("1 conversations without a question and its answer",)


def test_sharegpt_comes_at_the_rate_that_is_asked_for():
    talk = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}] * 3}
    found = played([talk] * 2000, rate=30.0)
    assert len(found.requests) == 6000
    assert sum(60 <= one.at < 160 for one in found.requests) == pytest.approx(3000, rel=0.1)
    with pytest.raises(Broken, match="say with --rate"):
        played([talk])


def guidellm(**more: object) -> dict[str, object]:
    return {"request_id": "a", "prompt_tokens": 100, "output_tokens": 20, **more}


def test_guidellm_reports_are_played_by_when_requests_began():
    requests = {
        "successful": [
            guidellm(request_start_time=1700000002.5),
            guidellm(start_time=1700000001.5),  # before 0.4
            guidellm(info={"timings": {"request_start": 1700000001.0}, "conversation_id": "c"}),
            guidellm(request_start_time=1.0, output_tokens=None),
        ],
        "incomplete": [{}],
        "errored": [{}, {}],
    }
    report = {"metadata": {"version": 2}, "benchmarks": [{"requests": requests}]}
    for text in (json.dumps(report), json.dumps(report, indent=2)):
        found = read(text.encode().splitlines(keepends=True), Random(1).random)
        assert found.format == "guidellm"
        assert [one.at for one in found.requests] == [0.0, 0.5, 1.5]
        assert [one.grows for one in found.requests] == [True, False, False]
        assert found.notes == ("3 that did not succeed", "1 without tokens")
    with pytest.raises(Broken, match=r"benchmarks\[0\].requests.successful\[0\]: it says neither request_start_time"):
        played({"benchmarks": [{"requests": {"successful": [guidellm()]}}]})


def access(at: str, **more: object) -> dict[str, object]:
    known = {"time": f"2026-01-31T12:00:{at}Z", "duration_ms": 12.5, "status": 200, "target_model": "m", "client": "c"}
    return {**known, "prompt_tokens": 640, "cached_tokens": 320, "completion_tokens": 30, **more}


def test_an_access_log_tells_who_asked_and_what_was_cached():
    found = played(
        access("01.500"),
        access("02.000", cached_tokens=160, priority=1),
        access("02.500", client="other"),
        access("03.000", session="s", prompt_tokens=64),
        access("04.000", session="s"),
        access("05.000", status=429, prompt_tokens=None),
        access("06.000", completion_tokens=None),
    )
    assert found.format == "access-log"
    first, second, other, turn, next_turn = found.requests
    assert [one.at for one in found.requests] == [0.0, 0.5, 1.0, 1.5, 2.5]
    assert equal(first, second) == 160
    assert equal(first, other) == 0
    assert equal(turn, next_turn) == 64
    assert equal(first, turn) == 0
    assert (second.priority, second.flow, other.flow) == (1, "c", "other")
    assert found.notes == ("1 that failed", "1 without tokens: not of a model, or the server did not tell them")


def test_what_the_gateway_writes_is_read():
    clock = Clock()
    record = Record(id="1", method="POST", path="/v1/chat/completions", asked_at=5.0)
    record.status, record.target, record.client = 200, "base", "team-a"
    record.prompt_tokens, record.cached_tokens, record.completion_tokens = 100, 64, 7
    (one,) = read([msgspec.json.encode(line(record, clock))], Random(1).random).requests
    assert (one.prompt, one.output, one.shared, one.flow) == (100, 7, 64, "team-a")


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30), st.floats(0.1, 20))
def test_at_another_speed_they_come_in_the_same_order(times, speed):
    found = played(*[mooncake(at, 100 + place, place) for place, at in enumerate(times)])
    faster = found.at_speed(speed)
    assert [one.prompt for one in faster] == [one.prompt for one in found.requests]
    assert all(one.at <= other.at for one, other in pairwise(faster))
    assert faster[-1].at == pytest.approx(found.requests[-1].at / speed)


def test_a_rate_is_that_of_the_whole():
    found = played(*[mooncake(at * 250, 100, at) for at in range(41)])
    assert (found.rate, found.timed) == (pytest.approx(4.1), True)
    assert found.at_speed(2)[-1].at == pytest.approx(5)


@pytest.mark.parametrize(
    ("lines", "form", "said"),
    [
        ([mooncake(0, 600, 1, 2), b"{nonsense\n"], None, "line 2: it is no JSON"),
        (
            [b"\n", mooncake(0, 600, 1), {"timestamp": 0, "input_length": 3}],
            None,
            "line 3: Object missing .*output_length",
        ),
        ([mooncake(0, 600, 1, 2, 3)], None, "line 1: 3 hash_ids, but 600 tokens have 2 blocks of 512"),
        ([mooncake(-1, 600)], None, "line 1: timestamp is -1.0: write milliseconds"),
        ([mooncake(0, -6)], None, "line 1: input_length is -6: it can't be below 0"),
        ([access("61.000")], None, "line 1: Invalid RFC3339"),
        ([{**access("01.000"), "time": "2026-01-31T12:00:00"}], None, "line 1: time has no zone"),
        ([{"a": 1}], None, "can't be told from its beginning: say it with --trace-format"),
        ([b""], None, "can't be told"),
        ([b"[{}]"], None, r"Object missing required field `conversations` - at `\$\[0\]`"),
        ([b"[\n", b'{"conversations": []},\n', b"oh"], None, "line 3: it is no JSON"),
        ([b"{\n", b'"benchmarks": [\n', b"}"], None, "line 3: it is no JSON"),
        ([[{"conversations": [{"from": "him", "value": "a"}]}]], None, "conversation 1: who is 'him'"),
        ([mooncake(0, 6, 1)], "access-log", "line 1: Object missing required field `time`"),
    ],
)
def test_what_is_broken_is_said_with_its_place(lines, form, said):
    with pytest.raises(Broken, match=said):
        played(*lines, rate=1.0, form=form)
