"""Usage is asked for in a client's stead, and nothing else in the body changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.exchange.body import read_body
from headgate.exchange.stream_options import takes_options, with_usage

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3))
MEMBERS = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "stream_options"), JSON, max_size=4)


def asked(body: dict) -> dict | None:
    raw = json.dumps(body).encode()
    reading = read_body(b"application/json", raw)
    assert reading.stream
    changed = with_usage(raw, reading.options)
    return None if changed is None else json.loads(changed)


@given(MEMBERS, st.sampled_from([None, 1]), st.booleans())
def test_a_stream_without_options_gets_them_and_keeps_the_rest(members, indent, ascii_only):
    body = members | {"stream": True}
    raw = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode() + b" \n"
    changed = with_usage(raw, read_body(b"application/json", raw).options)
    assert json.loads(changed) == body | {"stream_options": {"include_usage": True}}
    assert list(json.loads(changed)) == [*body, "stream_options"]


@pytest.mark.parametrize(
    ("options", "becomes"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_usage": None}, {"include_usage": True}),
        ({"include_usage": "no"}, {"include_usage": True}),
        ({"include_usage": 0, "x": [1]}, {"include_usage": True, "x": [1]}),
        # Not included, the running counts meant nothing; now they would change each event.
        ({"include_usage": False, "continuous_usage_stats": True}, {"include_usage": True}),
        ({"continuous_usage_stats": False}, {"include_usage": True}),
    ],
)
def test_options_that_decline_usage_are_overruled(options, becomes):
    body = {"model": "m", "stream": True, "stream_options": options, "n": 2}
    assert asked(body) == body | {"stream_options": becomes}


@pytest.mark.parametrize(
    "options",
    [
        {"include_usage": True},
        {"include_usage": "yes"},
        {"include_usage": 1, "continuous_usage_stats": True},
        {"continuous_usage_stats": True},
        {"include_usage": "maybe"},  # for the server to refuse
        {"include_usage": [1]},
        5,
        "include_usage",
        [],
        True,
    ],
)
def test_who_asks_for_usage_or_writes_what_no_server_takes_is_left_alone(options):
    assert asked({"model": "m", "stream": True, "stream_options": options}) is None


def test_of_options_in_disguise_the_servers_take_ours():
    raw = b'{"stream":true,"stream_option\\u0073":{"include_usage":false}}'
    assert json.loads(with_usage(raw, b""))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("target", "takes"),
    [
        ("/v1/chat/completions", True),
        ("/v1/completions?x=/y", True),
        ("/openai/v1/chat/completions", True),
        ("/v1/responses", False),
        ("/v1/messages", False),
        ("/v1/embeddings", False),
        ("/v1/chat/completions/batch", False),
        ("/v1/audio/transcriptions?x=completions", False),
    ],
)
def test_chat_and_completions_take_stream_options(target, takes):
    assert takes_options(target) is takes
