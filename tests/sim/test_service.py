"""The service without sockets: no request whatever makes it fail, and streams tell what whole answers tell."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from wire_shape import events

from headgate.sim import routes
from headgate.sim.engine import Config
from headgate.sim.job import Job
from headgate.sim.meter import Process
from headgate.sim.refusals import Reply
from headgate.sim.service import Service, Settings


class Asked(Struct, frozen=True):
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


JSON_HEADERS = {"content-type": "application/json"}
PATHS = sorted({case["path"] for case in corpus.CASES if "json" in case and "?" not in case["path"]})
BODIES = [(case["path"], case["json"]) for case in corpus.CASES if isinstance(case.get("json"), dict)]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=8), parts, max_size=3),
    max_leaves=8,
)


def service(**limits: Any) -> Service:
    numbers = itertools.count()
    made = Settings(
        ("tiny-llama",), "/base", Config(**{"max_model_len": 1024, **limits}), lora=True, updating=True,
        adapters=(("food-review", "/food", ""),), at_once=True,
    )  # fmt: skip
    return Service(made, 1e9, lambda: f"{next(numbers):016x}", lambda path: "nowhere" not in path, Process)


def answer(it: Service, path: str, body: bytes, now: float = 1e9) -> tuple[int, bytes]:
    found = routes.answer(it, Asked("POST", path, "", JSON_HEADERS, body), now).answer
    if isinstance(found, Reply):
        return found.status, found.body
    return 200, it.at_once(found, now)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(PATHS), anything)
def test_any_json_gets_an_answer(path: str, body: Any) -> None:
    status, told = answer(service(), path, json.dumps(body).encode())
    assert status in (200, 400, 403, 404, 405, 307)
    assert b"Traceback" not in told


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(PATHS), st.binary(max_size=40))
def test_any_bytes_get_an_answer(path: str, body: bytes) -> None:
    assert answer(service(), path, body)[0] in (200, 400, 403, 404, 405, 307)


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(BODIES), st.data())
def test_a_good_body_with_one_strange_value_gets_an_answer(
    case: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    path, good = case
    name = data.draw(st.sampled_from([*good, "stop", "n", "stream_options", "tools", "response_format", "logit_bias"]))
    status, told = answer(service(), path, json.dumps({**good, name: data.draw(anything)}).encode())
    assert status in (200, 400, 403, 404, 405, 307)
    if status != 200 and told:
        assert json.loads(told)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("stop", [None, "e", " the "])
def test_a_stream_tells_what_the_whole_answer_tells(path: str, stop: str | None) -> None:
    question = "Tell me about rivers in spring"
    body: dict[str, Any] = {"model": "food-review", "max_tokens": 200}
    if path == "/v1/completions":
        body["prompt"] = question
    elif path == "/v1/responses":
        body |= {"input": question, "max_output_tokens": 200}
    else:
        body["messages"] = [{"role": "user", "content": question}]
    if stop:
        body |= {"stop": stop, "stop_sequences": [stop]}
    whole = json.loads(answer(service(), path, json.dumps(body).encode())[1])
    told = events(answer(service(), path, json.dumps({**body, "stream": True}).encode())[1].decode())
    if path == "/v1/chat/completions":
        parts = [data["choices"][0]["delta"].get("content", "") for _, data in told[:-1]]
        assert "".join(parts) == whole["choices"][0]["message"]["content"]
        assert told[-2][1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    elif path == "/v1/completions":
        assert "".join(data["choices"][0]["text"] for _, data in told[:-1]) == whole["choices"][0]["text"]
    elif path == "/v1/messages":
        parts = [data["delta"]["text"] for kind, data in told if kind == "content_block_delta"]
        assert "".join(parts) == whole["content"][0]["text"]
    else:
        parts = [data["delta"] for kind, data in told if kind == "response.output_text.delta"]
        assert "".join(parts) == whole["output"][0]["content"][0]["text"]
        numbers = [data["sequence_number"] for _, data in told]
        assert numbers == list(range(len(numbers)))


def test_steps_and_at_once_give_the_same_answer() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hello there"}], "stream": True}).encode()
    ask = Asked("POST", "/v1/chat/completions", "", JSON_HEADERS, body)
    stepped, instant = service(), service()
    job = routes.answer(stepped, ask, 1e9).answer
    same = routes.answer(instant, ask, 1e9).answer
    assert isinstance(job, Job)
    assert isinstance(same, Job)
    key = stepped.begin(job, 1e9)
    parts = []
    while stepped.next_at is not None:
        parts += stepped.step(stepped.next_at)
    assert {part.key for part in parts} == {key}
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert b"".join(part.data for part in parts) == instant.at_once(same, 1e9)


def test_a_second_turn_finds_the_first_one_in_the_cache() -> None:
    it = service(block_size=4)
    turns = [{"role": "user", "content": "Tell me about rivers in spring, please, and about the snow."}]
    first = json.loads(answer(it, "/v1/chat/completions", json.dumps({"messages": turns}).encode())[1])
    turns += [first["choices"][0]["message"] | {"role": "assistant"}, {"role": "user", "content": "And in autumn?"}]
    before = it.engine.counts.prefix_hits
    second = json.loads(answer(it, "/v1/chat/completions", json.dumps({"messages": turns}).encode())[1])
    hit = it.engine.counts.prefix_hits - before
    assert hit >= first["usage"]["total_tokens"] - 8
    assert hit < second["usage"]["prompt_tokens"]


def test_a_cache_salt_keeps_prefixes_apart() -> None:
    it = service(block_size=4)
    turns = {"messages": [{"role": "user", "content": "Tell me about rivers in spring, please."}]}
    for salt in ("a", "b"):
        answer(it, "/v1/chat/completions", json.dumps({**turns, "cache_salt": salt}).encode())
    assert it.engine.counts.prefix_hits == 0
    answer(it, "/v1/chat/completions", json.dumps({**turns, "cache_salt": "a"}).encode())
    assert it.engine.counts.prefix_hits > 0
