"""Pools that predict: the times that clients ask for, what is learned from answers, and who is not let in."""

import pytest
from msgspec.structs import replace
from playbook import JSON, STREAM, Play, error, header, read, serving, to

from headgate.api.written.plugins import LatencyAdmission
from headgate.exchange.events import Forward, Relay, Respond
from headgate.fleet.latency import ENOUGH, Foresight, Latency
from headgate.pick.admit import in_time
from headgate.pick.published import PROFILES

USAGE = b'{"usage":{"prompt_tokens":5,"completion_tokens":%d,"total_tokens":9}}'
EVENT = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d,"total_tokens":9}}\n\n'


def predicting(latency=None, **profile):
    """A request to a pool that predicts; each endpoint runs 10 requests."""
    play = Play(to("llama"), llama=serving("m"))
    view = play.views["llama"]
    view.profile = replace(PROFILES["predicted-latency"], **profile)
    for name in ("ns/llama-0", "ns/llama-1"):
        play.load(name, waiting=0, running=10, kv_usage=0.5)
    view.standing.latency = latency or Latency()
    return play, view.standing.latency


def knowing(seconds=0.2):
    """Every first token takes so long."""
    latency = Latency()
    latency.ttft.weights, latency.ttft.observations, latency.ttft.error = (seconds, *(0.0,) * 6), ENOUGH, 0.1
    return latency


def slos(headers, **more):
    play, _ = predicting(**more)
    command = play.ask(model="m", headers=headers)
    assert isinstance(command, Forward), command
    (decision,) = play.record.decisions
    assert decision.forecast is not None
    expected = play.record.expected
    assert expected is not None
    return expected.ttft_slo, expected.tpot_slo, read(command).headers


def test_the_times_that_clients_ask_for_are_heard_and_not_passed_on():
    assert slos({})[:2] == (0.0, 0.0)
    ttft, tpot, sent = slos({"x-llm-d-slo-ttft-ms": "250", "x-llm-d-slo-tpot-ms": "12.5"})
    assert (ttft, tpot) == (0.25, 0.0125)
    assert not [name for name in sent if "slo" in name]
    ttft, tpot, sent = slos({"x-slo-ttft-ms": "250"})
    assert (ttft, tpot) == (0.25, 0.0)
    assert not [name for name in sent if "slo" in name]
    both = {"x-slo-tpot-ms": "99", "x-llm-d-slo-tpot-ms": "30"}
    assert slos(both)[:2] == (0.0, 0.03)


@pytest.mark.parametrize("value", ["", "0", "-5", "fast", "nan", "inf", "1_000", "1 s", "1, 2"])
@pytest.mark.parametrize("name", ["x-llm-d-slo-ttft-ms", "x-slo-tpot-ms"])
def test_what_is_no_time_is_refused(name, value):
    play, _ = predicting()
    told = error(play.ask(model="m", headers={name: value}), 400)
    assert told["message"] == f"The header {name} must be a positive number of milliseconds."
    assert told["param"] == name


def test_other_pools_look_at_no_such_header():
    play = Play(to("llama"), llama=serving("m"))
    assert isinstance(play.ask(model="m", headers={"x-slo-ttft-ms": "fast"}), Forward)
    assert play.record.expected is None
    assert play.record.decisions[0].forecast is None


def test_a_stream_teaches_how_long_its_first_token_and_its_others_took():
    play, latency = predicting()
    play.ask(body={"model": "m", "stream": True, "messages": []})
    (endpoint,) = list(latency.ahead)
    assert endpoint == play.record.endpoint
    play.after(0.4).answers(200, STREAM)
    assert (latency.ttft.observations, latency.tpot.observations) == (1, 0)
    assert latency.ahead == {}
    play.after(2.0).chunk(EVENT % 21)
    play.ends()
    assert (latency.ttft.observations, latency.tpot.observations) == (1, 1)
    expected = play.record.expected
    assert expected.seen_ttft == pytest.approx(0.4)
    assert expected.seen_tpot == pytest.approx(0.1)


def test_a_whole_answer_teaches_what_is_left_when_its_tokens_are_taken_off():
    play, latency = predicting()
    play.ask(model="m")
    play.after(2.0).answers_whole(USAGE % 11)
    assert latency.ttft.observations == 0  # nobody knows yet what a token takes
    latency.tpot.weights, latency.tpot.observations, latency.tpot.error = (0.05, 0.0, 0.0, 0.0), ENOUGH, 0.1
    play, _ = predicting(latency)
    play.ask(model="m")
    play.after(2.0).answers_whole(USAGE % 11)
    assert play.record.expected.seen_ttft == pytest.approx(1.5)
    play, _ = predicting(latency)
    play.ask(model="m")
    play.after(2.0).answers_whole(USAGE % 31)
    assert play.record.expected.seen_ttft == 0.0  # most of it is not the first token's
    assert latency.ttft.observations == 1


def test_without_streams_it_is_the_whole_answer_that_is_predicted():
    play, latency = predicting(foresight=Foresight(whole=True))
    play.ask(model="m")
    play.after(2.0).answers_whole(USAGE % 11)
    assert play.record.expected.seen_ttft == pytest.approx(2.0)
    play, _ = predicting(latency, foresight=Foresight(whole=True))
    play.ask(body={"model": "m", "stream": True, "messages": []})
    play.after(0.4).answers(200, STREAM)
    play.after(2.0).chunk(EVENT % 21)
    play.ends()
    assert play.record.expected.seen_ttft == pytest.approx(2.4)
    assert (latency.ttft.observations, latency.tpot.observations) == (2, 0)


def test_what_fails_teaches_nothing_and_leaves_nothing_behind():
    def ended(end, headers=None):
        play, latency = predicting()
        play.ask(body={"model": "m", "stream": True, "messages": []}, headers=headers or {"x-slo-tpot-ms": "30"})
        assert latency.ahead
        assert latency.bounds
        end(play.after(1.0))
        assert (latency.ahead, latency.bounds) == ({}, {})
        return latency.ttft.observations, latency.tpot.observations

    def cut(play):
        play.answers(200, STREAM)
        play.after(1.0).fails("reset")

    def left(play):
        play.answers(200, STREAM)
        play.leaves()

    assert ended(lambda play: play.answers_whole(b'{"error":{}}', 400)) == (0, 0)
    assert ended(lambda play: play.leaves()) == (0, 0)
    assert ended(cut) == (1, 0)  # its first token did come
    assert ended(left) == (1, 0)


def test_a_second_try_is_what_counts():
    play, latency = predicting()
    play.ask(model="m")
    first = play.record.endpoint
    play.after(5.0).fails("reset")
    assert play.record.endpoint != first
    assert list(latency.ahead) == [play.record.endpoint]
    play.after(0.3).answers(200, STREAM)
    assert play.record.expected.seen_ttft == pytest.approx(0.3)


def test_while_it_waits_for_an_endpoint_nothing_is_in_others_way():
    play, latency = predicting()
    play.ask(model="m")
    play.fails("refused")
    play.fails("refused")
    assert latency.ahead == {}


def test_what_may_be_shed_and_can_not_be_in_time_is_refused():
    admitting = {"admitters": (("latency-slo-admitter", in_time(LatencyAdmission())),)}

    def asked(priority, ttft):
        play, _ = predicting(knowing(0.2), **admitting)
        play.views["llama"].pool = replace(play.views["llama"].pool, objectives={"batch": priority})
        return play.ask(model="m", headers={"x-llm-d-inference-objective": "batch", "x-llm-d-slo-ttft-ms": ttft})

    refused = asked(-1, "150")
    told = error(refused, 429)
    assert told["code"] == "saturated"
    assert "no endpoint is predicted to give the first token within 150 ms" in told["message"].lower()
    assert header(refused, "x-llm-d-request-dropped-reason") == "rejected-saturated"
    assert header(refused, "retry-after") == "1"
    assert isinstance(asked(-1, "250"), Forward)
    assert isinstance(asked(0, "150"), Forward)


def test_a_pool_that_predicts_answers_as_others_do():
    play, _ = predicting(knowing())
    assert isinstance(play.ask(model="m"), Forward)
    assert isinstance(play.answers(200, JSON), Relay)
    play.ends()
    assert not isinstance(play.record.expected, Respond)
    assert play.record.expected.sure
    assert play.record.expected.ttft == pytest.approx(0.2)
