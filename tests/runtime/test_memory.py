"""What is kept of requests says the same, and stays small."""

import sys
import tracemalloc
from collections import deque

import pytest

from headgate.exchange.record import Record
from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Decision
from headgate.pick.profile import DEFAULT
from headgate.pick.standing import Standing
from headgate.pick.trail import explain, render
from headgate.runtime.memory import Packer

_MODELS = (Served("base"), Served("food", "base"))


def _decision(endpoints: tuple[Endpoint, ...], moment: int, exclude: frozenset[str] = frozenset()) -> Decision:
    loads = {
        endpoint.name: Load(
            waiting=(at * moment) % 5 or None,
            running=at % 7 or None,
            kv_usage=(at + moment) % 90 / 90 or None,
            models=_MODELS,
            at=float(moment),
        )
        for at, endpoint in enumerate(endpoints)
    }
    standing = Standing("default/pool", endpoints, loads, Ledger(), PrefixIndex())
    return choose(Ask("food", exclude=exclude), standing, DEFAULT, lambda: 0.5)


def _endpoints(count: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"default/p{number}-rank-0", f"10.0.0.{number}", 8000) for number in range(count))


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 200])
def test_what_was_packed_explains_itself_as_before(count: int) -> None:
    endpoints = _endpoints(count)
    decisions = (
        _decision(endpoints, 1),
        _decision(endpoints, 2, exclude=frozenset(endpoint.name for endpoint in endpoints[:1])),
    )
    record = Record(decisions=decisions)
    Packer().pack(record)
    assert [explain(one) for one in record.decisions] == [explain(one) for one in decisions]
    assert [render(one) for one in record.decisions] == [render(one) for one in decisions]


def test_few_candidates_are_left_as_they_are() -> None:
    decisions = (_decision(_endpoints(10), 1),)
    record = Record(decisions=decisions)
    Packer().pack(record)
    assert record.decisions is decisions


def test_requests_chosen_among_two_hundred_take_less_than_seventeen_kilobytes_each() -> None:
    endpoints, recent, packer = _endpoints(200), deque[Record](maxlen=4096), Packer()
    tracemalloc.start()
    try:
        for moment in range(100):
            record = Record(decisions=(_decision(endpoints, moment),))
            packer.pack(record)
            recent.append(record)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size / len(recent) < 17_000, f"{size / len(recent):.0f} bytes, on {sys.version}"
