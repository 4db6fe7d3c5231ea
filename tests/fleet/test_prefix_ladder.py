"""The prefix ladder, and the index of who has seen what."""

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from headgate.fleet.prefix import LENGTHS, PrefixIndex, ladder

STEP = 1.25  # the ratio of two rungs from 1 KB on


def text(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def shared(first: bytes, second: bytes) -> int:
    """Bytes of the longest rung that both prompts have."""
    mine = dict(ladder("m", first))
    return max((size for size, digest in ladder("m", second) if mine.get(size) == digest), default=0)


def test_a_short_prompt_has_no_rungs_and_a_long_one_a_few_dozen():
    assert ladder("m", text(1, 255)) == ()
    assert [size for size, _ in ladder("m", text(1, 1023))] == [256, 512]
    assert len(ladder("m", text(1, 400_000))) == 30
    assert len(ladder("m", bytes(20 << 20))) == len(LENGTHS) == 46


@given(st.integers(1024, 100_000), st.integers(0, 50_000), st.integers(0, 50_000))
def test_a_shared_beginning_is_recognised_to_four_fifths(common, more, other):
    beginning = text(1, common)
    found = shared(beginning + text(2, more), beginning + text(3, other))
    assert common / STEP - 64 <= found <= common


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_prompts_that_differ_early_share_nothing_after_it(place, size):
    prompt = text(1, 20_001)
    changed = prompt[:place] + bytes([prompt[place] ^ 1]) + prompt[place + 1 :]
    assert shared(prompt, changed) <= place
    assert shared(prompt[:size], prompt) == max((n for n in LENGTHS if n <= size), default=0)


def test_models_share_nothing():
    prompt = text(1, 5000)
    assert not {digest for _, digest in ladder("a", prompt)} & {digest for _, digest in ladder("b", prompt)}


def test_a_memoryview_does_as_well_as_bytes():
    prompt = text(1, 5000)
    assert ladder("m", memoryview(prompt)) == ladder("m", prompt)


def test_the_index_tells_for_each_endpoint_how_far_it_knows_the_prompt():
    index = PrefixIndex()
    system = text(1, 2000)
    index.record(ladder("m", system + text(2, 3000)), "a")
    index.record(ladder("m", system + text(3, 3000)), "b")
    found = index.match(ladder("m", system + text(2, 3000) + text(4, 9000)))
    assert found == {"a": 4608, "b": 1984}
    assert index.match(ladder("m", text(5, 5000))) == {}
    assert index.match(()) == {}


def test_the_next_turn_of_a_chat_finds_the_endpoint_of_the_last():
    index = PrefixIndex()
    chat = text(1, 700)
    for turn in range(2, 12):
        index.record(ladder("m", chat), "a")
        chat += text(turn, 600)
        assert index.match(ladder("m", chat))["a"] >= 0.5 * (len(chat) - 600)


def test_the_index_stays_within_its_bound_and_forgets_what_was_sent_longest_ago():
    index = PrefixIndex(limit=100)
    first, second = ladder("m", text(0, 1100)), ladder("m", text(1, 1100))
    index.record(first, "a")
    for seed in range(1, 200):
        index.record(ladder("m", text(seed, 1100)), "a")
        index.record(first, "a")
        assert len(index) <= 100
    assert index.match(first) == {"a": 1024}
    assert index.match(second) == {}


def test_the_beginning_outlives_the_end_of_the_same_prompt():
    index = PrefixIndex(limit=3)
    long = ladder("m", text(1, 1300))
    index.record(long, "a")
    assert len(long) == 4
    assert index.match(long[:3]) == {"a": 1024}


def test_an_endpoint_that_is_forgotten_matches_nothing_not_even_under_its_old_name():
    index = PrefixIndex()
    rungs = ladder("m", text(1, 5000))
    index.record(rungs, "a")
    index.record(rungs, "b")
    index.forget("a")
    assert index.match(rungs) == {"b": 4608}
    index.record(rungs[:1], "a")
    assert index.match(rungs) == {"b": 4608, "a": 256}
    index.forget("never seen")


def test_endpoints_that_come_and_go_by_the_hundred_leave_no_trace():
    index = PrefixIndex()
    shared_rungs = ladder("m", text(0, 600))
    index.record(shared_rungs, "stays")
    for n in range(500):
        own = ladder("m", text(n + 1, 600))
        index.record(shared_rungs, f"pod-{n}")
        index.record(own, f"pod-{n}")
        assert index.match(own) == {f"pod-{n}": 512}
        index.forget(f"pod-{n}")
        assert index.match(own) == {}
    assert index.match(shared_rungs) == {"stays": 512}
    assert len(index) < 2 * 64 + 10


RECORDS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3000), st.sampled_from("abc")), max_size=20)


@given(RECORDS, st.integers(0, 4), st.integers(0, 3000))
def test_what_the_index_says_is_the_longest_rung_that_was_recorded(records, seed, size):
    index = PrefixIndex()
    expected = {}
    asked = ladder("m", text(seed, size))
    for other, length, endpoint in records:
        rungs = ladder("m", text(other, length))
        index.record(rungs, endpoint)
        for rung in set(rungs) & set(asked):
            expected[endpoint] = max(expected.get(endpoint, 0), rung[0])
    assert index.match(asked) == expected


def numbered(number: int, rungs: int = 30) -> tuple[tuple[int, int], ...]:
    """The rungs of a prompt that is equal to no other."""
    return tuple((LENGTHS[place], number << 8 | place) for place in range(rungs))


def test_an_endpoint_is_known_to_hold_no_more_than_its_cache_does():
    index = PrefixIndex()
    first = numbered(0, 9)
    index.fit("small", 4 * first[-1][0])
    index.fit("large", 400 * first[-1][0])
    for number in range(40):
        for name in ("small", "large"):
            index.record(numbered(number, 9), name)
    assert index.match(first) == {"large": first[-1][0]}
    assert [number for number in range(40) if "small" in index.match(numbered(number, 9))] == [36, 37, 38, 39]


def test_what_is_sent_again_and_again_outlives_what_was_sent_once():
    index, system = PrefixIndex(), numbered(0, 6)
    index.fit("a", 4 * numbered(1, 9)[-1][0])
    for number in range(1, 60):
        index.record(system, "a")
        index.record(numbered(number, 9), "a")
        assert index.match(system) == {"a": system[-1][0]}


def test_a_cache_that_turns_out_smaller_loses_the_rest_with_the_next_prompt():
    index = PrefixIndex()
    for number in range(20):
        index.record(numbered(number, 9), "a")
    index.fit("a", 2 * numbered(0, 9)[-1][0])
    index.record(numbered(20, 9), "a")
    assert [number for number in range(21) if index.match(numbered(number, 9))] == [19, 20]
    index.fit("a", None)
    index.record(numbered(21, 9), "a")
    assert [number for number in range(22) if index.match(numbered(number, 9))] == [19, 20, 21]


SENT = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12), st.sampled_from("abc")), max_size=120)


@given(SENT, st.integers(1, 40_000), st.integers(1, 120), st.integers(0, 119))
def test_the_index_never_tells_of_more_than_caches_hold_nor_of_what_was_never_sent(sent, capacity, limit, leaves):
    index = PrefixIndex(limit)
    for name in "abc":
        index.fit(name, capacity)
    known: set[tuple[str, int]] = set()
    for step, (number, rungs, name) in enumerate(sent):
        if step == leaves:
            index.forget("b")
            index.fit("b", capacity)
            known = {(other, digest) for other, digest in known if other != "b"}
        asked = numbered(number, rungs)
        index.record(asked, name)
        known |= {(name, digest) for _, digest in asked}
        assert index.size <= limit
    every = [numbered(number, 12) for number in range(13)]
    held: dict[str, int] = {}
    for prompt in every:
        below = 0
        for place, (length, _) in enumerate(prompt):
            for name, found in index.match(prompt[place : place + 1]).items():
                assert (name, prompt[place][1]) in known
                assert found == length
                held[name] = held.get(name, 0) + length - below
            below = length
    assert all(size <= capacity for size in held.values())


def test_a_rung_takes_so_little_memory_that_a_million_stay_under_300_mb():
    index = PrefixIndex(limit=50_000)
    for name in range(100):
        index.fit(f"pod-{name}", 1 << 40)
    tracemalloc.start()
    try:
        for number in range(1, 4000):
            index.record(ladder("m", number.to_bytes(8, "little") * 50_000), f"pod-{number % 100}")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 49_000 < index.size <= 50_000
    assert used / 50_000 * 1_000_000 < 300e6
