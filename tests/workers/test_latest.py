"""Whoever reads slowly is told less, and knows as much."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.workers.latest import Key, Latest

_keys = st.tuples(st.sampled_from(["load", "pool"]), st.sampled_from("abc"))
_steps = st.one_of(
    st.tuples(st.just("put"), _keys, st.integers(0, 3)),
    st.tuples(st.just("drop"), _keys),
    st.tuples(st.just("read"), st.integers(0, 2)),
)


class _Reader:
    def __init__(self) -> None:
        self.version = 0
        self.known: dict[Key, int] = {}

    def read(self, latest: Latest) -> int:
        put, gone = latest.since(self.version)
        for key in gone:
            self.known.pop(key, None)
        for fact in put:
            self.known[fact.kind, fact.name] = msgspec.msgpack.decode(fact.value)
        self.version = latest.version
        return len(put)


@given(st.lists(_steps, max_size=60))
def test_every_reader_ends_up_with_what_there_is_at_whatever_pace_it_reads(steps: list[tuple[object, ...]]) -> None:
    latest, expected = Latest(), {}
    readers = [_Reader() for _ in range(3)]
    for what, *rest in steps:
        if what == "put":
            (kind, name), value = rest  # type: ignore[misc]
            latest.put(kind, name, value)
            expected[kind, name] = value
        elif what == "drop":
            latest.drop(*rest[0])  # type: ignore[misc]
            expected.pop(rest[0], None)
        else:
            reader = readers[rest[0]]  # type: ignore[index]
            reader.read(latest)
            assert reader.known == expected
            latest.forget(min(one.version for one in readers))
    for reader in [*readers, _Reader()]:
        reader.read(latest)
        assert reader.known == expected
        assert reader.read(latest) == 0


def test_a_value_that_is_the_same_is_no_news_and_of_many_only_the_last_is_told() -> None:
    latest, reader = Latest(), _Reader()
    latest.put("load", "a", 1)
    version = latest.version
    latest.put("load", "a", 1)
    assert latest.version == version
    for value in range(100):
        latest.put("load", "a", value)
    assert reader.read(latest) == 1
    assert reader.known == {("load", "a"): 99}


def test_what_is_gone_is_forgotten_once_everybody_knows() -> None:
    latest, reader = Latest(), _Reader()
    for number in range(1000):
        latest.put("load", str(number), 1)
        latest.drop("load", str(number))
    assert len(latest.since(0)[1]) == 1000
    reader.read(latest)
    latest.forget(reader.version)
    assert latest.since(0) == ([], [])
