"""Steps that are passed over leave behind what each of them would have."""

from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_laws import SIZE, check, works

from headgate.sim.cost import Cost
from headgate.sim.engine import Config, Engine
from headgate.sim.sequence import Output, Work

COST = Cost(
    base=0.01, prefill=0.0003, sequence=0.00007, kv=0.0000013, adapter_copy=0.003, adapter_load=0.02, transfer=0.002
)

configs = st.builds(
    Config,
    block_size=st.just(SIZE),
    num_blocks=st.integers(12, 60),
    max_num_seqs=st.integers(1, 8),
    max_num_batched_tokens=st.integers(4, 40),
    max_model_len=st.just(48),
    prefix_caching=st.booleans(),
    max_loras=st.integers(1, 3),
    max_cpu_loras=st.integers(1, 4),
    cost=st.just(COST),
)


def state(engine: Engine) -> tuple[object, ...]:
    blocks = engine.blocks
    return (
        engine.next_at,
        engine.step_tokens,
        (engine.running, engine.waiting, engine.deferred),
        engine.busy_adapters(),
        engine.adapters.resident,
        engine.held(),
        engine.held_apart(),
        engine.transfers.pulled,
        blocks.holders(),
        tuple(blocks._free),
        blocks._cached,
        blocks._copies,
        engine.counts,
    )


@settings(deadline=None, max_examples=200)
@given(configs, works(), st.lists(st.floats(0, 1.5), max_size=12), st.data())
def test_what_is_coasted_over_is_as_if_it_had_been_stepped(
    config: Config, arrivals: list[tuple[float, Work]], looks: list[float], data: st.DataObject
) -> None:
    gone = data.draw(st.dictionaries(st.sampled_from([work.id for _, work in arrivals]), st.floats(0, 1), max_size=3))
    asked = {work.id: work for _, work in arrivals}
    happening: list[tuple[float, str, str]] = [
        *((at, "add", work.id) for at, work in arrivals),
        *((at, "abort", name) for name, at in gone.items()),
        *((at, "look", "") for at in looks),
    ]
    happening.sort()
    stepped, coasting = Engine(config), Engine(config)
    told: tuple[list[Output], list[Output]] = ([], [])
    passed = steps = 0
    while True:
        due = coasting.foresee()
        if happening and (due is None or happening[0][0] <= due):
            at, what, name = happening.pop(0)
        elif due is not None:
            at, what, name = due, "step", ""
        else:
            break
        while stepped.next_at is not None and stepped.next_at < at:
            told[0].extend(stepped.step(stepped.next_at))
        before = coasting.counts.steps
        coasting.coast(at)
        passed += coasting.counts.steps - before
        assert state(coasting) == state(stepped)
        check(coasting, asked)
        steps += what == "step" and not coasting._idle  # else a pull has ended, or a lease
        for engine, outputs in ((stepped, told[0]), (coasting, told[1])):
            if what == "add":
                engine.add(asked[name], at)
            elif what == "abort":
                engine.abort(name)
            elif what == "step":
                assert engine.next_at == at  # nothing was missed
                outputs.extend(engine.step(at, all_tokens=engine is stepped))
        assert state(coasting) == state(stepped)
    assert [one for one in told[0] if one.timeline or one.tokens == 1] == told[1]
    assert coasting.counts.steps == passed + steps


def test_a_lone_answer_takes_two_looks() -> None:
    engine = Engine(Config(block_size=SIZE, num_blocks=60, cost=COST))
    engine.add(Work("a", 10, 40), 0.0)
    first = engine.foresee()
    assert first == engine.next_at
    assert first is not None
    engine.step(first)
    last = engine.foresee()
    assert last is not None
    engine.coast(last)
    assert engine.counts.steps == 39
    (output,) = engine.step(last)
    assert output.timeline is not None
    assert (output.tokens, output.timeline.ended) == (40, last)
    assert engine.next_at is None


def test_a_thousand_servers_that_nobody_asks_hold_no_blocks() -> None:
    engine = Engine(Config(num_blocks=1_000_000))
    engine.add(Work("a", 100, 1), 0.0)
    assert len(engine.blocks._keys) == 7
    assert engine.blocks.free == 1_000_000 - 7
