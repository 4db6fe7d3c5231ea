"""The comparison itself: for everything that it should notice, an answer in which that is changed."""

import copy
import json
from pathlib import Path
from typing import Any

import corpus
import pytest
from wire_shape import differences

RECORDED = corpus.read_answers(Path("/models"))


def changed(name: str, old: str, new: str) -> list[str]:
    """The differences that are found when `old` becomes `new` in the body of a recorded answer."""
    answer = copy.deepcopy(RECORDED[name])
    assert old in answer["body"], answer["body"][:500]
    answer["body"] = answer["body"].replace(old, new, 1)
    return differences(RECORDED[name], answer)


@pytest.mark.parametrize("name", ["chat", "chat stream", "response stream", "message stream", "models", "metrics"])
def test_an_answer_is_like_itself(name: str) -> None:
    assert differences(RECORDED[name], copy.deepcopy(RECORDED[name])) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("chat", '"refusal":null,', ""),
        ("chat", '"refusal":null', '"refusal":""'),
        ("chat", '"object":"chat.completion"', '"object":"chat"'),
        ("chat", '"prompt_tokens":', '"prompt_tokens":"x","y":'),
        ("chat", '"finish_reason":"length"', '"finish_reason":"stop"'),
        ("chat with an unknown model", "does not exist", "is not there"),
        ("chat with an unknown model", '"code":404', '"code":400'),
        ("chat with an unknown model", '"param":"model"', '"param":null'),
        ("chat stream", "data: [DONE]\n\n", ""),
        ("chat stream", '"role":"assistant"', '"role":"user"'),
        ("chat stream", ',"token_ids":null', ""),
        ("chat stream with usage", '"choices":[],"usage"', '"choices":[],"accounts"'),
        ("completion stream of two prompts", '"index":1', '"index":5'),
        ("response stream", "event: response.completed", "event: response.done"),
        ("message stream", "event: message_stop", "event: message_end"),
        ("metrics", "# TYPE vllm:num_requests_running gauge", "# TYPE vllm:num_requests_running counter"),
        ("metrics", "# HELP vllm:num_requests_running Number", "# HELP vllm:num_requests_running Amount"),
        ("metrics", "vllm:kv_cache_usage_perc{", "vllm:kv_cache_usage{"),
        ("metrics", 'finished_reason="abort"', 'finished_reason="gone"'),
        ("metrics", 'le="0.005"', 'le="0.006"'),
        ("load an adapter", "Success", "success"),
    ],
)
def test_a_change_in_the_body_is_noticed(name: str, old: str, new: str) -> None:
    assert changed(name, old, new) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"content":"', '"content":"other '),
        ('"id":"chatcmpl-', '"id":"chatcmpl-x'),
        ('"prompt_tokens":', '"prompt_tokens":1'),
    ],
)
def test_what_is_chance_is_not_noticed(old: str, new: str) -> None:
    assert changed("chat", old, new) == []


def test_a_change_of_status_or_headers_is_noticed() -> None:
    real = RECORDED["chat stream"]

    def other(**parts: Any) -> list[str]:
        return differences(real, json.loads(json.dumps({**real, **parts})))

    assert other(status=201)
    assert other(headers=real["headers"][:-1])
    assert other(headers=[*real["headers"], ["x-more", "1"]])
    assert other(headers=[[name, "text/plain" if name == "content-type" else value] for name, value in real["headers"]])
