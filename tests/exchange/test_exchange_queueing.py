"""Requests that queue at their pool: their turn, what they hear that have none, and what the record says."""

import pytest
from playbook import Play, endpoint, error, header, pairs, serving, to, until

from headgate.exchange.events import Abort, Forward, Respond, Wait
from headgate.flow.discipline import Discipline, Rule
from headgate.plan.plan import Model

POOL = {"models": {"urgent": Model("urgent", 1), "cheap": Model("cheap", -1)}, "objectives": {"batch": -5}}


def pool(**more):
    return serving("m", "urgent", "cheap", endpoints=1, **POOL, **more)


def full(discipline: Discipline | None = None, **more) -> tuple[Play, Play]:
    """A request that runs at the only endpoint, and the next one."""
    play = Play(to("llama"), llama=pool(**more))
    play.queue("llama", discipline)
    play.exchange.record.id = "first"
    sent = play.ask(model="m")
    play.ledger.take(endpoint(sent))
    return play, play.beside()


def over(play: Play) -> None:
    """The one that runs has ended."""
    play.ledger.give("ns/llama-0")
    play.views["llama"].control.moved()


def turn(play: Play):
    """The ticket whose turn it is."""
    return play.views["llama"].control.next(play.now)


def dropped(command: Respond, status: int, reason: str) -> dict:
    assert header(command, "x-llm-d-request-dropped-reason") == reason
    assert int(header(command, "retry-after") or 0) >= 1
    return error(command, status)


def test_who_fits_goes_at_once():
    play, _ = full()
    assert play.record.stay.outcome == "dispatched"
    assert (play.record.stay.flow, play.record.stay.waited_s) == ("default-flow", 0.0)
    assert not play.record.waited


def test_who_does_not_stands_in_the_queue_until_it_is_his_turn():
    first, second = full()
    wait = second.ask(model="m")
    assert isinstance(wait, Wait)
    assert (wait.pool, until(wait)) == ("llama", float("inf"))
    over(first)
    second.after(2.0)
    assert turn(second) is wait.ticket
    assert endpoint(second.wakes()) == "ns/llama-0"
    assert second.record.stay.waited_s == 2.0
    assert second.answers_whole(b"{}").status == 200


def test_who_is_woken_before_it_is_his_turn_stands_where_he_stood():
    _, second = full()
    wait = second.ask(model="m")
    assert second.wakes() == wait
    assert second.views["llama"].control.queued == 1


def test_priorities_are_those_of_models_and_objectives():
    first, cheap = full()
    urgent, batch = first.beside(), first.beside()
    batch.ask(model="urgent", headers={"x-llm-d-inference-objective": "batch"})
    cheap.ask(model="cheap")
    usual = first.beside()
    usual.ask(model="m")
    urgent.ask(model="urgent")
    over(first)
    order = [turn(first).priority for _ in range(1)]
    for play in (usual, cheap, batch):
        first.views["llama"].control.moved()
        order.append(turn(play).priority)
    assert order == [1, 0, -1, -5]


def test_a_queue_that_is_full_refuses_with_the_published_reason():
    first, second = full(Discipline(default=Rule(max_requests=1)))
    second.ask(model="m")
    refusal = first.beside().ask(model="m")
    told = dropped(refusal, 429, "rejected-saturated")
    assert (told["type"], told["code"]) == ("rate_limit_error", "saturated")
    assert "queue for requests of priority 0 is full" in told["message"]


def test_what_may_be_shed_queues_too():
    _, second = full()
    assert isinstance(second.ask(model="cheap"), Wait)


def test_who_has_waited_for_too_long_is_told_so():
    _, second = full(Discipline(ttl_s=5.0))
    wait = second.ask(model="m")
    second.after(5.0)
    assert second.views["llama"].control.expire(second.now) == [wait.ticket]
    told = dropped(second.wakes(), 429, "rejected-ttl-expired")
    assert "has waited for 5 s" in told["message"]
    assert second.record.refused == "ttl_expired"
    assert second.record.stay.outcome == "rejected-ttl-expired"


@pytest.mark.parametrize(("ttl", "seconds"), [("2.5", 2.5), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0)])
def test_a_client_says_how_long_it_would_wait(ttl, seconds):
    _, second = full(Discipline(ttl_s=0.0))
    wait = second.ask(model="m", headers={"x-llm-d-inference-ttl": ttl})
    assert wait.ticket.expires == pytest.approx(second.now + seconds)


def test_a_client_can_not_wait_for_longer_than_others():
    _, second = full(Discipline(ttl_s=5.0))
    assert second.ask(model="m", headers={"x-llm-d-inference-ttl": "1h"}).ticket.expires == second.now + 5.0


def test_who_would_not_wait_is_refused_at_once():
    _, second = full()
    dropped(second.ask(model="m", headers={"x-llm-d-inference-ttl": "0"}), 429, "rejected-ttl-expired")


@pytest.mark.parametrize("ttl", ["soon", "-1", "1e9s", "5 s", "1m30"])
def test_a_time_that_is_none_is_said_to_be_none(ttl):
    _, second = full()
    told = error(second.ask(model="m", headers={"x-llm-d-inference-ttl": ttl}), 400)
    assert f"`{ttl}` is no time: write seconds such as 2.5, or a duration such as 1m30s" in told["message"]
    assert told["param"] == "x-llm-d-inference-ttl"


def test_a_time_that_is_none_is_nobody_s_business_where_nothing_queues():
    play = Play(to("llama"), llama=pool())
    assert isinstance(play.ask(model="m", headers={"x-llm-d-inference-ttl": "soon"}), Forward)


@pytest.mark.parametrize(
    ("headers", "flow"),
    [
        ({}, "default-flow"),
        ({"x-llm-d-inference-fairness-id": "alice"}, "alice"),
        ({"x-gateway-inference-fairness-id": "old"}, "old"),
        ({"x-gateway-inference-fairness-id": "old", "x-llm-d-inference-fairness-id": "new"}, "new"),
        ({"x-llm-d-inference-fairness-id": "x" * 200}, "x" * 128),
    ],
)
def test_a_client_says_whose_flow_it_is(headers, flow):
    _, second = full()
    assert second.ask(model="m", headers=headers).ticket.flow == flow


@pytest.mark.parametrize(
    ("headers", "ttft_s"),
    [
        ({"x-llm-d-slo-ttft-ms": "250"}, 0.25),
        ({"x-slo-ttft-ms": "250"}, 0.25),
        ({"x-slo-ttft-ms": "9", "x-llm-d-slo-ttft-ms": " 250 "}, 0.25),
        ({"x-llm-d-slo-ttft-ms": "fast"}, None),
        ({"x-llm-d-slo-ttft-ms": "-5"}, None),
        ({"x-llm-d-slo-ttft-ms": "9" * 40}, None),
    ],
)
def test_an_objective_that_is_no_number_is_none(headers, ttft_s):
    _, second = full()
    assert second.ask(model="m", headers=headers).ticket.ttft_s == ttft_s


def test_servers_do_not_see_what_is_said_of_queueing():
    play = Play(to("llama"), llama=pool())
    play.queue("llama")
    names = (
        "x-llm-d-inference-fairness-id",
        "x-gateway-inference-fairness-id",
        "x-llm-d-slo-ttft-ms",
        "x-slo-ttft-ms",
        "x-llm-d-inference-ttl",
    )
    sent = play.ask(model="m", headers=dict.fromkeys(names, "5"))
    assert isinstance(sent, Forward)
    assert not any(name.encode() in sent.head for name in names)


def test_who_leaves_is_not_waited_for():
    first, second = full()
    second.ask(model="m")
    assert isinstance(second.leaves(), Abort)
    assert second.record.stay.outcome == "rejected-context-cancelled"
    over(first)
    assert turn(first) is None


def test_a_request_whose_time_is_over_in_the_queue_gets_504():
    _, second = full(timeout_s=10.0)
    wait = second.ask(model="m")
    assert until(wait) == second.now + 10.0
    second.after(10.0)
    assert "stood in the queue of the pool llama" in error(second.wakes(), 504)["message"]
    assert second.views["llama"].control.queued == 0


def test_a_pool_that_is_gone_tells_who_stood_in_its_queue():
    _, second = full()
    second.ask(model="m")
    control = second.views.pop("llama").control
    error(second.wakes(), 503)
    assert control.queued == 0


def test_where_nothing_queues_any_more_who_waited_goes():
    _, second = full()
    second.ask(model="m")
    view = second.views["llama"]
    view.control.disband(second.now)
    view.control = None
    assert isinstance(second.wakes(), Forward)


def test_a_pool_without_endpoints_is_waited_for_and_then_it_is_503():
    play = Play(to("llama"), llama=serving(endpoints=0))
    control = play.queue("llama", Discipline(ttl_s=1.0, no_endpoint_ttl_s=30.0))
    assert isinstance(play.ask(model="m"), Wait)
    assert control.expire(play.after(29.0).now) == []
    control.expire(play.after(1.0).now)
    told = dropped(play.wakes(), 503, "rejected-no-endpoints")
    assert told["code"] == "no_endpoint"


def test_a_model_that_nobody_has_now_is_waited_for_outside_of_the_queue():
    """It must not stand before others that could go."""
    play = Play(to("llama"), llama=serving("m", endpoints=1, declared=("adapter",)))
    control = play.queue("llama")
    wait = play.ask(model="adapter")
    assert isinstance(wait, Wait)
    assert wait.ticket is None
    assert control.queued == 0


def test_who_was_sent_once_is_sent_again_without_another_turn():
    play, other = full()
    other.ask(model="m")
    waits = play.fails("reset")  # there is no other endpoint: it tries this one again in a moment
    assert isinstance(waits, Wait)
    assert waits.ticket is None
    assert endpoint(play.after(1.0).wakes()) == "ns/llama-0"
    assert play.views["llama"].control.queued == 1


def test_what_is_evicted_hears_why():
    play = Play(to("llama"), llama=pool())
    control = play.queue("llama", Discipline(evicts=True))
    play.ledger.take(endpoint(play.ask(model="cheap")))
    other = play.beside()
    other.ask(model="urgent")
    (victim,) = control.victims(play.now)
    assert victim.priority == -1
    told = dropped(play.is_evicted(), 429, "evicted")
    assert "give way to one of a higher priority" in told["message"]
    assert play.record.stay.outcome == "evicted"


def test_nobody_is_evicted_whose_answer_has_begun():
    play = Play(to("llama"), llama=pool())
    control = play.queue("llama", Discipline(evicts=True))
    play.ledger.take(endpoint(play.ask(model="cheap")))
    play.answers(200)
    play.beside().ask(model="urgent")
    assert control.victims(play.now) == []


@pytest.mark.parametrize(
    ("discipline", "reason"),
    [(Discipline(max_requests=1), "evicted-priority"), (None, "evicted-queue-pressure")],
)
def test_who_is_put_out_of_the_queue_hears_why(discipline, reason):
    _, second = full(discipline)
    wait = second.ask(model="cheap")
    control = second.views["llama"].control
    if discipline is None:
        second.beside().ask(model="urgent")
        control.configure(Discipline(max_requests=1), second.now)
    else:
        second.beside().ask(model="urgent")
    assert control.decided == [wait.ticket]
    dropped(second.wakes(), 429, reason)


def test_at_the_end_who_waits_is_sent_elsewhere():
    _, second = full()
    second.ask(model="m")
    second.views["llama"].control.close(second.now)
    told = dropped(second.wakes(), 503, "rejected-shutting-down")
    assert told["code"] == "shutting_down"


def test_a_refusal_has_the_request_s_id():
    first, second = full(Discipline(default=Rule(max_requests=0)))
    assert (b"x-request-id", b"id-1") in pairs(second.ask(model="m"))
    assert first.record.status == 0
