"""Body-based routing, message by message."""

import json
from typing import Any

import pytest
from bbr_rig import shared
from turns import HEAD, body_of, pairs, removes, sets

from headgate.envoy.bbr import BodyTurn
from headgate.envoy.fields import BaseModel, Field
from headgate.envoy.messages import (
    BUFFERED,
    FULL_DUPLEX,
    NONE,
    About,
    Answer,
    Immediate,
    Message,
    Modes,
    Piece,
    Proceed,
)

BASES = {"lora-a": "Qwen/Qwen3-32B", "Qwen/Qwen3-32B": "Qwen/Qwen3-32B"}


def routed(body: Any, *, plugins: Any = None, modes: int = FULL_DUPLEX, kind: str = "application/json", **headers: str):
    made = shared(BASES, plugins) if plugins else shared(BASES)
    turn = BodyTurn(made)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    about = About(Modes(modes, NONE))
    turn.feed(Message("request_headers", pairs({**HEAD, "content-type": kind, **named}), about=about))
    half = len(data) // 2 if modes == FULL_DUPLEX else 0
    for piece in [data[:half], data[half:]] if half else [data]:
        turn.feed(Message("request_body", data=piece, end=piece is data or piece == data[half:]))
    answers: list[Answer] = list(turn.answers)
    turn.ended()
    assert made.budget.held.total == 0  # type: ignore[attr-defined]
    return made, answers


def test_the_model_and_its_base_become_headers_and_the_body_goes_on_as_it_is() -> None:
    body = {"model": "lora-a", "prompt": "x" * 150_000}
    made, (head, *rest) = routed(body)
    assert sets(head) == {"x-gateway-model-name": "lora-a", "x-gateway-base-model-name": "Qwen/Qwen3-32B"}
    assert isinstance(head, Proceed)
    assert head.reroute
    assert head.override is not None
    assert not head.override.response_headers
    assert json.loads(body_of(rest)) == body
    assert made.tally.success == 1


def test_a_base_model_that_nobody_knows_is_empty() -> None:
    _, (head, *_) = routed({"model": "else"})
    assert sets(head) == {"x-gateway-model-name": "else", "x-gateway-base-model-name": ""}


def test_a_buffered_body_is_answered_with_headers_alone() -> None:
    _, answers = routed({"model": "lora-a"}, modes=BUFFERED)
    first, told = answers
    assert first == Proceed("request_headers")
    assert isinstance(told, Proceed)
    assert (told.phase, told.body, sets(told)["x-gateway-model-name"]) == ("request_body", None, "lora-a")


def test_a_body_without_a_model_is_counted_and_what_a_client_says_in_its_place_is_not_believed() -> None:
    made, (head, *_) = routed({"prompt": "x"}, x_gateway_model_name="forged")
    assert removes(head) == {"x-gateway-model-name"}
    assert made.tally.not_found == {"model": 1}
    made, _ = routed({"model": ""})
    assert made.tally.empty == {"model": 1}


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{", "application/json"), (b"hello", "text/plain"), (b"[1]", "application/json")]
)
def test_what_is_no_json_object_is_refused(body: bytes, kind: str) -> None:
    _, answers = routed(body, kind=kind)
    (refused,) = answers
    assert isinstance(refused, Immediate)
    assert refused.status == 400
    assert refused.body.startswith(b"inference error: BadRequest - ")


def test_plugins_may_be_others() -> None:
    plugins = (Field("user", "user", "X-User"), Field("n", "n", "X-N"), BaseModel("base"), Field("bad", "bad", "X-Bad"))
    made, (head, *_) = routed({"model": "lora-a", "user": "u", "n": 3, "bad": "a\nb"}, plugins=plugins)
    assert sets(head) == {"x-user": "u", "x-n": "3", "x-gateway-base-model-name": "Qwen/Qwen3-32B"}
    assert made.tally.empty == {"bad": 1}


def test_without_a_body_there_is_nothing_to_do() -> None:
    turn = BodyTurn(shared(BASES))
    turn.feed(
        Message("request_headers", pairs({**HEAD, "x-gateway-model-name": "mine"}), end=True, about=About(Modes()))
    )
    (told,) = turn.answers
    assert isinstance(told, Proceed)
    assert not told.mutation.set
    assert not told.mutation.remove


def test_trailers_and_answers_that_are_sent_all_the_same_go_back_as_they_are() -> None:
    turn = BodyTurn(shared(BASES))
    turn.feed(Message("request_headers", pairs(HEAD), about=About(Modes())))
    turn.feed(Message("request_body", data=b'{"model": "m"}'))
    turn.feed(Message("request_trailers", pairs({"a": "b"}), end=True))
    head, piece, trailers = turn.answers
    assert sets(head)["x-gateway-model-name"] == "m"
    assert (piece, trailers) == (Piece("request_body", b'{"model": "m"}', False), Proceed("request_trailers"))
    turn.answers.clear()
    turn.feed(Message("response_headers", pairs({":status": "200"})))
    turn.feed(Message("response_body", data=b"x", end=True))
    assert turn.answers == [Proceed("response_headers"), Piece("response_body", b"x", True)]
