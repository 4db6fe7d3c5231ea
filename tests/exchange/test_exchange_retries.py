"""Retries as a route asks for them: which failures, how often, when, and to whom."""

import pytest
from playbook import JSON, Play, endpoint, error, header, service, serving, to

from headgate.exchange.events import Forward, Relay, Wait
from headgate.exchange.exchange import State
from headgate.plan.plan import Retry


def play(retry: Retry | None, *, endpoints: int = 3, **route) -> Play:
    return Play(to("p", retry=retry, **route), p=service(endpoints=endpoints))


def test_a_code_that_is_named_is_tried_elsewhere_and_another_is_passed_on():
    one = play(Retry((503,)))
    first = endpoint(one.ask("POST /x"))
    assert endpoint(one.answers(503)) != first
    assert isinstance(one.answers(500), Relay)
    assert (one.record.status, one.record.tries, one.record.error) == (500, 2, "")


def test_without_a_word_of_retries_every_answer_is_passed_on():
    one = play(None)
    one.ask("GET /x")
    assert isinstance(one.answers(503), Relay)


# What model servers get without a word: 502 and 503, and requests that broke, as far as the budget goes.


@pytest.mark.parametrize("status", [502, 503])
def test_a_model_server_that_can_not_is_replaced_by_another_one_twice(status):
    one = Play(to("p"), p=serving("m", endpoints=4))
    asked = [endpoint(one.ask(model="m")), endpoint(one.answers(status)), endpoint(one.answers(status))]
    assert len(set(asked)) == 3
    assert isinstance(one.answers(status), Relay)
    assert (one.record.status, one.record.tries, one.record.error) == (status, 3, "")


@pytest.mark.parametrize("status", [400, 429, 500, 501, 504])
def test_another_answer_of_a_model_server_is_an_answer(status):
    one = Play(to("p"), p=serving("m"))
    one.ask(model="m")
    assert isinstance(one.answers(status), Relay)


def test_a_503_of_the_only_model_server_is_passed_on():
    one = Play(to("p"), p=serving("m", endpoints=1))
    one.ask(model="m")
    assert isinstance(one.answers(503), Relay)


def test_once_the_budget_is_spent_a_503_is_passed_on():
    pool = serving("m")
    before = spent(Play(to("p"), p=pool))
    one = Play(to("p"))
    one.views = before.views
    before.ask(model="m")
    assert isinstance(before.answers(503), Relay)


def spent(one: Play) -> Play:
    """Nothing is left of the budget of its pool."""
    while one.views["p"].budget.spend(0, one.now):
        pass
    return one


def test_once_the_budget_is_spent_what_broke_waits_for_its_turn():
    one = spent(Play(to("p"), p=serving("m")))
    first = endpoint(one.ask(model="m"))
    assert one.fails("reset") == Wait("", one.now + 0.25)
    assert one.record.waited
    one.after(0.25)
    assert one.wakes() == Wait("", one.now + 0.25), "there is still nothing left"
    one.views["p"].budget.pay_back(1, one.now)
    assert endpoint(one.after(0.25).wakes()) != first
    assert isinstance(one.answers(), Relay)
    assert one.views["p"].budget.spend(0, one.now), "what was answered is paid back"


def test_what_waits_for_its_turn_does_so_no_longer_than_a_request_may_wait():
    one = spent(Play(to("p"), p=serving("m")))
    one.ask(model="m")
    wait = one.fails("reset", "by peer")
    while isinstance(wait, Wait):
        one.now = wait.until
        spent(one)
        wait = one.wakes()
    assert one.now == 130.0
    assert "reset: by peer" in error(wait, 503)["message"]
    assert header(wait, "retry-after") == "1"


def test_what_waits_for_its_turn_past_its_time_gets_504():
    one = spent(Play(to("p", timeout_s=1.0), p=serving("m")))
    one.ask(model="m")
    wait = one.fails("reset")
    while isinstance(wait, Wait):
        one.now = wait.until
        spent(one)
        wait = one.wakes()
    assert one.now == 101.0
    error(wait, 504)


def test_a_route_that_wants_retries_is_not_held_to_the_budget():
    one = spent(Play(to("p", retry=Retry((503,), attempts=2)), p=serving("m")))
    one.ask(model="m")
    assert isinstance(one.answers(503), Forward)
    assert isinstance(one.fails("reset"), Forward)


def test_attempts_come_after_the_first_request_and_the_last_answer_is_passed_on():
    one = play(Retry((503,), attempts=4))
    one.ask("GET /x")
    for _ in range(4):
        assert isinstance(one.answers(503), Forward)
    assert isinstance(one.answers(503), Relay)
    assert (one.record.tries, one.record.status) == (5, 503)


def test_the_endpoint_that_failed_is_asked_again_where_there_is_no_other():
    one = play(Retry((503,)), endpoints=1)
    one.ask("GET /x")
    assert endpoint(one.answers(503)) == "ns/p-0"
    assert endpoint(one.answers(503)) == "ns/p-0"
    assert isinstance(one.answers(503), Relay), "two attempts where the route does not say how many"


@pytest.mark.parametrize("reason", ["reset", "garbage", "timeout"])
def test_a_route_that_wants_retries_has_them_for_every_method_and_failure(reason):
    one = play(Retry())
    one.ask("POST /x", body=b"{}")
    for _ in range(2):
        again = one.fails(reason)
        assert isinstance(again, Forward)
        assert again.body == b"{}"
    error(one.fails(reason), 504 if reason == "timeout" else 503)
    assert one.record.tries == 3


def test_connections_that_are_refused_are_no_attempts():
    one = play(Retry(attempts=1))
    one.ask("GET /x")
    assert isinstance(one.fails("refused"), Forward)
    assert isinstance(one.fails("refused"), Forward)
    assert one.record.tries == 1


def test_a_later_attempt_waits_as_long_as_the_route_says_whatever_happens_to_the_pool():
    one = play(Retry((503,), backoff_s=0.5))
    one.ask("POST /x", body=b"{}")
    wait = one.answers(503)
    assert wait == Wait("", one.now + 0.5)
    assert one.exchange.state is State.WAITING
    assert not one.record.waited, "that counts those who wait for an endpoint"
    assert one.after(0.3).wakes() == wait
    again = one.after(0.2).wakes()
    assert isinstance(again, Forward)
    assert again.body == b"{}"


def test_no_attempt_begins_when_the_requests_time_is_over_by_then():
    one = play(Retry((503,), attempts=9, backoff_s=0.4), timeout_s=1.0)
    one.ask("GET /x")
    one.answers(503)
    one.after(0.4).wakes()
    one.after(0.3)
    assert isinstance(one.answers(503), Relay), "0.7 s and 0.4 s are more than a second"
    one = play(Retry(attempts=9), timeout_s=1.0)
    one.ask("GET /x")
    error(one.after(1.0).fails("timeout"), 504)


def test_each_attempt_has_the_time_that_one_may_take():
    one = play(Retry(), timeout_s=1.0, backend_timeout_s=0.4)
    deadlines = [one.ask("GET /x").deadline]
    for _ in range(2):
        deadlines.append(one.after(0.4).fails("timeout").deadline)
    assert deadlines == pytest.approx([100.4, 100.8, 101.0])


def test_a_stream_that_has_begun_is_never_tried_again():
    one = play(Retry((503,)))
    one.ask("GET /x")
    one.answers(200)
    assert not isinstance(one.fails("reset"), Forward)


def test_a_client_that_leaves_between_two_attempts_is_gone():
    one = play(Retry((503,), backoff_s=0.5))
    one.ask("GET /x")
    one.answers(503)
    one.leaves()
    assert (one.record.status, one.exchange.state) == (499, State.DONE)


def test_an_adapter_that_was_just_unloaded_is_still_looked_for_elsewhere():
    one = Play(to("p", retry=Retry((503,))), p=serving("m"))
    first = endpoint(one.ask(model="m"))
    assert endpoint(one.answers(404, JSON)) != first
    assert header(one.answers(200, JSON), "x-request-id") == "id-1"
