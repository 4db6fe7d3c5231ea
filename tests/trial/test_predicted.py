"""Predictions held against simulated servers, which know nothing of the model."""

from random import Random
from statistics import median

import pytest
from msgspec.structs import replace

from headgate.fleet.latency import Latency, sure
from headgate.pick.choose import choose
from headgate.pick.published import PROFILES
from headgate.trial import run
from headgate.trial.cards import SERVERS
from headgate.trial.policies import Sent
from headgate.trial.workload import WORKLOADS

PREDICTED = PROFILES["predicted-latency"]


class Rehearsed:
    """One after the other, with what was learned before. Relative errors, in the order in which requests came."""

    def __init__(self) -> None:
        self.latency = Latency()
        self.ttft: list[float] = []
        self.tpot: list[float] = []

    def run(self, name, rate, seconds, *, seed=1, slower=1.0):
        workload = WORKLOADS[name]
        asked = workload.make(((rate, seconds),), Random(seed).random)
        told = []

        def policy(ask, standing, dice, now):
            standing.latency = self.latency
            decision = choose(ask, standing, PREDICTED, dice)
            forecast, place = decision.forecast, decision.candidates.index(decision.endpoint)
            assert min(forecast.ttft) >= 0.0
            assert min(forecast.tpot, default=0.0) >= 0.0
            told.append((forecast.ttft[place], forecast.tpot[place] if forecast.tpot else None))
            return Sent(decision)

        config = SERVERS[workload.card]
        config = replace(config, cost=config.cost.at_speed(1 / slower))
        outcomes = run(asked, policy, config, workload.endpoints, Random(seed + 1).random)
        by_time = {one.at: one for one in outcomes}
        assert len(by_time) == len(asked) == len(told)
        self.ttft, self.tpot = [], []
        for request, (first, further) in zip(asked, told, strict=True):
            outcome = by_time[request.at]
            self.ttft.append(abs(first - outcome.ttft) / outcome.ttft)
            if further is not None and request.output > 8:
                self.tpot.append(abs(further - outcome.tpot) / outcome.tpot)
        return self


@pytest.mark.parametrize(
    ("workload", "rate", "ttft", "tpot"),
    [("chat", 60, 0.20, 0.15), ("multi-lora", 150, 0.30, 0.20), ("one-prefix", 12, 0.35, 0.25)],
)
def test_after_200_requests_half_of_all_predictions_are_off_by_little(workload, rate, ttft, tpot):
    found = Rehearsed().run(workload, rate, 1200 / rate)
    assert median(found.ttft[200:]) < ttft
    assert median(found.tpot[200:]) < tpot
    assert sure(found.latency.ttft)
    assert sure(found.latency.tpot)
    assert (found.latency.ahead, found.latency.bounds) == ({}, {})


def test_it_follows_servers_that_have_become_half_as_fast():
    rehearsed = Rehearsed().run("chat", 60, 15)
    usual = median(rehearsed.ttft[200:])
    rehearsed.run("chat", 60, 15, seed=2, slower=2.0)
    assert median(rehearsed.ttft[:20]) > 2 * usual
    assert median(rehearsed.ttft[400:]) < 2 * usual
    assert median(rehearsed.tpot[400:]) < 0.25
    assert sure(rehearsed.latency.ttft)
