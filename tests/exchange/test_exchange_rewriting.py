"""Model names, paths, hosts and headers that change on the way, there and back."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook import CHAT, JSON, STREAM, Play, endpoint, error, header, pairs, read, service, serving, to

from headgate.exchange.events import Forward, Respond
from headgate.plan.plan import Backend, HeaderEdit, Match, Model, ModelRule, Redirect, Rewrite, Target

CANARY = {"chat": Model("chat", targets=(Target("v1", 9), Target("v2", 1)))}


# Models.


@pytest.mark.parametrize(("dice", "served"), [([0.0], "v1"), ([0.89], "v1"), ([0.9], "v2"), ([0.999], "v2")])
def test_an_inference_model_is_rewritten_by_weight(dice, served):
    play = Play(to("p"), dice=dice, p=serving("v1", "v2", models=CANARY))
    forward = play.ask(model="chat")
    assert json.loads(forward.body)["model"] == served
    line = read(forward)
    assert line.headers["content-length"] == str(len(forward.body))
    assert line.headers["x-gateway-model-name"] == "chat"
    assert (play.record.model, play.record.target) == ("chat", served)
    assert play.record.resolved_by == "InferenceModel chat"


def test_a_rewrite_rule_comes_before_an_inference_model():
    rule = ModelRule("ns/rule", models=("chat",), targets=(Target("v2"),))
    play = Play(to("p"), p=serving("v1", "v2", models=CANARY, rules=(rule,)))
    assert json.loads(play.ask(model="chat").body)["model"] == "v2"
    assert play.record.resolved_by == "InferenceModelRewrite ns/rule"


def test_the_answer_names_the_model_that_was_asked_for():
    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    play.ask(model="chat", headers={"accept-encoding": "gzip"})
    relay = play.answers(200, JSON)
    assert relay.length is None
    sent = play.chunk(b'{"id":1,"mod') + play.chunk(b'el":"v1","x":"v1"}') + play.ends()
    assert json.loads(sent) == {"id": 1, "model": "chat", "x": "v1"}


def test_a_server_is_not_asked_to_compress_what_must_be_read():
    asked = {"accept-encoding": "gzip", "accept": "*/*"}
    assert "accept-encoding" not in read(Play(to("p"), p=serving("v1")).ask(model="v1", headers=asked)).headers
    edited = to("p", request=HeaderEdit(add=(("x-a", "1"),)))
    assert "accept-encoding" not in read(Play(edited, p=serving("v1")).ask(model="v1", headers=asked)).headers
    assert "accept-encoding" in read(Play(to("p"), p=service()).ask(model="v1", headers=asked)).headers


def test_the_model_of_a_form_is_rewritten():
    body = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n--b--\r\n'
    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    forward = play.ask("POST /v1/audio/transcriptions", body=body, kind="multipart/form-data; boundary=b")
    assert forward.body == body.replace(b"chat", b"v1")
    assert read(forward).headers["content-length"] == str(len(forward.body))


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_any_name_comes_back_in_any_stream(name, cuts):
    play = Play(to("p"), p=serving("v1", models={name: Model(name, targets=(Target("v1"),))}))
    play.ask(model=name)
    play.answers(200, STREAM)
    stream = b"".join(b'data: {"model":"v1","choices":[%d]}\n\n' % n for n in range(3)) + b"data: [DONE]\n\n"
    if name == "v1":
        return
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    sent = b"".join(play.chunk(stream[a:b]) for a, b in pairwise(places)) + play.ends()
    events = sent.decode().split("\n\n")
    assert events[3:] == ["data: [DONE]", ""]
    assert [json.loads(event[6:]) for event in events[:3]] == [{"model": name, "choices": [n]} for n in range(3)]


def test_an_answer_that_is_no_json_is_passed_on_as_it_is():
    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    play.ask(model="chat")
    relay = play.answers(200, [(b"content-type", b"audio/wav"), (b"content-length", b"7")])
    assert (relay.edit, relay.length) == (None, 7)


def test_a_body_that_can_not_be_rewritten_is_refused():
    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    assert "a key is not UTF-8" in error(play.ask(body=b'{"\xff":1,"model":"chat"}'), 400)["message"]


def test_ray_serve_is_told_the_model_in_its_header():
    play = Play(to("p"), p=serving("gemma", ray=True))
    line = read(play.ask(model="gemma", headers={"serve_multiplexed_model_id": "evil"}))
    assert line.headers["serve_multiplexed_model_id"] == "gemma"
    assert line.names.count("serve_multiplexed_model_id") == 1


# Backends.


@pytest.mark.parametrize(
    ("dice", "pool"), [(0.0, "a"), (0.69, "a"), (0.7, "b"), (0.899, "b"), (0.9, None), (0.9999, None)]
)
def test_backends_share_by_weight_and_one_that_is_missing_keeps_its_share(dice, pool):
    route = to("a", backends=(Backend("a", 7), Backend("z", 0), Backend("b", 2), Backend(None, 1, reason="no such")))
    play = Play(route, dice=[dice], a=service(), b=service(), z=service())
    answer = play.ask("GET /")
    if pool is None:
        assert "no such" in error(answer, 500)["message"]
    else:
        assert endpoint(answer).startswith(f"ns/{pool}")


def test_backends_without_any_weight_are_none():
    error(Play(to("a", backends=(Backend("a", 0),)), a=service()).ask("GET /"), 500)
    error(Play(to("a", backends=(Backend("a", 0), Backend("a", 0))), a=service()).ask("GET /"), 500)


def test_a_backend_may_have_a_status_of_its_own():
    error(Play(to("a", backends=(Backend(None, status=503),))).ask("GET /"), 503)


# Redirects.


@pytest.mark.parametrize(
    ("redirect", "host", "target", "location"),
    [
        (Redirect(), "gw.example:8080", "/a?b", "http://gw.example:8080/a?b"),
        (Redirect(scheme="https"), "gw.example:8080", "/a", "https://gw.example/a"),
        (Redirect(scheme="https", port=8443), "gw.example", "/a", "https://gw.example:8443/a"),
        (Redirect(scheme="https", port=443), "gw.example", "/a", "https://gw.example/a"),
        (Redirect(port=80), "gw.example:8080", "/a", "http://gw.example/a"),
        (Redirect(hostname="new.example"), "gw.example:8080", "/a", "http://new.example:8080/a"),
        (Redirect(hostname="new.example"), "[::1]:8080", "/a", "http://new.example:8080/a"),
        (Redirect(), "[::1]", "/a", "http://[::1]/a"),
        (Redirect(full="/new"), "gw.example", "/old/x?y=1", "http://gw.example/new?y=1"),
        (Redirect(prefix="/new"), "gw.example", "/old/x", "http://gw.example/new/x"),
        (Redirect(prefix=""), "gw.example", "/old", "http://gw.example/"),
        (Redirect(), "gw.example", "/old/../a", "http://gw.example/a"),
    ],
)
def test_redirects_follow_the_gateway_api(redirect, host, target, location):
    play = Play(to(None, match=Match("/old" if redirect.prefix is not None else "/"), redirect=redirect))
    answer = play.ask(f"GET {target}", host=host)
    assert isinstance(answer, Respond)
    assert (answer.status, answer.body, header(answer, "location")) == (302, b"", location)


def test_a_redirect_has_the_status_it_was_given():
    assert Play(to(None, redirect=Redirect(301))).ask("GET /").status == 301


# Rewrites.


@pytest.mark.parametrize(
    ("match", "rewrite", "target", "result"),
    [
        (Match("/a"), Rewrite(prefix="/b"), "/a/x?y", "/b/x?y"),
        (Match("/a"), Rewrite(prefix="/b"), "/a", "/b"),
        (Match("/a"), Rewrite(prefix="/b"), "/a/", "/b/"),
        (Match("/a"), Rewrite(prefix=""), "/a", "/"),
        (Match("/a"), Rewrite(prefix=""), "/a/x", "/x"),
        (Match("/"), Rewrite(prefix="/b"), "/x", "/b/x"),
        (Match("/a"), Rewrite(full="/b"), "/a/x?y", "/b?y"),
        (Match("/a"), Rewrite(prefix="/b"), "/x/../a/./y", "/b/y"),
        (Match("/%7ea"), Rewrite(prefix="/b"), "/%7Ea/y", "/b/y"),
    ],
)
def test_a_path_is_rewritten(match, rewrite, target, result):
    assert read(Play(to("p", match=match, rewrite=rewrite), p=service()).ask(f"GET {target}")).target == result


def test_a_host_is_rewritten():
    play = Play(to("p", rewrite=Rewrite(hostname="inside.example")), p=service())
    assert read(play.ask("GET /", host="gw.example:80")).headers["host"] == "inside.example"
    assert play.record.host == "gw.example:80"


# Headers.


def test_headers_are_removed_then_set_then_added_by_the_route_then_by_the_backend():
    first = HeaderEdit(set=(("X-A", "1"), ("x-b", "1")), add=(("x-c", "1"),), remove=("x-gone", "x-b"))
    second = HeaderEdit(set=(("x-a", "2"),), add=(("x-c", "2"),))
    route = to("p", request=first, backends=(Backend("p", request=second),))
    forward = Play(route, p=service()).ask("GET /", headers={"x-a": "0", "x-c": "0", "x-gone": "0", "x-stays": "0"})
    named = re.compile("x-(.|stays|gone): ")
    lines = [line for line in forward.head.decode().split("\r\n") if named.match(line)]
    assert lines == ["x-c: 0", "x-stays: 0", "x-b: 1", "x-c: 1", "x-a: 2", "x-c: 2"]


def test_answers_are_edited_by_the_backend_then_by_the_route():
    first = HeaderEdit(set=(("x-a", "backend"),), remove=("server",))
    second = HeaderEdit(add=(("x-a", "route"),))
    route = to("p", response=second, backends=(Backend("p", response=first),))
    play = Play(route, p=service())
    play.ask("GET /")
    relay = play.answers(200, [(b"server", b"uvicorn"), (b"x-a", b"0"), (b"content-length", b"3")])
    assert pairs(relay) == [(b"x-a", b"backend"), (b"x-a", b"route"), (b"x-request-id", b"id-1")]
    assert relay.length == 3


def test_the_host_header_can_be_set_like_any_other():
    edit = HeaderEdit(set=(("Host", "inside.example"),))
    line = read(Play(to("p", request=edit), p=service()).ask("GET /"))
    assert line.names.count("host") == 1
    assert line.headers["host"] == "inside.example"


def test_edits_do_not_touch_how_long_a_message_is():
    edit = HeaderEdit(set=(("content-length", "5"), ("Transfer-Encoding", "chunked"), ("connection", "close")))
    play = Play(to("p", request=edit, response=edit), p=service())
    line = read(play.ask("POST /", body=b"abc", kind="text/plain"))
    assert line.headers["content-length"] == "3"
    assert not {"transfer-encoding", "connection"} & set(line.headers)
    assert {name for name, _ in pairs(play.answers(200, []))} == {b"x-request-id"}


# Priority.


@pytest.mark.parametrize(
    ("headers", "priority"),
    [
        ({}, -1),
        ({"x-llm-d-inference-objective": "urgent"}, 10),
        ({"x-gateway-inference-objective": "urgent"}, 10),
        ({"x-gateway-inference-objective": "urgent", "x-llm-d-inference-objective": "later"}, -5),
        ({"x-llm-d-inference-objective": "unknown"}, 0),
    ],
)
def test_an_objective_gives_the_priority_and_else_the_model_does(headers, priority):
    pool = serving("m", models={"m": Model("m", priority=-1)}, objectives={"urgent": 10, "later": -5})
    play = Play(to("p"), p=pool)
    forward = play.ask(model="m", headers=headers)
    assert isinstance(forward, Forward)
    assert play.record.priority == priority
    assert b"objective" not in forward.head


def test_an_objective_counts_for_requests_without_a_model():
    play = Play(to("p"), p=serving("m", objectives={"urgent": 10}))
    play.ask(f"POST {CHAT}", body={}, headers={"x-llm-d-inference-objective": "urgent"})
    assert play.record.priority == 10
