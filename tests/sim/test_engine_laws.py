"""What holds for the engine whatever it is asked: conservation, fairness, bounds. Virtual time only."""

from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.sim.cost import Cost
from headgate.sim.engine import Config, Engine
from headgate.sim.sequence import Output, Work

SIZE = 4

configs = st.builds(
    Config,
    block_size=st.just(SIZE),
    num_blocks=st.integers(12, 40),
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(4, 40),
    max_model_len=st.just(48),
    prefix_caching=st.booleans(),
    max_loras=st.integers(1, 3),
    max_cpu_loras=st.integers(1, 4),
    cost=st.just(Cost(base=0.01, transfer=0.002)),
)


@st.composite
def works(
    draw: st.DrawFn, adapters: tuple[str, ...] = ("", "a", "b", "c"), *, apart: bool = True
) -> list[tuple[float, Work]]:
    """Sequences with their arrival times. Some begin with the same prefix, as their keys tell. `apart`: some pull what
    others have computed, or are kept for others.
    """
    asked = []
    for number in range(draw(st.integers(1, 12))):
        prompt, output = draw(st.integers(1, 28)), draw(st.integers(1, 20))
        adapter = draw(st.sampled_from(adapters))
        family, shared = draw(st.integers(0, 2)), draw(st.integers(0, 7))
        blocks = (prompt + output) // SIZE
        keys = tuple(
            hash((adapter, family, place) if place < shared else (adapter, number, place)) or 1
            for place in range(blocks)
        )
        at = draw(st.floats(0, 0.3))
        pulls, keeps = (draw(st.booleans()), draw(st.sampled_from((0.0, 0.0, 0.3)))) if apart else (False, 0.0)
        cached = draw(st.booleans())
        asked.append((at, Work(str(number), prompt, output, keys, adapter, cached, pulls=pulls, keeps=keeps)))
    return sorted(asked, key=lambda entry: entry[0])


def check(engine: Engine, asked: dict[str, Work]) -> None:
    """The invariants that hold between any two steps."""
    config = engine.config
    running = engine.held()
    held = running | engine.held_apart()
    owners = Counter(block for blocks in held.values() for block in blocks)
    holders = engine.blocks.holders()
    assert [owners[block] for block in range(config.num_blocks)] == holders
    assert engine.blocks.free == sum(1 for count in holders if not count)
    assert 0 <= engine.blocks.usage <= 1
    for blocks in held.values():
        assert len(set(blocks)) == len(blocks)
    for block, count in owners.items():
        if count > 1:  # shared: at the same place of sequences with equal prefixes
            places = {(name, blocks.index(block)) for name, blocks in held.items() if block in blocks}
            assert len({place for _, place in places}) == 1
            assert len({asked[name].keys[place] for name, place in places}) == 1
    assert engine.running <= config.max_num_seqs
    assert engine.step_tokens <= config.max_num_batched_tokens
    assert engine.deferred <= engine.waiting
    adapters = {asked[name].adapter for name in running if asked[name].adapter}
    assert len(adapters) <= config.max_loras
    assert len(engine.adapters.resident) <= config.max_loras
    assert engine.counts.prefix_hits <= engine.counts.prefix_queries


def run(engine: Engine, arrivals: list[tuple[float, Work]], gone: dict[str, float] | None = None) -> list[Output]:
    """Everything that comes out until the engine has nothing left to do; `gone`: aborts with their times."""
    asked = {work.id: work for _, work in arrivals}
    happening = [(at, 0, work.id) for at, work in arrivals] + [(at, 1, name) for name, at in (gone or {}).items()]
    happening.sort(key=lambda event: event[:2])  # stable: what comes at one time comes in the order given
    outputs: list[Output] = []
    for _ in range(20000):
        due = engine.next_at
        if happening and (due is None or happening[0][0] <= due):
            at, kind, name = happening.pop(0)
            if kind == 0:
                engine.add(asked[name], at)
            else:
                engine.abort(name)
        elif due is not None:
            outputs += engine.step(due)
            assert engine.next_at is None or engine.next_at > due
        else:
            return outputs
        check(engine, asked)
    raise AssertionError("the engine does not come to an end")


@settings(deadline=None, max_examples=150)
@given(configs, works())
def test_every_request_ends_once_with_all_its_tokens_and_all_blocks_come_back(
    config: Config, arrivals: list[tuple[float, Work]]
) -> None:
    engine = Engine(config)
    outputs = run(engine, arrivals)
    for _, work in arrivals:
        own = [output for output in outputs if output.id == work.id]
        assert [output.tokens for output in own] == list(range(1, work.output + 1))
        assert [output.timeline is not None for output in own] == [False] * (work.output - 1) + [True]
        timeline = own[-1].timeline
        assert timeline is not None
        assert timeline.arrived <= timeline.scheduled < timeline.first_token <= timeline.ended
        assert 0 <= timeline.cached_tokens < work.prompt
        assert timeline.pulled_tokens == (work.prompt - timeline.cached_tokens if work.pulls else 0)
    assert engine.counts.generation_tokens == sum(work.output for _, work in arrivals)
    assert engine.counts.prompt_tokens == sum(work.prompt for _, work in arrivals)
    assert engine.blocks.usage == 0
    assert (engine.running, engine.waiting) == (0, 0)
    assert sorted(engine.transfers.pulled) == sorted(work.id for _, work in arrivals if work.pulls)


@settings(deadline=None)
@given(configs, works(), st.data())
def test_an_abort_at_any_time_leaves_nothing_behind(
    config: Config, arrivals: list[tuple[float, Work]], data: st.DataObject
) -> None:
    names = [work.id for _, work in arrivals]
    gone = {name: data.draw(st.floats(0.0, 1.0)) for name in data.draw(st.sets(st.sampled_from(names)))}
    engine = Engine(config)
    outputs = run(engine, arrivals, gone)
    ended = Counter(output.id for output in outputs if output.timeline is not None)
    assert all(ended[name] == 1 for name in names if name not in gone)
    assert all(count <= 1 for count in ended.values())
    assert engine.blocks.usage == 0


@settings(deadline=None)
@given(works(adapters=("", "a"), apart=False), st.integers(1, 6), st.integers(4, 40))
def test_first_come_first_served_as_long_as_nobody_is_preempted(
    arrivals: list[tuple[float, Work]], seqs: int, budget: int
) -> None:
    config = Config(
        block_size=SIZE,
        num_blocks=400,
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        max_model_len=48,
        cost=Cost(base=0.01),
    )
    engine = Engine(config)
    outputs = run(engine, arrivals)
    assert engine.counts.preemptions == 0
    scheduled = {output.id: output.timeline.scheduled for output in outputs if output.timeline is not None}
    times = [scheduled[work.id] for _, work in arrivals]
    assert times == sorted(times)


@settings(deadline=None)
@given(configs, works())
def test_the_same_requests_at_the_same_times_give_the_same_steps(
    config: Config, arrivals: list[tuple[float, Work]]
) -> None:
    assert run(Engine(config), arrivals) == run(Engine(config), arrivals)


# The first sequence's block is needed for the third's last one, after the third has computed the same content anew.
RECOMPUTED = [
    (0.0, Work("first", 4, 1, (1,))),
    (0.0, Work("filler", 28, 20)),
    (0.0, Work("anew", 10, 20, (1,), cached=False)),
    (0.0, Work("again", 5, 1, (1,))),
]


@settings(deadline=None)
@given(works(adapters=("", "a"), apart=False))
@example(RECOMPUTED)
def test_at_once_keeps_the_same_accounts_as_one_request_after_the_other(arrivals: list[tuple[float, Work]]) -> None:
    config = Config(block_size=SIZE, num_blocks=20, max_model_len=48, max_num_batched_tokens=1000, cost=Cost(base=0.01))
    stepped, instant = Engine(config), Engine(config)
    for number, (_, work) in enumerate(arrivals):
        outputs = run(stepped, [(float(number), work)])
        timeline = outputs[-1].timeline
        assert timeline is not None
        assert instant.at_once(work, 0.0).cached_tokens == timeline.cached_tokens
    assert instant.counts == stepped.counts
    assert instant.blocks.usage == stepped.blocks.usage == 0


def test_content_stays_cached_until_its_last_copy_is_needed_for_something_else() -> None:
    engine = Engine(Config(block_size=SIZE, num_blocks=20, max_model_len=48, cost=Cost(base=0.01)))
    hits = [engine.at_once(work, 0.0).cached_tokens for _, work in RECOMPUTED]
    assert hits == [0, 0, 0, 4]
    stepped = Engine(engine.config)
    for number, (_, work) in enumerate(RECOMPUTED):
        run(stepped, [(float(number), work)])
    assert stepped.counts.prefix_hits == 4
    run(stepped, [(9.0, Work("all", 48, 32))])  # 79 tokens: every block there is
    run(stepped, [(19.0, Work("late", 5, 1, (1,)))])
    assert stepped.counts.prefix_hits == 4


@settings(deadline=None)
@given(configs, works(apart=False))
def test_a_faster_card_does_the_same_sooner(config: Config, arrivals: list[tuple[float, Work]]) -> None:
    at_once = [(0.0, work) for _, work in arrivals]
    slow = Engine(config)
    fast = Engine(
        Config(
            **{name: getattr(config, name) for name in config.__struct_fields__ if name != "cost"},
            cost=config.cost.at_speed(4),
        )
    )
    slow_end = max(output.timeline.ended for output in run(slow, at_once) if output.timeline)
    fast_end = max(output.timeline.ended for output in run(fast, at_once) if output.timeline)
    assert abs(slow_end - 4 * fast_end) < 1e-6
    assert slow.counts == fast.counts
