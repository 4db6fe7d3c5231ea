"""The Endpoint Picker Protocol (v1.0.0), message by message: what goes in, and what the proxy is told."""

import asyncio
import gzip
import json
from time import monotonic

import pytest
from msgspec.structs import replace
from playbook import Play, serving, to
from turns import CHAT, HEAD, Process, body_of, pairs, pool, removes, sets

from headgate.envoy.hints import DESTINATION
from headgate.envoy.messages import (
    BUFFERED,
    BUFFERED_PARTIAL,
    FULL_DUPLEX,
    NONE,
    STREAMED,
    Immediate,
    Modes,
    Piece,
    Proceed,
)
from headgate.envoy.options import Options
from headgate.envoy.refusals import in_text
from headgate.pick.profile import DEFAULT
from headgate.plan.plan import Model, ModelRule, Target


def test_the_destination_is_told_in_a_header_and_as_metadata_once_the_body_is_whole() -> None:
    process = Process(pool())
    body = json.dumps(CHAT).encode()
    assert process.head(x_request_id="r-1", content_length=str(len(body))) == []
    assert process.feed("request_body", data=body[:10]) == []
    head, *rest = process.feed("request_body", data=body[10:], end=True)
    assert sets(head) == {DESTINATION: "10.0.0.1:8000"}
    assert isinstance(head, Proceed)
    assert (head.phase, head.metadata, head.reroute) == ("request_headers", {DESTINATION: "10.0.0.1:8000"}, True)
    assert body_of(rest) == body
    assert process.play.ledger.count("ns/llama-0") == 1


def test_a_request_without_an_id_gets_one() -> None:
    head = Process(pool()).request()[0]
    assert set(sets(head)) == {DESTINATION, "x-request-id"}


def test_what_is_for_the_picker_alone_does_not_get_to_servers() -> None:
    names = (
        *("x_llm_d_inference_objective", "x_llm_d_inference_fairness_id", "x_llm_d_slo_ttft_ms", "x_slo_tpot_ms"),
        *("x_gateway_destination_endpoint", "x_gateway_destination_endpoint_subset", "x_gateway_inference_objective"),
        *("x_gateway_destination_endpoint_served", "x_gateway_model_name_rewrite", "x_llm_d_request_dropped_reason"),
    )
    head = Process(pool()).request(x_request_id="r", user_agent="u", **dict.fromkeys(names, "5"))[0]
    assert removes(head) == {name.replace("_", "-") for name in names}


def test_a_body_goes_back_in_pieces_that_a_proxy_takes() -> None:
    body = json.dumps({**CHAT, "user": "x" * 200_000}).encode()
    _, *rest = Process(pool()).request(body)
    assert body_of(rest) == body
    assert [len(one.data) for one in rest if isinstance(one, Piece)][:-1] == [62_000] * 3


def test_trailers_end_a_body_in_place_of_its_last_piece() -> None:
    process = Process(pool())
    process.head()
    process.feed("request_body", data=json.dumps(CHAT).encode())
    head, piece, trailers = process.feed("request_trailers", pairs({"x-checksum": "1"}), end=True)
    assert sets(head)[DESTINATION] == "10.0.0.1:8000"
    assert piece == Piece("request_body", json.dumps(CHAT).encode(), False)
    assert trailers == Proceed("request_trailers")


def test_a_request_without_a_body_goes_to_an_endpoint_too_and_its_answer_is_its_own_affair() -> None:
    process = Process(pool())
    (head,) = process.head(end=True)
    assert sets(head)[DESTINATION] == "10.0.0.1:8000"
    (answer,) = process.answer(content_type="text/plain", content_length="3")
    assert isinstance(answer, Proceed)
    assert answer.override is not None
    assert (answer.override.response, answer.override.trailers) == (NONE, False)
    assert [record.status for record in process.records] == [200]
    assert process.play.ledger.total() == 0


def test_a_post_with_an_empty_body_has_its_end_told() -> None:
    process = Process(pool())
    process.head()
    head, piece = process.feed("request_body", end=True)
    assert sets(head)[DESTINATION]
    assert piece == Piece("request_body", b"", True)


# The modes.


def test_a_buffered_body_is_asked_for_and_answered_with_all() -> None:
    process = Process(pool(), modes=Modes(BUFFERED, BUFFERED))
    assert process.head() == [Proceed("request_headers")]
    (told,) = process.feed("request_body", data=json.dumps(CHAT).encode(), end=True)
    assert isinstance(told, Proceed)
    assert (told.phase, told.body) == ("request_body", None)
    assert sets(told)[DESTINATION] == "10.0.0.1:8000"


@pytest.mark.parametrize("mode", [STREAMED, NONE])
def test_where_the_head_must_go_first_the_model_is_what_a_header_says(mode: int) -> None:
    play = Play(to("llama"), llama=serving("m", "other", endpoints=2))
    play.load("ns/llama-0", models=(next(iter(play.views["llama"].served.values())),))  # `m` alone
    process = Process(play, modes=Modes(mode, NONE))
    (told,) = process.head(x_gateway_model_name="other")
    assert sets(told)[DESTINATION] == "10.0.0.2:8000"
    assert process.feed("request_body", data=b'{"mo') == [Proceed("request_body")]
    assert process.feed("request_body", data=b'del": "other"}', end=True) == [Proceed("request_body")]


def test_a_body_that_is_streamed_through_is_kept_where_its_model_changes() -> None:
    rule = ModelRule("ns/rule", ("m",), (Target("other"),))
    process = Process(Play(to("llama"), llama=serving("m", "other", rules=(rule,))), modes=Modes(STREAMED, NONE))
    (told,) = process.head(x_gateway_model_name="m", content_length="15")
    assert "content-length" in removes(told)
    assert process.feed("request_body", data=b'{"model": ') == [Proceed("request_body", body=b"")]
    (last,) = process.feed("request_body", data=b'"m"}', end=True)
    assert isinstance(last, Proceed)
    assert json.loads(last.body or b"") == {"model": "other"}


def test_a_head_that_is_skipped_is_made_up_from_attributes() -> None:
    process = Process(pool())
    attributes = {"request.path": "/v1/chat/completions", "request.method": "POST", "request.host": "gw"}
    data = json.dumps(CHAT).encode()
    (told,) = process.feed("request_body", data=data, end=True, modes=Modes(BUFFERED, NONE), attributes=attributes)
    assert isinstance(told, Proceed)
    assert told.phase == "request_body"
    assert sets(told)[DESTINATION] == "10.0.0.1:8000"


def test_a_websocket_goes_on_before_it_has_a_body() -> None:
    process = Process(pool())
    (head,) = process.head(upgrade="websocket", connection="Upgrade")
    assert sets(head)[DESTINATION]
    assert process.feed("request_body", data=b"\x81\x05hello") == [Piece("request_body", b"\x81\x05hello", False)]


def test_a_compressed_body_is_read_and_goes_on_without_its_coding() -> None:
    process = Process(pool())
    body = json.dumps(CHAT).encode()
    process.head(content_encoding="gzip", content_length="9")
    head, *rest = process.feed("request_body", data=gzip.compress(body), end=True)
    assert body_of(rest) == body
    assert "content-encoding" in removes(head)
    assert sets(head)["content-length"] == str(len(body))


# Models.


def test_a_renamed_model_is_renamed_in_the_body_and_back_in_the_answer() -> None:
    play = Play(to("llama"), llama=serving("m-v2"))
    play.views["llama"].pool = replace(play.views["llama"].pool, models={"m": Model("m", targets=(Target("m-v2"),))})
    process = Process(play)
    head, *rest = process.request(content_length="60")
    assert json.loads(body_of(rest))["model"] == "m-v2"
    assert int(sets(head)["content-length"]) == len(body_of(rest))
    (answered,) = process.answer(content_length="40")
    assert "content-length" in removes(answered)
    pieces = process.feed("response_body", data=b'{"model":"m-')
    pieces += process.feed("response_body", data=b'v2","x":1}', end=True)
    assert json.loads(b"".join(one.data for one in pieces if isinstance(one, Piece))) == {"model": "m", "x": 1}


def test_usage_is_read_from_answers_and_accounted() -> None:
    process = Process(pool())
    process.request()
    process.answer()
    usage = b'{"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}'
    process.feed("response_body", data=usage, end=True)
    (record,) = process.records
    assert (record.prompt_tokens, record.completion_tokens, record.bytes_out) == (7, 3, len(usage))


def test_a_stream_of_events_is_followed_to_its_end() -> None:
    process = Process(pool())
    process.request({**CHAT, "stream": True})
    process.answer(content_type="text/event-stream")
    assert process.play.ledger.total() == 1
    assert process.feed("response_body", data=b'data: {"a": 1}\n\n') == [
        Piece("response_body", b'data: {"a": 1}\n\n', False)
    ]
    process.feed("response_body", data=b"data: [DONE]\n\n", end=True)
    assert [(record.status, record.streamed) for record in process.records] == [(200, True)]
    assert process.play.ledger.total() == 0


@pytest.mark.parametrize("request_mode", [BUFFERED, FULL_DUPLEX])
@pytest.mark.parametrize("response_mode", [NONE, BUFFERED_PARTIAL, STREAMED, BUFFERED, FULL_DUPLEX])
def test_usage_is_asked_for_where_the_chunk_that_brings_it_can_be_taken_out_again(
    request_mode: int, response_mode: int
) -> None:
    process = Process(pool(), modes=Modes(request_mode, response_mode))
    _, *rest = process.request({**CHAT, "stream": True})[-2:]
    sent = rest[-1].data if isinstance(rest[-1], Piece) else rest[-1].body or b"{}"
    asked = "stream_options" in json.loads(sent)
    assert asked is (response_mode not in (NONE, BUFFERED_PARTIAL))


# What the proxy says of endpoints.


@pytest.mark.parametrize(
    ("subset", "chosen"),
    [
        (frozenset({"10.0.0.2:8000"}), "10.0.0.2:8000"),
        (frozenset({"10.0.0.3"}), "10.0.0.3:8000"),
        (frozenset({"10.0.0.9:8000", "10.0.0.2:8000"}), "10.0.0.2:8000"),
    ],
)
def test_only_endpoints_that_the_proxy_can_reach_are_told(subset: frozenset[str], chosen: str) -> None:
    head = Process(pool()).request(subset=subset)[0]
    assert sets(head)[DESTINATION] == chosen


@pytest.mark.parametrize("subset", [frozenset(), frozenset({"10.0.0.1:9999"}), frozenset({"10.9.9.9"})])
def test_where_the_proxy_can_reach_none_it_is_told_503(subset: frozenset[str]) -> None:
    (refused,) = Process(pool()).request(subset=subset)
    assert isinstance(refused, Immediate)
    assert refused.status == 503
    assert (b"x-llm-d-request-dropped-reason", b"rejected-no-endpoints") in refused.headers


def test_what_the_proxy_says_can_be_left_unheeded() -> None:
    head = Process(pool(), options=Options(subsets=False)).request(subset=frozenset({"10.9.9.9"}))[0]
    assert sets(head)[DESTINATION] == "10.0.0.1:8000"


def test_the_next_best_are_named_behind_the_best_in_order() -> None:
    play = pool(endpoints=4)
    for at, waiting in enumerate((5, 0, 3, 1)):
        play.load(f"ns/llama-{at}", models=play.loads[f"ns/llama-{at}"].models, waiting=waiting, kv_usage=0.1)
    head = Process(play, options=Options(destinations=3)).request()[0]
    told = sets(head)[DESTINATION]
    assert told == "10.0.0.2:8000,10.0.0.4:8000,10.0.0.3:8000"
    assert isinstance(head, Proceed)
    assert head.metadata == {DESTINATION: told}


def test_as_many_are_named_as_the_pools_picker_says() -> None:
    play = pool(endpoints=4)
    play.views["llama"].profile = replace(DEFAULT, destinations=2)
    play.load("ns/llama-0", models=play.loads["ns/llama-0"].models, waiting=1, kv_usage=0.0)
    assert sets(Process(play).request()[0])[DESTINATION].count(",") == 1


def test_scores_are_told_where_the_proxy_wants_them() -> None:
    play = pool(endpoints=2)
    play.load("ns/llama-0", models=play.loads["ns/llama-0"].models, waiting=4, kv_usage=0.5)
    head = Process(play, options=Options(scores=True)).request()[0]
    assert isinstance(head, Proceed)
    scores = dict(one.split("=") for one in head.metadata["x-gateway-destination-endpoint-scores"].split(","))
    assert float(scores["10.0.0.2:8000"]) > float(scores["10.0.0.1:8000"])


def test_the_endpoint_that_has_served_is_the_one_that_counts() -> None:
    process = Process(pool(), options=Options(destinations=2))
    process.request()
    process.answer(served="10.0.0.2:8000")
    assert (process.play.ledger.count("ns/llama-0"), process.play.ledger.count("ns/llama-1")) == (0, 1)
    process.feed("response_body", data=b"{}", end=True)
    (record,) = process.records
    assert (record.endpoint, record.tries) == ("ns/llama-1", 2)
    assert process.play.ledger.total() == 0


def test_the_conformance_suites_headers_count_where_they_are_switched_on() -> None:
    tests = Options(tests=True)
    wish = {"test_epp_endpoint_selection": "10.0.0.3:8000"}
    assert sets(Process(pool()).request(**wish)[0])[DESTINATION] == "10.0.0.1:8000"
    process = Process(pool(), options=tests)
    head = process.request(subset=frozenset({"10.0.0.2:8000"}), **wish)[0]
    assert sets(head)[DESTINATION] == "10.0.0.3:8000"  # the test's word counts more than the proxy's
    (answer,) = process.answer(served="10.0.0.3:8000")
    assert sets(answer)["x-conformance-test-served-endpoint"] == "10.0.0.3:8000"


# Refusals.


def test_refusals_can_be_written_as_other_pickers_do() -> None:
    (refused,) = Process(pool(), options=Options(refusal=in_text)).request({"messages": []})
    assert isinstance(refused, Immediate)
    assert (refused.status, refused.body) == (400, b"inference error: BadRequest - The body names no model.")
    (refused,) = Process(pool(), options=Options(refusal=in_text)).request({"model": "unknown", "messages": []})
    assert isinstance(refused, Immediate)
    assert refused.status == 404
    assert refused.body.startswith(b"inference error: NotFound - ")


def test_what_may_be_shed_is_shed_at_a_full_pool() -> None:
    play = pool(endpoints=1, objectives={"batch": -1})
    play.load("ns/llama-0", models=play.loads["ns/llama-0"].models, waiting=100, kv_usage=1.0, at=monotonic())
    (refused,) = Process(play, options=Options(refusal=in_text)).request(x_gateway_inference_objective="batch")
    assert isinstance(refused, Immediate)
    assert refused.status == 429
    assert (b"x-llm-d-request-dropped-reason", b"rejected-saturated") in refused.headers
    assert refused.body.startswith(b"inference error: ResourceExhausted - ")


def test_a_body_that_is_too_large_is_refused_as_soon_as_it_is() -> None:
    process = Process(pool())
    limit = process.plane.bounds.body
    process.head()
    piece = b"x" * (1 << 20)
    for _ in range(limit >> 20):
        assert process.feed("request_body", data=piece) == []
    (refused,) = process.feed("request_body", data=b"y")
    assert isinstance(refused, Immediate)
    assert refused.status == 413
    assert process.plane.held.total == 0
    assert process.feed("request_body", data=piece) == []


def test_a_pool_without_endpoints_is_told_as_503() -> None:
    (refused,) = Process(pool(endpoints=0)).request()
    assert isinstance(refused, Immediate)
    assert refused.status == 503


# Time.


def test_a_request_may_wait_for_an_endpoint_and_goes_when_there_is_one() -> None:
    async def scenario() -> None:
        play = pool(endpoints=1)
        ready = play.views["llama"].standing
        play.views["llama"].standing = type(ready)(
            "llama",
            [type(e)(e.name, e.address, e.port, ready=False) for e in ready.endpoints],
            {},
            play.ledger,
            play.index,
        )
        process = Process(play, wait_s=30.0)
        assert process.request() == []
        assert process.turn.waits
        play.views["llama"].standing = ready
        process.plane.wake("llama")
        assert process.told == 1
        head, *rest = process.take()
        assert sets(head)[DESTINATION] == "10.0.0.1:8000"
        assert body_of(rest) == json.dumps(CHAT).encode()

    asyncio.run(scenario())


def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    process = Process(pool())
    process.request()
    assert process.play.ledger.total() == 1
    process.turn.ended()
    assert process.play.ledger.total() == 0
    assert [record.status for record in process.records] == [499]
    process.turn.ended()
    assert len(process.records) == 1


def test_an_answer_by_the_proxy_itself_ends_a_request_that_was_not_sent() -> None:
    process = Process(pool())
    process.head()
    assert process.answer(503) == [Proceed("response_headers")]
    assert [record.status for record in process.records] == [499]


def test_heads_that_differ_only_in_ids_and_lengths_are_read_once() -> None:
    from headgate.envoy.heads import Heads

    heads = Heads()
    first = heads.read(
        pairs({**HEAD, "x-request-id": "a", "content-length": "1", "x-forwarded-for": "9.9.9.9, 10.0.0.7"})
    )
    second = heads.read(pairs({**HEAD, "x-request-id": "b", "content-length": "2", "x-forwarded-for": "10.0.0.8"}))
    assert first.known is second.known
    assert (first.id, second.id, first.peer, second.peer) == (b"a", b"b", b"10.0.0.7", b"10.0.0.8")
    assert heads.read(pairs({**HEAD, "accept": "x"})).known is not first.known


def test_full_duplex_is_what_a_proxy_does_that_says_nothing() -> None:
    process = Process(pool(), modes=None)
    assert process.head() == []
    assert body_of(process.feed("request_body", data=b'{"model": "m"}', end=True)[1:]) == b'{"model": "m"}'
    assert FULL_DUPLEX == 4
