"""`headgate bench find-capacity`: what is found did itself, and a little more did not."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bench_verb import bench

from headgate.pick.filters import Sieve
from headgate.pick.profile import Profile
from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.trial.capacity import Goal, fewest, highest, meets
from headgate.trial.chance import arrivals
from headgate.trial.policies import POLICIES, by_profile
from headgate.trial.request import Request

# A step takes 20 ms for each of at most four sequences: an answer of 10 tokens takes 0.2 s.
SIMPLE = Config(num_blocks=400, max_num_seqs=4, cost=Cost(0.02, 0.0, 0.0, 0.0))


@given(st.floats(0.01, 1000), st.floats(0.1, 100))
def test_the_highest_rate_is_found_to_within_a_share(limit, start):
    asked: list[float] = []

    def does(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = highest(does, start)
    if found is None:
        assert limit < start / 2000
    elif found < start * 2000:
        assert found <= limit < found * 1.0301
    assert len(asked) == len(set(asked)) <= 20


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 256))
def test_the_fewest_are_found_exactly(limit, start, most):
    asked: list[int] = []

    def does(count: int) -> bool:
        asked.append(count)
        return count >= limit

    assert fewest(does, start, most) == (limit if limit <= most else None)
    assert len(asked) == len(set(asked)) <= 20


def requests(rate: float, seconds: float = 20.0) -> list[Request]:
    return [Request(at, 20, 10, place) for place, at in enumerate(arrivals(((rate, seconds),), Random(1).random))]


@pytest.mark.parametrize(("policy", "share"), [("default", 0.99), ("random", 0.9), ("disaggregated", 0.9)])
def test_more_servers_do_for_higher_rates(policy, share):
    goal = Goal(0.25, 0.03, share)

    def rate(endpoints: int) -> float:
        def does(rate: float) -> bool:
            return meets(requests(rate), POLICIES[policy], SIMPLE, endpoints, Random(2).random, goal)

        found = highest(does, 10.0)
        assert found is not None
        assert does(found)
        assert not does(found * 1.2)
        return found

    rates = [rate(count) for count in (1, 2, 4)]
    assert rates[0] < rates[1] < rates[2]
    assert rates[0] < 20 * 1.1  # four at a time, 0.2 s each
    strict = Goal(0.25, 0.03, 0.9999)
    assert not meets(requests(rates[2] * 1.2), POLICIES[policy], SIMPLE, 4, Random(2).random, strict)


def test_what_nobody_serves_keeps_nothing():
    closed = by_profile(Profile("closed", (), sieves=(Sieve("nobody", lambda *_: False),)))
    assert not meets(requests(1.0), closed, SIMPLE, 2, Random(1).random, Goal(9, 9, 0.01))


def test_it_is_told_as_a_table_and_as_json():
    words = ("find-capacity", "chat", "--seconds", "4", "--policies", "round-robin,default")
    done = bench(*words, "--endpoints", "2", "--price", "2")
    assert (done.returncode, done.stderr) == (0, "")
    head, columns, *rows = done.stdout.splitlines()
    assert head.startswith("chat: 0.95 of the requests within 0.5 s to the first token and 50 ms for each further one")
    assert columns.split() == ["policy", "requests/s", "by", "2", "per", "M", "tokens"]
    assert [row.split()[0] for row in rows[:2]] == ["round-robin", "default"]
    told = json.loads(bench(*words, "--rate", "60", "-o", "json").stdout)["chat"]
    assert told["workload"]["share"] == 0.95
    assert [one["rate"] for one in told["policies"]] == [None, None]
    assert all(1 <= one["endpoints"] <= 8 for one in told["policies"])
    again = json.loads(bench(*words, "--rate", "60", "-o", "json").stdout)["chat"]
    assert again == told


def test_what_can_not_be_searched_is_said():
    for words, status, said in (
        (("find-capacity",), 1, "say of which workloads, or of a --trace"),
        (("chat", "find-capacity"), 2, "find-capacity stands before the workloads"),
        (("find-capacity", "chat", "--share", "1.5"), 2, "is no share"),
    ):
        done = bench(*words)
        assert (done.returncode, done.stdout) == (status, ""), words
        assert said in done.stderr
