"""The engine's policies, one at a time, on virtual time."""

import pytest

from headgate.sim.adapters import Adapters
from headgate.sim.blocks import Blocks
from headgate.sim.cost import Cost
from headgate.sim.engine import Config, Engine
from headgate.sim.sequence import Output, Work

COST = Cost(base=1.0, prefill=0.1, sequence=0.0, kv=0.0, adapter_copy=0.5, adapter_load=5.0, transfer=0.2)


def engine(**limits: int) -> Engine:
    known = {"block_size": 4, "num_blocks": 64, "max_model_len": 64, "max_num_batched_tokens": 16, **limits}
    return Engine(Config(**known, cost=COST))  # type: ignore[arg-type]


def drain(it: Engine) -> list[Output]:
    outputs = []
    while it.next_at is not None:
        outputs += it.step(it.next_at)
    return outputs


def test_a_long_prompt_is_computed_in_chunks_of_the_budget() -> None:
    it = engine()
    it.add(Work("a", 40, 2), 0.0)
    outputs = drain(it)
    # 16, 16 and 8 tokens at 0.1 s and a second each, then one token of decoding
    assert [output.since for output in outputs] == [pytest.approx(7.0), pytest.approx(1.0)]
    assert it.counts.steps == 4


def pulls(name: str, prompt: int, output: int = 1) -> Work:
    return Work(name, prompt, output, pulls=True)


def test_what_is_pulled_comes_one_after_the_other_beside_the_steps() -> None:
    it = engine(num_blocks=64)
    it.add(Work("runs", 4, 8), 0.0)  # its first step takes 1.4 s, the others 1 s
    it.add(pulls("first", 12, 2), 0.0)
    it.add(pulls("second", 8), 0.0)
    it.add(Work("third", 8, 1), 0.0)
    it.step(1.4)
    assert (it.running, it.waiting, it.deferred) == (2, 2, 2)
    assert len(it.held_apart()["first"]) == 3
    ended = {output.id: output.timeline for output in drain(it) if output.timeline}
    first, second = ended["first"], ended["second"]
    # The pulls begin with the second step, at 1.4, and end at 3.8 and 5.4; steps begin at 3.2, 4.2, 5.3 and 6.3. Of a
    # prompt that came the last token is computed all the same.
    assert first is not None
    assert second is not None
    assert (first.scheduled, first.first_token) == (pytest.approx(4.2), pytest.approx(5.3))
    assert (second.scheduled, second.first_token) == (pytest.approx(6.3), pytest.approx(7.4))
    assert (first.cached_tokens, first.pulled_tokens) == (0, 12)
    assert it.counts.prompt_tokens_pulled == 20
    assert it.blocks.usage == 0


def test_what_is_here_already_is_not_pulled() -> None:
    it = engine()
    it.add(Work("before", 8, 1, (1, 2)), 0.0)
    drain(it)
    it.add(Work("a", 12, 1, (1, 2, 3), pulls=True), 10.0)
    (output,) = drain(it)
    assert output.timeline is not None
    assert (output.timeline.cached_tokens, output.timeline.pulled_tokens) == (8, 4)
    assert output.timeline.first_token == pytest.approx(10.0 + 4 * 0.2 + 1.1)
    it.add(Work("b", 12, 1, (1, 2, 3)), 20.0)  # what was pulled is cached, as far as it is a sequence's full blocks
    (output,) = drain(it)
    assert output.cached_tokens == 8


def test_blocks_are_kept_until_they_are_pulled_or_the_lease_is_over() -> None:
    it = engine(num_blocks=17)
    for name in ("a", "b"):
        it.add(Work(name, 16, 1, keeps=30.0), 0.0)
    while it.running or it.waiting:
        assert it.next_at is not None
        it.step(it.next_at)
    assert it.blocks.usage == pytest.approx(8 / 17)
    kept = it.transfers.kept("a")
    assert kept is not None
    assert (len(kept.blocks), kept.tokens) == (4, 16)
    it.add(pulls("large", 48), 6.0)  # needs 12 blocks, and 9 are free
    assert (it.running, it.waiting, it.transfers.coming) == (0, 1, 0)
    assert it.next_at == pytest.approx(2.6 + 30)  # when the first lease is over
    it.let_go("a", 20.0)
    assert (it.transfers.coming, it.next_at) == (1, pytest.approx(20 + 48 * 0.2))
    drain(it)
    assert it.blocks.usage == 0


def test_decoding_goes_on_beside_the_chunks_of_a_long_prompt() -> None:
    it = engine()
    it.add(Work("short", 4, 5), 0.0)
    it.add(Work("long", 40, 1), 1.0)
    outputs = drain(it)
    assert [output.id for output in outputs] == ["short", "short", "short", "short", "long", "short"]


def test_a_request_that_comes_during_a_step_waits_for_the_next_one() -> None:
    it = engine()
    it.add(Work("a", 4, 3), 0.0)
    it.add(Work("b", 4, 1), 0.2)
    assert (it.running, it.waiting) == (1, 1)
    assert it.step(0.5) == []
    it.step(it.next_at or 0.0)
    assert (it.running, it.waiting) == (2, 0)


def test_a_prefix_seen_before_is_not_computed_again_but_for_its_last_token() -> None:
    it = engine()
    it.add(Work("a", 16, 1, (1, 2, 3, 4)), 0.0)
    drain(it)
    it.add(Work("b", 16, 1, (1, 2, 3, 4)), 10.0)
    outputs = drain(it)
    assert outputs[-1].cached_tokens == 12
    assert it.counts.prefix_queries == 32
    assert it.counts.prefix_hits == 12
    assert outputs[-1].since == pytest.approx(1.4)


def test_another_adapter_has_other_keys_so_it_shares_nothing() -> None:
    from headgate.sim.draft import keys

    content = bytes(range(1, 65))
    plain, tuned = keys(content, 4, ""), keys(content, 4, "food-review")
    assert len(plain) == len(tuned) == 4
    assert not set(plain) & set(tuned)
    assert keys(content[:48] + content[:16], 4, "")[:3] == plain[:3]


def test_when_blocks_run_out_the_one_that_came_last_starts_over_and_all_end() -> None:
    it = engine(num_blocks=16, max_model_len=60, max_num_batched_tokens=64)
    it.add(Work("first", 20, 30), 0.0)
    it.add(Work("second", 20, 30), 0.0)
    outputs = drain(it)
    ends = {output.id: output.timeline for output in outputs if output.timeline}
    assert it.counts.preemptions > 0
    assert ends["first"].preemptions == 0 < ends["second"].preemptions
    assert ends["first"].ended < ends["second"].ended
    assert it.blocks.usage == 0


def test_a_sequence_that_can_never_fit_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        engine(num_blocks=4).add(Work("a", 16, 2), 0.0)


def test_an_adapter_beyond_the_slots_waits_and_lets_others_pass() -> None:
    it = engine(max_loras=1, max_cpu_loras=2)
    it.add(Work("x", 4, 3, (), "x"), 0.0)
    it.add(Work("y", 4, 1, (), "y"), 0.0)
    it.add(Work("base", 4, 1), 0.0)
    it.step(it.next_at or 0.0)
    assert (it.running, it.waiting, it.deferred) == (2, 1, 1)
    assert it.busy_adapters() == ("x", "y")
    order = [output.id for output in drain(it) if output.timeline]
    assert order == ["base", "x", "y"]


def test_an_adapter_costs_time_when_it_is_not_resident() -> None:
    it = engine(max_loras=1, max_cpu_loras=2)

    def seconds(name: str, at: float) -> float:
        it.add(Work("w", 1, 1, (), name), at)
        return drain(it)[-1].since

    assert seconds("x", 0.0) == pytest.approx(1.1 + 5.0)  # read from disk
    assert seconds("x", 100.0) == pytest.approx(1.1)  # in its slot
    assert seconds("y", 200.0) == pytest.approx(1.1 + 5.0)
    assert seconds("x", 300.0) == pytest.approx(1.1 + 0.5)  # the slot was taken, the memory still has it


def test_adapters_leave_memory_least_recently_used_first() -> None:
    places = Adapters(1, 2)
    for name in ("a", "b", "c"):
        places.load(name)
    assert places.use(["c"]) == (1, 0)
    assert places.use(["a"]) == (0, 1)
    places.forget("a")
    assert places.resident == ()


def test_blocks_are_evicted_least_recently_used_first_and_tails_before_heads() -> None:
    pool = Blocks(4)
    taken = pool.take((), 3)
    assert taken is not None
    for key, block in enumerate(taken, 11):
        pool.know(block, key)
    pool.give_back(taken)
    assert pool.find((11, 12, 13), 9) == taken
    pool.take((), 2)  # the block never used, then the tail
    assert pool.find((11, 12, 13), 9) == taken[:2]


def test_blocks_that_are_too_few_are_not_taken_at_all() -> None:
    pool = Blocks(3)
    assert pool.take((), 2) is not None
    assert pool.take((), 2) is None
    assert pool.free == 1


def test_without_prefix_caching_nothing_is_found() -> None:
    pool = Blocks(2, caching=False)
    taken = pool.take((), 1)
    assert taken is not None
    pool.know(taken[0], 5)
    assert pool.find((5,), 1) == []


def test_twice_the_speed_is_half_the_time_and_speed_zero_is_none() -> None:
    assert Cost().at_speed(2).step(100, 3, 5000) == pytest.approx(Cost().step(100, 3, 5000) / 2)
    assert Cost().at_speed(0).step(100, 3, 5000) == 0
