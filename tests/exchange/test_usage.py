"""Usage is read from every form of answer in which servers tell of it, and from nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import bodies

from headgate.exchange.usage import Usage, last_usage, merged, read_usage

RECORDED = {name: body for name, body in bodies("application/json").items() if b'"usage"' in body}
COUNTS = st.integers(0, 10**7)


@pytest.mark.parametrize("name", RECORDED)
def test_what_vllm_told_is_read(name):
    told = json.loads(RECORDED[name])["usage"]
    usage = last_usage(RECORDED[name])
    assert usage is not None
    assert read_usage(RECORDED[name]) == usage
    assert usage.prompt == told.get("prompt_tokens", told.get("input_tokens"))
    assert usage.completion == told.get("completion_tokens", told.get("output_tokens"))
    assert usage.cached == (told.get("input_tokens_details") or {}).get("cached_tokens")


def test_there_are_recorded_answers_of_every_api():
    assert {"chat", "completion", "response", "message"} <= RECORDED.keys()


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, Usage(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, 0, 4)),
        ({"prompt_tokens": 5, "total_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None}, Usage(5, 0)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),  # OpenAI's embeddings
        ({"total_tokens": 56}, Usage(56, 0)),  # vLLM's rerank, Jina's
        ({"input_tokens": 9, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}, Usage(9, 3, 2)),
        ({"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": None}, Usage(9, 3)),
        # Anthropic's: the prompt has 9 + 100 + 20 tokens.
        (
            {"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20},
            Usage(129, 3, 100),
        ),
        ({"output_tokens": 15}, Usage(None, 15)),
        ({"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5, "more": {"x": [1, 2]}, "of": "them"}, Usage(1, 2)),
        ({"type": "duration", "seconds": 30}, None),  # of audio
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": "5"}, None),
        ({}, None),
        (None, None),
        ("5 tokens", None),
        ([5], None),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_each_form_of_usage_is_read(told, usage, indent):
    body = json.dumps({"id": "1", "usage": told, "after": None}, indent=indent).encode()
    assert read_usage(body) == last_usage(body) == usage


_TEXTS = st.text(max_size=20) | st.just('"usage":{"prompt_tokens":1}') | st.just('\\","usage":{"prompt_tokens":1},"')


@given(COUNTS, COUNTS, _TEXTS, st.dictionaries(_TEXTS, _TEXTS, max_size=3), st.booleans())
def test_no_text_is_taken_for_usage(prompt, completion, text, metadata, ascii_only):
    answer = {
        "object": "response",
        "output": [{"content": text}],
        "tools": [{"parameters": {"properties": {"usage": {"type": "string"}}}}],
        "usage": {"input_tokens": prompt, "output_tokens": completion},
        "user": text,
        "metadata": metadata | {"usage": text},
    }
    body = json.dumps(answer, ensure_ascii=ascii_only).encode()
    assert read_usage(body) == last_usage(body) == Usage(prompt, completion)
    del answer["usage"]
    body = json.dumps(answer, ensure_ascii=ascii_only).encode()
    assert read_usage(body) is last_usage(body) is None


@given(st.dictionaries(_TEXTS, st.just({"usage": {"prompt_tokens": 99}}), min_size=1), st.integers(0, 3000))
def test_what_a_model_writes_into_a_tool_s_input_is_not_its_usage(arguments, length):
    content = [{"type": "text", "text": "x" * length}, {"type": "tool_use", "name": "t", "input": arguments}]
    body = json.dumps(
        {"type": "message", "content": content, "usage": {"input_tokens": 5, "output_tokens": 7}}
    ).encode()
    assert read_usage(body) == Usage(5, 7)


def test_it_may_stand_before_a_long_rest():
    ids = list(range(50_000))
    body = json.dumps({"usage": {"prompt_tokens": 50_000, "completion_tokens": 1}, "prompt_token_ids": ids}).encode()
    assert read_usage(body) == last_usage(body) == Usage(50_000, 1)


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b'"usage"', b":", b"{", b"}", b'"prompt_tokens":5'])).map(b"".join)
)
def test_nothing_raises(noise):
    last_usage(noise)
    read_usage(noise)


def test_the_later_counts_but_what_it_leaves_out_stays():
    assert merged(Usage(25, 1), Usage(None, 15)) == Usage(25, 15)
    assert merged(Usage(25, 1, 3), Usage(26, 15, 4)) == Usage(26, 15, 4)
    assert merged(None, Usage(1)) == merged(Usage(1), None) == Usage(1)
    assert merged(None, None) is None
