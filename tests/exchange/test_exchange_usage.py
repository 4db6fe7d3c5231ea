"""What a request cost is in its record: in every API, streamed or not, whether the client asked for usage or not."""

import gzip
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import CHAT, JSON, STREAM, Play, read, service, serving, to
from recorded import bodies

from headgate.exchange.events import Cut, Decode, Decoded, Relay, Reply
from headgate.exchange.stream_options import with_usage
from headgate.plan.plan import Match, Model, Rewrite, Target

STREAMS = bodies("text/event-stream")
WITH_USAGE = STREAMS["chat stream with usage"]
WITHOUT = b"\n\n".join(event for event in WITH_USAGE.split(b"\n\n") if b'"choices":[],"usage"' not in event)
ASKING = {"model": "tiny-llama", "messages": [], "stream": True}


def streaming(path: str = CHAT, **changed) -> Play:
    """A request for a stream, on its way."""
    play = Play(to("p"), p=serving("tiny-llama"))
    play.ask(f"POST {path}", body=ASKING | changed)
    return play


def accounts(play: Play) -> tuple[int | None, int | None, int | None]:
    return play.record.prompt_tokens, play.record.completion_tokens, play.record.cached_tokens


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=8))
def test_a_client_that_did_not_ask_sees_no_usage_and_it_is_accounted(cuts):
    play = Play(to("p"), p=serving("tiny-llama"))
    forward = play.ask(body=ASKING)
    assert json.loads(forward.body) == ASKING | {"stream_options": {"include_usage": True}}
    assert read(forward).headers["content-length"] == str(len(forward.body))
    relay = play.answers(200, STREAM)
    assert isinstance(relay, Relay)
    assert relay.length is None
    places = sorted({0, len(WITH_USAGE), *(cut for cut in cuts if cut < len(WITH_USAGE))})
    sent = b"".join(play.chunk(WITH_USAGE[a:b]) for a, b in pairwise(places)) + play.ends()
    assert sent == WITHOUT
    assert accounts(play) == (5, 6, None)
    assert play.record.chunks == len(places) - 1


def test_a_client_that_asked_sees_it_too():
    options = {"include_usage": True}
    play = Play(to("p"), p=serving("tiny-llama"))
    forward = play.ask(body=ASKING | {"stream_options": options})
    assert json.loads(forward.body) == ASKING | {"stream_options": options}
    play.answers(200, STREAM)
    assert play.chunk(WITH_USAGE) + play.ends() == WITH_USAGE
    assert accounts(play) == (5, 6, None)


@pytest.mark.parametrize(
    ("name", "path", "told"),
    [
        ("completion stream with usage", "/v1/completions", (9, 5, None)),
        ("response stream", "/v1/responses", (5, 24, 0)),
        ("message stream", "/v1/messages", (5, 24, None)),
    ],
)
def test_the_other_apis_streams_are_accounted(name, path, told):
    play = streaming(path)
    play.answers(200, STREAM)
    sent = play.chunk(STREAMS[name]) + play.ends()
    assert (sent == STREAMS[name]) is (path != "/v1/completions")
    assert accounts(play) == told


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/embeddings", "/custom"])
def test_apis_that_know_no_such_option_are_not_asked(path):
    play = Play(to("p"), p=serving("tiny-llama"))
    assert json.loads(play.ask(f"POST {path}", body=ASKING).body) == ASKING


@pytest.mark.parametrize("name", ["chat", "completion", "response", "message"])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_that_is_no_stream_is_accounted(name, at_once):
    body = bodies("application/json")[name]
    usage = json.loads(body)["usage"]
    play = Play(to("p"), p=serving("tiny-llama"))
    play.ask(model="tiny-llama")
    if at_once:
        reply = play.answers_whole(body)
        assert isinstance(reply, Reply)
        assert reply.body == body
    else:
        relay = play.answers(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
        assert isinstance(relay, Relay)
        assert relay.length == len(body)
        assert play.chunk(body[:99]) + play.chunk(body[99:]) + play.ends() == body
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    assert accounts(play)[:2] == (prompt, usage.get("completion_tokens", usage.get("output_tokens")))
    assert play.record.chunks == 0


def test_the_model_that_the_client_asked_for_is_put_back_beside():
    models = {"chat": Model("chat", targets=(Target("tiny-llama"),))}
    play = Play(to("p"), p=serving("tiny-llama<llama", models=models))
    forward = play.ask(body=ASKING | {"model": "chat"})
    assert json.loads(forward.body) == ASKING | {"stream_options": {"include_usage": True}}
    play.answers(200, STREAM)
    sent = b"".join([play.chunk(WITH_USAGE[n : n + 7]) for n in range(0, len(WITH_USAGE), 7)]) + play.ends()
    assert sent == WITHOUT.replace(b"tiny-llama", b"chat")
    record = play.record
    assert accounts(play) == (5, 6, None)
    assert (record.model, record.target, record.base) == ("chat", "tiny-llama", "llama")


def test_a_stream_that_is_answered_at_once_is_treated_like_others():
    play = streaming()
    reply = play.answers_whole(WITH_USAGE, headers=STREAM)
    assert isinstance(reply, Reply)
    assert reply.body == WITHOUT
    assert accounts(play) == (5, 6, None)
    assert play.record.chunks == 1


def test_a_pool_may_be_kept_from_asking():
    play = Play(to("p"), p=serving("tiny-llama", include_usage=False))
    assert json.loads(play.ask(body=ASKING).body) == ASKING
    play.answers(200, STREAM)
    assert play.chunk(WITH_USAGE) + play.ends() == WITH_USAGE  # what the server tells of itself is for the client
    assert accounts(play) == (5, 6, None)


def test_a_service_is_not_asked_and_not_accounted():
    play = Play(to("s"), s=service())
    assert json.loads(play.ask(body=ASKING).body) == ASKING
    relay = play.answers(200, STREAM)
    assert isinstance(relay, Relay)
    assert relay.edit is None
    assert accounts(play) == (None, None, None)


def test_a_request_that_came_compressed_asks_too():
    play = Play(to("p"), p=serving("tiny-llama"))
    body = json.dumps(ASKING).encode()
    decode = play.ask(body=gzip.compress(body), headers={"content-encoding": "gzip"})
    assert isinstance(decode, Decode)
    forward = play.decodes(Decoded(body))
    assert json.loads(forward.body) == ASKING | {"stream_options": {"include_usage": True}}


def test_the_path_that_counts_is_that_which_the_server_sees():
    to_chat = to("p", match=Match("/talk"), rewrite=Rewrite(full=CHAT))
    assert b"include_usage" in Play(to_chat, p=serving("tiny-llama")).ask("POST /talk", body=ASKING).body
    away = to("p", rewrite=Rewrite(full="/generate"))
    assert b"include_usage" not in Play(away, p=serving("tiny-llama")).ask(body=ASKING).body


@pytest.mark.parametrize("status", [400, 422, 500])
def test_an_error_costs_nothing_whatever_it_repeats(status):
    play = streaming()
    error = b'{"error":{"input":{"usage":{"prompt_tokens":5}}}}'
    reply = play.answers_whole(error, status=status, headers=JSON)
    assert isinstance(reply, Reply)
    assert reply.body == error
    assert accounts(play) == (None, None, None)


def test_a_compressed_answer_is_passed_on_and_not_read():
    play = streaming()
    relay = play.answers(200, [*STREAM, (b"content-encoding", b"gzip")])
    assert isinstance(relay, Relay)
    assert relay.edit is None
    assert accounts(play) == (None, None, None)


@pytest.mark.parametrize("asked", [True, False])
def test_when_the_client_leaves_the_chunks_are_known(asked):
    play = streaming(stream_options={"include_usage": asked})
    play.answers(200, STREAM)
    for _ in range(3):
        play.chunk(b'data: {"choices":[{"index":0}]}\n\n')
    play.leaves()
    assert (play.record.chunks, accounts(play)) == (3, (None, None, None))


def test_when_the_server_breaks_what_it_told_so_far_counts():
    play = streaming(stream_options={"include_usage": True, "continuous_usage_stats": True})
    play.answers(200, STREAM)
    running = STREAMS["chat stream with usage all along"]
    play.chunk(running[: running.index(b'"completion_tokens":4') + 60])
    assert isinstance(play.fails("reset"), Cut)
    assert accounts(play) == (5, 4, None)


def test_what_is_held_back_when_the_server_breaks_is_not_sent_half():
    play = streaming()
    play.answers(200, STREAM)
    assert play.chunk(b'data: {"choices":[{"index":0}]}\n\ndata: {"id"') == b'data: {"choices":[{"index":0}]}\n\n'
    broken = play.fails("reset")
    assert isinstance(broken, Cut)
    assert broken.data.startswith(b'data: {"error"')


def test_the_objective_is_recorded_where_the_pool_has_it():
    play = Play(to("p"), p=serving("tiny-llama", objectives={"batch": -1}))
    play.ask(model="tiny-llama", headers={"x-llm-d-inference-objective": "batch"})
    assert play.record.objective == "batch"
    play = Play(to("p"), p=serving("tiny-llama", objectives={"batch": -1}))
    play.ask(model="tiny-llama", headers={"x-llm-d-inference-objective": "made up"})
    assert play.record.objective == ""


def test_a_request_that_is_sent_again_asks_again():
    play = Play(to("p"), p=serving("tiny-llama"))
    first = play.ask(body=ASKING)
    again = play.fails("reset")
    assert again.body == first.body == with_usage(json.dumps(ASKING, separators=(",", ":")).encode(), b"")
