"""Which prefixes are held where, by KV events: held against the simulator's caches, with all and with lost events."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet import kv_events
from headgate.fleet.held_blocks import Full, HeldBlocks
from headgate.fleet.kv_events import Cleared, Removed, Stored
from headgate.fleet.prefix import Rungs, ladder
from headgate.sim.draft import keys
from headgate.sim.engine import Config, Engine, Work
from headgate.sim.kv_events import batch
from headgate.sim.tokens import WIDTH, ids

SIZE = 16  # tokens of a block: one is 64 bytes, and every rung ends with one


class Server:
    """A simulated engine, whose events are read from its own messages."""

    def __init__(self, blocks: int) -> None:
        self.engine = Engine(Config(block_size=SIZE, num_blocks=blocks, max_num_batched_tokens=256, max_num_seqs=3))
        self.engine.blocks.notes = []
        self._now = 0.0
        self._count = 0

    def ask(self, content: bytes, output: int = 3, adapter: str = "", salt: str = "") -> None:
        self._count += 1
        said = content + bytes([self._count % 251]) * WIDTH * output
        root = f"{adapter}\0{salt}" if adapter or salt else ""
        made = keys(said, SIZE, root)
        self.engine.add(
            Work(str(self._count), len(content) // WIDTH, output, made, adapter, True, said, salt), self._now
        )

    def step(self) -> bool:
        if self.engine.next_at is None:
            return False
        self._now = self.engine.next_at
        self.engine.step(self._now)
        return True

    def told(self) -> list[kv_events.Event]:
        notes = self.engine.blocks.notes
        assert notes is not None
        payload = batch(notes, SIZE, lambda name: 1, self._now)
        notes.clear()
        return kv_events.read(payload).events

    def holds(self, content: bytes, adapter: str = "") -> int:
        """Bytes of the beginning that are cached."""
        made = keys(content, SIZE, f"{adapter}\0" if adapter else "")
        return len(self.engine.blocks.find(made, len(made))) * SIZE * WIDTH


def prompt(seed: int, shared: int, own: int) -> bytes:
    """`shared` tokens as all of this seed have them, `own` like no other's."""
    return bytes([seed]) * shared * WIDTH + bytes([10 + own % 200, own % 7]) * (own % 60 + 1) * 2 * WIDTH


def expected(rungs: Rungs, held: int) -> int:
    return max((length for length, _ in rungs if length <= held), default=0)


ASKS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 200), st.integers(1, 400), st.sampled_from(["a", "b"])),
    min_size=1, max_size=25,
)  # fmt: skip


@given(ASKS, st.integers(30, 70), st.integers(0, 30))
def test_what_events_tell_is_what_the_caches_hold(asks, blocks, cleared):
    held = HeldBlocks()
    servers = {"a": Server(blocks), "b": Server(blocks)}
    for name in servers:
        held.follow(name, whole=True)
    prompts: list[tuple[bytes, Rungs]] = []

    def check() -> None:
        for name, server in servers.items():
            held.take(name, server.told())
            for content, rungs in prompts:
                assert held.match(rungs, {}).get(name, 0) == expected(rungs, server.holds(content))

    for number, (seed, shared, own, name) in enumerate(asks):
        content = prompt(seed, shared, own)
        rungs = ladder("m", content)
        held.learn(rungs, len(content), ids(content), "", SIZE)
        prompts.append((content, rungs))
        servers[name].ask(content)
        servers[name].step()
        check()
        if number == cleared:
            while servers[name].step():
                pass
            assert servers[name].engine.blocks.clear()
            check()
    for server in servers.values():
        while server.step():
            check()


@given(ASKS, st.integers(30, 70), st.data())
def test_lost_events_are_denied_not_claimed_and_nothing_survives_that_all_is_cleared(asks, blocks, data):
    held, server = HeldBlocks(), Server(blocks)
    held.follow("a", whole=True)
    prompts = []
    for seed, shared, own, _ in asks:
        content = prompt(seed, shared, own)
        rungs = ladder("m", content)
        held.learn(rungs, len(content), ids(content), "", SIZE)
        prompts.append((content, rungs))
        server.ask(content)
        while server.step():
            pass
        events = server.told()
        if data.draw(st.booleans()):  # some stores are lost: what follows them is not known either
            events = [event for event in events if not isinstance(event, Stored) or data.draw(st.booleans())]
        held.take("a", events)
        for content, rungs in prompts:
            assert held.match(rungs, {}).get("a", 0) <= server.holds(content)
    assert server.engine.blocks.clear()
    held.take("a", server.told())
    assert all(held.match(rungs, {}) == {} for _, rungs in prompts)
    assert held.size == 0


def stored(content: bytes, *, parent: int | None = None, first: int = 100, **more: object) -> Stored:
    tokens = ids(content)
    names: list[int | bytes] = list(range(first, first + len(tokens) // SIZE))
    return Stored(names, parent, tokens[: len(names) * SIZE], SIZE, **more)  # type: ignore[arg-type]


CONTENT = bytes(range(1, 65)) * 16  # 256 tokens, 16 blocks
RUNGS = ladder("m", CONTENT)


@pytest.fixture
def held() -> HeldBlocks:
    made = HeldBlocks()
    made.follow("a", whole=True)
    made.learn(RUNGS, len(CONTENT), ids(CONTENT), "", SIZE)
    return made


def test_a_block_that_was_stored_twice_is_there_until_both_are_removed(held):
    held.take("a", [stored(CONTENT), stored(CONTENT)])
    assert held.match(RUNGS, {}) == {"a": 1024}
    held.take("a", [Removed([115])])
    assert held.match(RUNGS, {}) == {"a": 1024}
    held.take("a", [Removed([115])])
    assert held.match(RUNGS, {}) == {"a": 512}


def test_a_gap_ends_the_match(held):
    held.take("a", [stored(CONTENT), Removed([107])])  # where the rung of 512 bytes ends
    assert held.match(RUNGS, {}) == {"a": 256}


def test_what_follows_an_unknown_block_counts_for_nothing(held):
    held.take("a", [stored(CONTENT, parent=7)])
    assert held.match(RUNGS, {}) == {}
    assert held.size == 0


@pytest.mark.parametrize(
    "more",
    [
        {"lora_name": "food", "lora_id": 1},
        {"lora_id": 1},
        {"medium": "CPU"},
        {"kv_cache_spec_kind": "sliding_window", "group_idx": 1},
        {"extra_keys": [["salt"], *[None] * 15]},
    ],
)
def test_blocks_of_another_sort_are_other_blocks(held, more):
    held.take("a", [stored(CONTENT, **more)])
    assert held.match(RUNGS, {}) == {}


def test_an_adapter_has_prefixes_of_its_own(held):
    rungs = ladder("food", CONTENT)
    held.learn(rungs, len(CONTENT), ids(CONTENT), "food", SIZE)
    extra = [["food"]] * 16
    held.take("a", [stored(CONTENT, lora_name="food", lora_id=1, extra_keys=extra)])
    assert held.match(rungs, {}) == {"a": 1024}
    assert held.match(RUNGS, {}) == {}


def test_who_is_not_followed_from_the_start_goes_by_what_was_sent_and_by_what_is_known(held):
    held.follow("late", whole=False)
    assert held.match(RUNGS, {"a": 1024, "late": 512, "other": 256}) == {"late": 512, "other": 256}
    held.take("late", [stored(CONTENT)])
    assert held.match(RUNGS, {"late": 512}) == {"late": 1024}


def test_what_nobody_has_learned_goes_by_what_was_sent(held):
    longer = CONTENT + bytes(5000)
    rungs = ladder("m", longer)
    assert held.match(rungs, {"a": rungs[-1][0]}) == {"a": rungs[-1][0]}
    assert held.match(rungs, {"a": 1024}) == {}
    assert not held.knows(rungs)
    assert held.knows(RUNGS)


def test_what_was_sent_counts_until_two_turns_have_passed(held):
    held.sent(RUNGS, "a")
    held.sent(RUNGS, "nobody")
    assert held.match(RUNGS, {}) == {"a": 1024}
    held.turn()
    assert held.match(RUNGS, {}) == {"a": 1024}
    held.turn()
    assert held.match(RUNGS, {}) == {}


def test_who_falls_silent_is_not_trusted_until_it_is_heard_again(held):
    held.take("a", [stored(CONTENT[:512])])
    assert held.trusted("a")
    held.sent(RUNGS, "a")
    for _ in range(10):
        held.tick()
    held.turn()
    held.turn()
    assert not held.trusted("a")
    assert held.match(RUNGS, {"a": 1024}) == {"a": 1024}
    held.take("a", [])
    assert held.trusted("a")
    assert held.match(RUNGS, {"a": 1024}) == {"a": 512}


def test_who_holds_more_than_may_be_known_is_followed_no_more():
    held = HeldBlocks(limit=20)
    for name in ("a", "b"):
        held.follow(name, whole=True)
    held.take("a", [stored(CONTENT)])
    with pytest.raises(Full):
        held.take("b", [stored(CONTENT)])
    assert held.size == 16
    assert not held.trusted("b")


def test_who_comes_anew_holds_nothing_of_what_was_sent_to_it_before(held):
    held.sent(RUNGS, "a")
    held.take("a", [])
    held.forget("a")
    held.tick()
    held.follow("a", whole=True)
    assert held.match(RUNGS, {}) == {}
    assert held.on_trust


def test_bits_are_given_again_only_when_nothing_of_them_is_left(held):
    for number in range(200):
        held.follow(f"pod-{number}", whole=True)
        held.take(f"pod-{number}", [stored(CONTENT)])
        assert held.match(RUNGS, {}) == {f"pod-{number}": 1024}
        held.forget(f"pod-{number}")
        assert held.match(RUNGS, {}) == {}
        held.tick()
        held.turn()
    assert held.size == 0
    held.follow("last", whole=True)
    holding = held.holding("last")
    assert holding is not None
    assert holding.bit < 1 << 8


def test_memory_is_bounded_by_rungs_too():
    held = HeldBlocks(rungs=100)
    for number in range(300):
        content = number.to_bytes(4, "little") * 300
        held.learn(ladder("m", content), len(content), ids(content), "", SIZE)
    assert held.knows(ladder("m", content))
    first = (0).to_bytes(4, "little") * 300
    assert not held.knows(ladder("m", first))


# What servers send.


def test_events_are_read_as_maps_and_as_arrays():
    maps = [1.5, [{"type": "BlockStored", "block_hashes": [1], "parent_block_hash": None, "token_ids": [5, 6],
                   "block_size": 2, "lora_id": None, "medium": "GPU", "lora_name": None, "later": 3},
                  {"type": "BlockRemoved", "block_hashes": [b"\1" * 32], "medium": "GPU"},
                  {"type": "AllBlocksCleared"}], 0]  # fmt: skip
    arrays = [1.5, [["BlockStored", [1], None, [5, 6], 2, None, "GPU"], ["BlockRemoved", [b"\1" * 32]],
                    ["AllBlocksCleared"]]]  # fmt: skip
    for written in (maps, arrays):
        found = kv_events.read(msgspec.msgpack.encode(written))
        assert found.ts == 1.5
        one, two, three = found.events
        assert isinstance(one, Stored)
        assert isinstance(two, Removed)
        assert isinstance(three, Cleared)
        assert (one.block_hashes, one.token_ids, one.medium) == ([1], [5, 6], "GPU")
        assert two.block_hashes == [b"\1" * 32]


@pytest.mark.parametrize(
    "written",
    [
        {"ts": 1},
        [1.0],
        [1.0, [{"type": "BlockMoved"}]],
        [1.0, [["BlockStored", [1], None, [-1], 1]]],
        [1.0, [["BlockStored", [1], None, [1], 0]]],
    ],
)
def test_what_is_no_batch_of_events_is_a_value_error(written):
    with pytest.raises(ValueError, match=r"\w"):
        kv_events.read(msgspec.msgpack.encode(written))


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_a_value_error(payload):
    with suppress(ValueError):
        kv_events.read(payload)
