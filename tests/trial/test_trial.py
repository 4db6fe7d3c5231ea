"""Rehearsals: requests are conserved, chance is that of the seed, and the figures are what their names say."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headgate.api import Text, load
from headgate.cli import names
from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.prefix import ladder
from headgate.pick.configure import configure
from headgate.pick.filters import Sieve
from headgate.pick.profile import Profile
from headgate.pick.published import PROFILES
from headgate.sim.cost import Cost
from headgate.sim.engine import Config
from headgate.trial.cards import ACCELERATORS, SERVERS, Accelerator, Model, server
from headgate.trial.chance import arrivals
from headgate.trial.outcome import Outcome
from headgate.trial.policies import POLICIES, Make, by_picking, by_profile
from headgate.trial.report import report, spread
from headgate.trial.request import Request
from headgate.trial.run import Stuck, _Run, run
from headgate.trial.workload import WORKLOADS

SMALL = Config(
    num_blocks=600, max_num_seqs=8, max_loras=2, max_cpu_loras=4, cost=Cost(0.01, 0.0001, 0.0001, 1e-7, 0.02, 0.2)
)

requests = st.lists(
    st.builds(
        Request,
        at=st.floats(0, 20),
        prompt=st.integers(1, 2000),
        output=st.integers(1, 30),
        group=st.integers(0, 3),
        number=st.integers(0, 3),
        adapter=st.sampled_from(["", "", "a", "b", "c"]),
    ),
    min_size=1,
    max_size=25,
).map(lambda found: sorted((replace(one, shared=one.group * 400) for one in found), key=lambda one: one.at))


@settings(max_examples=60, deadline=None)
@given(requests, st.sampled_from(sorted(POLICIES)), st.integers(1, 4), st.integers(0, 99))
def test_every_request_ends_once_and_the_same_seed_gives_the_same(asked, policy, endpoints, seed):
    def rehearsed() -> list[Outcome]:
        return run(asked, POLICIES[policy](), SMALL, endpoints, Random(seed).random)

    outcomes = rehearsed()
    assert outcomes == rehearsed()
    told = [(one.at, one.prompt, one.output) for one in outcomes]
    assert sorted(told) == sorted((one.at, one.prompt, one.output) for one in asked)
    assert all(first.ended <= second.ended for first, second in pairwise(outcomes))
    for one in outcomes:
        assert one.ttft > 0
        assert one.ended >= one.at + one.ttft
        assert one.ended == pytest.approx(one.at + one.ttft + one.tpot * (one.output - 1))
        assert 0 <= one.cached < one.prompt
        assert 0 <= one.endpoint < endpoints


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(2, 4), st.data(), st.integers(0, 99))
def test_where_prompts_are_computed_elsewhere_nothing_is_lost_or_left_behind(asked, endpoints, data, seed):
    prefill = data.draw(st.integers(1, endpoints - 1))
    rehearsal = _Run(
        asked, POLICIES["disaggregated"](), SMALL, endpoints, Random(seed).random, lambda done: None, prefill=prefill
    )
    outcomes = rehearsal.all()
    told = [(one.at, one.prompt, one.output) for one in outcomes]
    assert sorted(told) == sorted((one.at, one.prompt, one.output) for one in asked)
    for one in outcomes:
        assert one.endpoint >= prefill  # only prompts go there
        assert 0 <= one.pulled <= one.prompt
        assert one.pulled == 0 or one.prompt >= 512
        assert one.ended == pytest.approx(one.at + one.ttft + one.tpot * (one.output - 1))
        assert 0 <= one.longest_itl <= one.ended - one.at
    fleet = rehearsal._fleet
    assert fleet.ledger.total() == 0
    assert [engine.blocks.usage for engine in fleet.engines] == [0.0] * endpoints
    assert not rehearsal._split


def test_long_prompts_that_are_computed_elsewhere_hold_up_nobodys_next_token():
    asked = [Request(at * 0.1, 50, 100, at) for at in range(100)]
    asked += [Request(1.0 + at, 4000, 5, 1000 + at) for at in range(8)]
    asked.sort(key=lambda one: one.at)
    wide = replace(SMALL, num_blocks=4000, max_num_seqs=64, max_num_batched_tokens=8192)

    def rehearsed(policy: str) -> tuple[list[Outcome], list[Outcome]]:
        outcomes = run(asked, POLICIES[policy](), wide, 4, Random(1).random, prefill=1)
        return [one for one in outcomes if one.prompt == 50], [one for one in outcomes if one.prompt == 4000]

    short, long = rehearsed("default")
    apart, far = rehearsed("disaggregated")
    assert max(one.longest_itl for one in short) > 0.4  # a step of 4,000 tokens
    assert max(one.longest_itl for one in apart) < 0.1
    assert {one.pulled for one in long} == {0}
    assert {one.pulled for one in far} == {4000}
    moved = 4000 * wide.cost.transfer
    assert min(one.ttft for one in far) > 0.4 + moved
    found = report("disaggregated", apart + far, 4, 1.0, 0.05)
    assert found.pulled == pytest.approx(32_000 / 37_000)
    assert found.longest_itl.p99 < 0.1


@given(requests)
def test_requests_are_equal_for_the_gateway_as_far_as_they_are_for_the_server(asked):
    for one, other in pairwise(asked):
        keys, others = one.keys(16), other.keys(16)
        equal = next((at for at, pair in enumerate(zip(keys, others, strict=False)) if pair[0] != pair[1]), None)
        rungs = set(one.rungs()) & set(other.rungs())
        if equal is not None:
            longest = max((length for length, _ in rungs), default=0)
            # A rung may lie within the block that is the first to differ.
            assert longest < (equal + 1) * 16 * BYTES_PER_TOKEN


def test_a_prompt_has_the_rungs_of_a_text_of_its_length():
    for prompt in (10, 64, 500, 7200):
        expected = ladder("m", bytes(prompt * BYTES_PER_TOKEN))
        found = Request(0.0, prompt, 1, group=5).rungs()
        assert [length for length, _ in found] == [length for length, _ in expected]


def test_arrivals_come_at_their_rates():
    found = list(arrivals(((10, 100), (50, 100)), Random(1).random))
    assert found == sorted(found)
    assert 900 < sum(at < 100 for at in found) < 1100
    assert 4700 < sum(at >= 100 for at in found) < 5300
    assert found[-1] < 200


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_that_of_its_seed_and_fits_its_servers(name):
    workload = WORKLOADS[name]
    made = workload.make(((5, 20),), Random(3).random)
    assert made == workload.make(((5, 20),), Random(3).random)
    assert made != workload.make(((5, 20),), Random(4).random)
    assert all(one.at <= other.at for one, other in pairwise(made))
    for other in (workload.at_rate(30), workload.lasting(7), workload.at_rate(30).lasting(7)):
        expected = 30 if other.stages[0][0] != workload.stages[0][0] else workload.rate
        assert other.rate == pytest.approx(expected)
    assert workload.lasting(7).seconds == pytest.approx(7)
    config = SERVERS[workload.card]
    assert all(one.prompt + one.output <= config.num_blocks * config.block_size for one in made)


def test_the_command_line_knows_all_names():
    assert tuple(WORKLOADS) == names.WORKLOADS
    assert tuple(POLICIES) == names.POLICIES
    assert tuple(SERVERS) == names.SERVERS
    assert tuple(PROFILES) == names.PROFILES
    assert set(ACCELERATORS) == set(SERVERS)
    assert {name for name, _ in ACCELERATORS.values()} == set(names.ACCELERATORS)


def test_the_rate_of_what_has_a_shape_is_its_mean():
    bursts = WORKLOADS["bursts"]
    made = bursts.at_rate(50).make(bursts.at_rate(50).stages, Random(1).random)
    assert len(made) == pytest.approx(50 * bursts.seconds, rel=0.05)
    calm, burst = (sum(began <= one.at < began + 5 for one in made) for began in (5, 15))
    assert burst > 4 * calm


def test_turns_of_a_conversation_grow_and_their_answers_are_found_again():
    workload = WORKLOADS["multi-turn"]
    made = workload.make(((10, 60),), Random(2).random)
    assert len(made) == pytest.approx(600, rel=0.15)
    assert sum(one.at < 20 for one in made) == pytest.approx(200, rel=0.25)  # from the beginning on
    by_number: dict[int, list[Request]] = {}
    for one in made:
        by_number.setdefault(one.number, []).append(one)
    followed = [(one, other) for some in by_number.values() for one, other in pairwise(some)]
    assert len(followed) > 200
    for one, other in followed:
        assert other.prompt > one.prompt + one.output
        keys = one.keys(16)
        assert len(keys) == (one.prompt + one.output) // 16
        assert other.keys(16)[: len(keys)] == keys
    one, other = followed[0]
    asked = [replace(one, at=0.0), replace(other, at=1000.0)]
    outcomes = run(asked, POLICIES["default"](), SERVERS[workload.card], 1, Random(1).random)
    assert outcomes[1].cached == (one.prompt + one.output - 1) // 16 * 16


def test_criticality_is_a_mix_with_one_greedy_tenant():
    made = WORKLOADS["criticality"].make(((100, 60),), Random(1).random)
    share = {priority: sum(one.priority == priority for one in made) / len(made) for priority in (1, 0, -1)}
    assert share == {1: pytest.approx(0.2, abs=0.03), 0: pytest.approx(0.5, abs=0.03), -1: pytest.approx(0.3, abs=0.03)}
    assert sum(one.flow == "tenant-0" for one in made) == pytest.approx(len(made) / 2, rel=0.1)


def test_priorities_and_those_who_ask_are_told_apart():
    def one(priority: int, flow: str, ttft: float) -> Outcome:
        return Outcome(0.0, 0, ttft, 0.01, 2.0, 100, 10, 0, 0, priority, flow)

    outcomes = [one(1, "a", 0.5), one(1, "a", 0.7), one(0, "b", 0.5), one(0, "b", 5.0), one(-1, "c", 9.0)]
    found = report("any", outcomes, 1, ttft_s=1.0, tpot_s=0.05)
    assert [(some.priority, some.requests, some.shed, some.kept) for some in found.priorities] == [
        (1, 2, 0, 1.0),
        (0, 2, 0, 0.5),
        (-1, 1, 0, 0.0),
    ]
    assert found.priorities[0].ttft.mean == pytest.approx(0.6)
    assert found.fairness == pytest.approx((1 + 0.5) ** 2 / (3 * (1 + 0.25)))
    assert report("any", outcomes[:2], 1, 1.0, 1.0).priorities == ()


def test_a_server_is_reckoned_from_its_data_sheet():
    found = server(
        Accelerator(bandwidth=1e12, flops=1e14, memory=40e9, network=1e9, count=2),
        Model(parameters=8e9, kv_bytes=100_000),
    )
    assert found.cost.base == pytest.approx(16e9 / 2e12)
    assert found.cost.prefill == pytest.approx(16e9 / 1e14)
    assert found.cost.kv == pytest.approx(1e5 / 2e12)
    assert found.num_blocks == int((72e9 - 16e9 - 4e9) / 1e5 / 16)


def test_affinity_finds_what_round_robin_does_not():
    asked = [Request(at * 0.05, 800, 5, group=at % 25, number=at, shared=700) for at in range(300)]
    hits = {}
    for name in ("round-robin", "inference-extension-default", "default"):
        outcomes = run(asked, POLICIES[name](), SMALL, 4, Random(1).random)
        hits[name] = report(name, outcomes, 4, 1.0, 1.0).hit_rate
    assert hits["default"] > hits["round-robin"] + 0.2
    assert hits["inference-extension-default"] > hits["round-robin"] + 0.2


def test_who_has_to_wait_is_served_when_there_is_room():
    text = """apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: utilization-filter
  parameters: {conditions: [{metric: active-requests, maxValue: 1}]}
"""
    snapshot, _ = load([Text("in.yaml", text)])
    limited = by_profile(configure(snapshot.picker_configs[0].picking))
    asked = [Request(at * 0.001, 50, 10, group=at) for at in range(20)]
    outcomes = run(asked, limited(), SMALL, 2, Random(1).random)
    assert len(outcomes) == 20
    ends = [(one.at + one.ttft - 0.02, one.ended) for one in outcomes]
    assert max(sum(began <= at < ended for began, ended in ends) for at, _ in ends) <= 4  # two each
    closed = by_profile(Profile("closed", (), sieves=(Sieve("nobody", lambda *_: False),)))
    with pytest.raises(Stuck, match="nobody serve 20 of 20"):
        run(asked, closed(), SMALL, 2, Random(1).random)


def picking(*plugins: str) -> Make:
    listed = "".join(f"- {{type: {one}}}\n" for one in plugins)
    text = f"apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n{listed}"
    snapshot, _ = load([Text("in.yaml", text)])
    return by_picking(snapshot.picker_configs[0].picking)


def test_tokens_in_flight_are_counted_as_in_life():
    # Each second one is long: who has a long one gets no other while others have fewer tokens.
    asked = [Request(at * 0.001, 400 if at % 2 else 20, 30, group=at) for at in range(40)]

    def prompts(make: Make) -> list[int]:
        outcomes = run(asked, make(), SMALL, 4, Random(1).random)
        return sorted(sum(one.prompt for one in outcomes if one.endpoint == place) for place in range(4))

    assert prompts(POLICIES["round-robin"]) == [200, 200, 4000, 4000]
    for producer in ((), ("inflight-load-producer, parameters: {addEstimatedOutputTokens: true}",)):
        by_tokens = prompts(picking("token-load-scorer", *producer))
        assert by_tokens[-1] - by_tokens[0] <= 800


def test_what_a_policy_remembers_it_forgets_between_two_runs():
    asked = [Request(at * 0.001, 400, 3, group=at) for at in range(9)]
    make = picking("no-hit-lru-scorer")
    runs = [[one.endpoint for one in run(asked, make(), SMALL, 4, lambda: 0.0)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert sorted(runs[0]) == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_adapters_stay_where_they_are():
    asked = [Request(at * 0.02, 50, 10, group=at, adapter=f"a{at % 6}") for at in range(300)]
    means = {}
    for name in ("least-request", "default"):
        outcomes = run(asked, POLICIES[name](), SMALL, 4, Random(1).random)
        means[name] = report(name, outcomes, 4, 1.0, 1.0).ttft.mean
    assert means["default"] < means["least-request"] / 2


def test_a_report_counts_what_kept_its_bounds():
    outcomes = [
        Outcome(0.0, 0, ttft=0.5, tpot=0.01, ended=2.0, prompt=100, output=10, cached=50, preemptions=0),
        Outcome(1.0, 1, ttft=1.5, tpot=0.01, ended=3.0, prompt=100, output=20, cached=0, preemptions=2),
        Outcome(1.0, 1, ttft=0.5, tpot=0.09, ended=4.0, prompt=200, output=10, cached=0, preemptions=0),
    ]
    found = report("any", outcomes, 2, ttft_s=1.0, tpot_s=0.05)
    assert (found.requests, found.lasted, found.output_tokens_per_s) == (3, 4.0, 10.0)
    assert (found.hit_rate, found.kept, found.goodput) == (0.125, 1 / 3, 0.25)
    assert (found.preemptions, found.busiest) == (2, 4 / 3)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_percentiles_are_values_that_were_seen(values):
    found = spread(values)
    ordered = sorted(values)
    for share, value in ((0.5, found.p50), (0.9, found.p90), (0.99, found.p99)):
        assert value in ordered
        assert sum(one <= value for one in ordered) >= share * len(ordered) - 1e-9
    assert spread(list(range(1, 101))) == (spread(list(range(100, 0, -1))))
    hundred = spread([float(n) for n in range(1, 101)])
    assert (hundred.p50, hundred.p90, hundred.p99) == (50.0, 90.0, 99.0)


def test_a_prompt_that_is_warm_is_in_every_cache():
    asked = [Request(float(place), 320, 4, group=place % 2, shared=320) for place in range(8)]
    config = Config(num_blocks=256)

    def cached(warm):
        outcomes = run(asked, POLICIES["round-robin"](), config, 4, Random(1).random, warm=warm)
        return sum(one.cached for one in outcomes)

    assert cached(asked[:2]) == 8 * 304  # the last block is computed in any case
    assert cached(asked[:1]) == cached(()) + 2 * 304 < cached(asked[:2])
