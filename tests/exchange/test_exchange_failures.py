"""What goes wrong: servers that refuse, die, dawdle or lose adapters, full and empty pools, clients that leave."""

import json
import sys

import pytest
from playbook import JSON, STREAM, Play, endpoint, error, header, service, serving, to, until

from headgate.exchange.events import Abort, Cut, Forward, Relay, Respond, Wait
from headgate.exchange.exchange import State
from headgate.exchange.site import Limits
from headgate.pick.filters import Sieve
from headgate.pick.profile import Profile
from headgate.plan.plan import Model, Target

REASON = "x-llm-d-request-dropped-reason"


# Again, elsewhere.


@pytest.mark.parametrize("reason", ["refused", "reset", "garbage"])
def test_a_server_that_fails_before_it_answers_is_replaced_by_another(reason):
    play = Play(to("p"), p=serving("m"))
    first = play.ask(model="m")
    second = play.fails(reason)
    assert endpoint(second) != endpoint(first)
    assert (second.head, second.body) == (first.head, first.body)
    assert isinstance(play.answers(), Relay)
    play.ends()
    assert (play.record.status, play.record.error) == (200, "")
    assert len(play.record.decisions) == 2


def test_after_three_tries_it_is_enough():
    play = Play(to("p"), p=serving("m", endpoints=5))
    tried = {endpoint(play.ask(model="m")), endpoint(play.fails("reset")), endpoint(play.fails("reset"))}
    assert len(tried) == 3
    problem = error(play.fails("reset", "by peer"), 502)
    assert problem["message"] == "The model server could not answer (reset: by peer), after 3 tries."
    assert play.record.tries == 3


def test_a_refused_connection_is_no_try():
    play = Play(to("p"), p=serving("m", endpoints=6))
    tried = [endpoint(play.ask(model="m"))] + [endpoint(play.fails("refused")) for _ in range(5)]
    assert len(set(tried)) == 6


def test_once_all_have_refused_they_are_tried_again_a_little_later():
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m")
    play.fails("refused")
    assert until(play.fails("refused")) == play.now + 0.25
    assert isinstance(play.after(0.25).wakes(), Forward)
    assert isinstance(play.answers(), Relay)
    assert play.record.tries == 1
    assert play.record.waited


def test_a_pool_that_refuses_for_long_gets_503():
    play = Play(to("p"), p=serving("m", endpoints=1))
    command = play.ask(model="m")
    while not isinstance(command, Respond):
        if isinstance(command, Wait):
            play.now = command.until
        command = play.fails("refused", "Connection refused") if isinstance(command, Forward) else play.wakes()
    error(command, 503)
    assert header(command, REASON) == "rejected-no-endpoints"
    assert play.now == 130.0
    assert len(play.record.decisions) == 16, "the last ones tell enough"
    assert play.record.error == "refused: Connection refused"
    assert play.record.address == "10.0.0.1:8000"


def test_a_lone_server_that_speaks_no_http_is_not_waited_for():
    play = Play(to("p"), p=serving("m", endpoints=1))
    play.ask(model="m")
    error(play.fails("garbage", "Expected HTTP/"), 502)


def test_a_lone_server_that_was_reset_is_waited_for():
    play = Play(to("p"), p=serving("m", endpoints=1))
    play.ask(model="m")
    assert isinstance(play.fails("reset"), Wait)


@pytest.mark.parametrize(
    ("line", "repeated"), [("GET /", True), ("PUT /", True), ("POST /", False), ("PATCH /", False)]
)
def test_what_a_service_may_have_done_is_not_done_twice(line, repeated):
    play = Play(to("p"), p=service())
    assert play.ask(line).repeat is repeated
    answer = play.fails("reset")
    assert isinstance(answer, Forward) is repeated
    if not repeated:
        error(answer, 502)
    play = Play(to("p"), p=service())
    play.ask(line)
    assert isinstance(play.fails("refused"), Forward), "nothing was done"


def test_a_404_of_a_server_that_lost_an_adapter_is_asked_elsewhere():
    play = Play(to("p"), p=serving("m"))
    first = play.ask(model="m")
    second = play.answers(404)
    assert endpoint(second) != endpoint(first)
    assert isinstance(play.answers(404), Relay), "nobody else is left: so it is true"
    assert play.record.status == 404


def test_a_404_of_a_request_without_a_model_is_a_404():
    play = Play(to("p"), p=serving("m"))
    play.ask("GET /nope")
    assert isinstance(play.answers(404), Relay)


def test_a_404_stays_one_when_the_pool_has_become_full_or_empty_meanwhile():
    play = Play(to("p"), p=serving("m", models={"m": Model("m", priority=-1)}))
    play.ask(model="m")
    for name in ("ns/p-0", "ns/p-1"):
        play.load(name, waiting=100)
    assert isinstance(play.answers(404), Forward | Relay)
    assert play.exchange.state is not State.DONE


# Never after the answer has begun.


@pytest.mark.parametrize("reason", ["reset", "garbage", "timeout"])
def test_an_answer_that_has_begun_is_cut(reason):
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m")
    play.answers()
    assert play.fails(reason) == Cut(b"")
    assert play.exchange.state is State.DONE


@pytest.mark.parametrize(("reason", "code"), [("reset", "endpoint_failed"), ("timeout", "timeout")])
def test_a_stream_that_has_begun_ends_with_an_error_event(reason, code):
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m")
    play.answers(200, STREAM)
    cut = play.fails(reason, "why")
    assert cut.data.startswith(b"data: {")
    assert cut.data.endswith(b"}\n\n")
    problem = json.loads(cut.data.strip()[len("data: ") :])["error"]
    assert problem["code"] == code
    assert "in the middle of the stream" in problem["message"]
    assert play.record.error == f"{reason}: why"


def test_half_an_event_that_was_held_back_is_not_sent_before_the_error():
    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    play.ask(model="chat")
    play.answers(200, STREAM)
    sent = play.chunk(b'data: {"model":"v1"}\n\ndata: {"mod')
    assert sent == b'data: {"model":"chat"}\n\n'
    assert play.fails("reset").data.startswith(b"data: {")


def test_half_an_event_that_was_sent_becomes_the_error():
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m")
    play.answers(200, STREAM)
    half = b'data: {"choices":[{"delta":{"content":"Hel'
    event = json.loads((half + play.fails("reset", unfinished=half).data).removeprefix(b"data: "))
    assert event["choices"] == [{"delta": {"content": "Hel"}}]
    assert event["error"]["code"] == "endpoint_failed"


def test_a_stream_of_messages_ends_with_an_event_of_the_kind_that_its_clients_know():
    play = Play(to("p"), p=serving("m"))
    play.ask("POST /v1/messages", model="m")
    play.answers(200, STREAM)
    name, data = play.fails("reset").data.split(b"\n", 1)
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["type"] == "error"


# Time.


def test_a_route_limits_the_whole_request():
    play = Play(to("p", timeout_s=5.0), p=serving("m", timeout_s=60.0))
    assert play.ask(model="m").deadline == 105.0
    assert play.after(2).fails("reset").deadline == 105.0
    problem = error(play.after(3).fails("timeout"), 504)
    assert problem["code"] == "timeout"


def test_the_limit_of_the_pool_counts_where_the_route_has_none():
    assert Play(to("p"), p=serving("m", timeout_s=60.0)).ask(model="m").deadline == 160.0
    assert Play(to("p", timeout_s=0.0), p=serving("m", timeout_s=60.0)).ask(model="m").deadline is None
    assert Play(to("p"), p=serving("m")).ask(model="m").deadline is None


def test_the_limit_of_the_gateway_counts_where_neither_has_one():
    for route, deadline in ((to("p"), 107.0), (to("p", timeout_s=0.0), None), (to("p", timeout_s=9.0), 109.0)):
        play = Play(route, p=serving("m"))
        play.site.limits = Limits(request_s=7.0)
        assert play.ask(model="m").deadline == deadline


@pytest.mark.parametrize(
    ("after", "detail", "told"),
    [
        (2.0, "", "one attempt may take 2 s"),
        (5.0, "", "the whole request may take 5 s"),
        (3.0, "nothing came within 3 s", "nothing came within 3 s"),
    ],
)
def test_each_limit_says_which_one_it_is(after, detail, told):
    play = Play(to("p", timeout_s=5.0, backend_timeout_s=2.0), p=serving("m"))
    play.ask(model="m")
    assert error(play.after(after).fails("timeout", detail), 504)["message"].endswith(f"in time: {told}.")
    assert play.record.error == f"timeout: {told}"


def test_one_try_may_have_a_limit_of_its_own():
    play = Play(to("p", timeout_s=5.0, backend_timeout_s=2.0), p=serving("m", endpoints=3))
    assert play.ask(model="m").deadline == 102.0
    assert play.after(1).fails("reset").deadline == 103.0
    assert play.after(3).fails("reset").deadline == 105.0


def test_a_request_that_waits_past_its_limit_gets_504():
    play = Play(to("p", timeout_s=5.0, backend_timeout_s=2.0), p=serving("m", endpoints=1))
    play.ask(model="m")
    wait = play.fails("refused")
    while isinstance(wait, Wait):
        play.now = wait.until
        wait = play.wakes()
        wait = play.fails("refused") if isinstance(wait, Forward) else wait
    assert play.now == 105.0
    error(wait, 504)


# Waiting.


def gone(play: Play, name: str, **fields) -> None:
    """All endpoints of the pool stop being ready."""
    play.pool(name, **serving("m", **fields))
    view = play.views[name]
    endpoints = [type(e)(e.name, e.address, e.port, ready=False) for e in view.standing.endpoints]
    view.standing = type(view.standing)(name, endpoints, play.loads, play.ledger, play.index)


def test_a_pool_without_a_ready_endpoint_is_waited_for():
    play = Play(to("p"))
    gone(play, "p")
    wait = play.ask(model="m")
    assert wait == Wait("p", 130.0)
    assert play.after(1).wakes() == Wait("p", 130.0)
    play.pool("p", **serving("m"))
    assert isinstance(play.after(1).wakes(), Forward)
    assert len(play.record.decisions) == 2


def test_a_wait_that_is_over_gets_503_and_says_when_to_come_again():
    play = Play(to("p"))
    gone(play, "p")
    play.ask(model="m")
    play.now = 130.0
    answer = play.wakes()
    problem = error(answer, 503)
    assert problem["code"] == "no_endpoint"
    assert "is ready" in problem["message"]
    assert header(answer, REASON) == "rejected-no-endpoints"
    assert header(answer, "retry-after") == "1"


def test_a_pool_without_any_endpoint_is_not_waited_for():
    error(Play(to("p"), p=serving(endpoints=0)).ask(model="m"), 503)
    error(Play(to("p"), p=service(endpoints=0)).ask("GET /"), 503)


def test_an_adapter_that_is_declared_and_not_loaded_yet_is_waited_for():
    play = Play(to("p"), p=serving("base", declared=("new",)))
    assert isinstance(play.ask(model="new"), Wait)
    play.pool("p", **serving("base", "new<base"))
    assert json.loads(play.after(1).wakes().body)["model"] == "new"


def test_a_declared_adapter_that_never_comes_gets_503_with_its_name():
    play = Play(to("p"), p=serving("base", declared=("new",)))
    play.now = until(play.ask(model="new"))
    assert "serves the model `new` at the moment" in error(play.wakes(), 503)["message"]


def test_a_model_that_nobody_declares_is_not_waited_for():
    error(Play(to("p"), p=serving("base")).ask(model="new"), 404)


def test_a_pool_that_is_removed_while_one_waits_gets_503():
    play = Play(to("p"))
    gone(play, "p")
    play.ask(model="m")
    del play.views["p"]
    assert "is gone" in error(play.wakes(), 503)["message"]


# Shedding.


def full(play: Play) -> Play:
    for name in ("ns/p-0", "ns/p-1"):
        play.load(name, waiting=100)
    return play


def test_what_may_be_shed_is_shed_when_the_pool_is_full():
    sheddable = serving("m", models={"m": Model("m", priority=-1)})
    answer = full(Play(to("p"), p=sheddable)).ask(model="m")
    problem = error(answer, 429)
    assert problem["type"] == "rate_limit_error"
    assert header(answer, REASON) == "rejected-saturated"
    assert header(answer, "retry-after") == "1"
    assert isinstance(Play(to("p"), p=sheddable).ask(model="m"), Forward), "it is not full"
    assert isinstance(full(Play(to("p"), p=serving("m"))).ask(model="m"), Forward), "it may not be shed"


def test_where_a_configured_filter_leaves_nobody_the_request_is_refused_at_once():
    play = Play(to("p"), p=serving("m"))
    sieve = Sieve("spare", lambda ask, endpoint, load, count: count(endpoint.name) == 0, steady=False)
    play.views["p"].profile = Profile("mine", (("queue-scorer", 1.0),), sieves=(sieve,))
    assert isinstance(play.ask(model="m"), Forward)
    for name in ("ns/p-0", "ns/p-1"):
        play.views["p"].standing.ledger.take(name)
    answer = Play.ask(play, model="m")
    assert error(answer, 429)["message"] == "Filter spare left no endpoint of pool p."
    assert header(answer, REASON) == "rejected-saturated"


# Clients.


def test_a_client_that_leaves_ends_everything():
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m")
    assert play.leaves() == Abort()
    assert (play.record.status, play.record.error) == (499, "the client went away")


def test_a_client_that_leaves_while_it_waits_or_reads_is_recorded():
    play = Play(to("p"), p=serving("base", declared=("new",)))
    play.ask(model="new")
    assert play.leaves() == Abort()
    assert play.record.status == 499
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m")
    play.answers()
    play.leaves()
    assert (play.record.status, play.record.error) == (200, "the client went away")


# The record.


def test_the_record_tells_what_happened():
    play = Play(to("p", "/v1", name="ns/r/0/0"), p=serving("m"))
    play.ask(model="m")
    play.after(1).answers(200, STREAM)
    play.after(2).ends()
    record = play.record
    assert (record.id, record.method, record.path) == ("id-1", "POST", "/v1/chat/completions")
    assert (record.host, record.peer, record.route, record.pool) == ("gw.example", "192.0.2.7", "ns/r/0/0", "p")
    assert (record.model, record.target, record.endpoint, record.address) == ("m", "m", "ns/p-0", "10.0.0.1:8000")
    assert (record.asked_at, record.sent_at, record.answered_at, record.ended_at) == (100.0, 100.0, 101.0, 103.0)
    assert (record.status, record.tries, record.streamed, record.waited, record.error) == (200, 1, True, False, "")
    assert record.decisions[0].endpoint.name == "ns/p-0"


def test_a_refusal_says_in_the_record_what_was_wrong():
    play = Play(to("p"), p=serving("m"))
    answer = play.ask(model="nope")
    assert isinstance(answer, Respond)
    assert play.record.error == "The model `nope` does not exist. Served here: m."
    assert play.record.ended_at == 100.0


def test_the_body_is_let_go_when_the_answer_begins():
    body = json.dumps({"model": "m", "messages": ["x" * 1000]}).encode()
    before = sys.getrefcount(body)
    play = Play(to("p"), p=serving("m"))
    forward = play.ask(body=body)
    assert forward.body is body
    del forward
    assert sys.getrefcount(body) > before, "it may have to be sent again"
    play.answers(200, JSON)
    assert sys.getrefcount(body) == before


def test_a_503_says_once_why_nobody_took_the_request():
    nobody = Play(to("p"), p=serving(endpoints=0))
    assert error(nobody.ask(model="m"), 503)["message"] == "Pool p has no endpoints."

    sick = Play(to("p"), p=serving("m", endpoints=1))
    gone(sick, "p")
    sick.now = until(sick.ask(model="m"))
    assert error(sick.wakes(), 503)["message"] == "No endpoint of pool p is ready."

    failing = Play(to("p"), p=serving("m", endpoints=1))
    failing.ask(model="m")
    failing.fails("refused")
    failing.after(30)
    failing.wakes()
    assert error(failing.fails("refused"), 503)["message"] == "Every fit endpoint of pool p has failed on this request."
