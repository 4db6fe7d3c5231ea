"""Whatever a plan holds, workers get: keys and certificates too, which no other encoder lets out."""

from pathlib import Path

import msgspec
import pytest

from headgate.api import Text, load
from headgate.exchange.edits import ServedAt
from headgate.plan import translate
from headgate.plan.keys import Keys
from headgate.plan.plan import Listener
from headgate.plan.sealed import Sealed
from headgate.runtime.workers.latest import Latest
from headgate.runtime.workers.messages import News, PlaceFact, PoolFact, encode, encode_value
from headgate.runtime.workers.picture import Changes, read

_CASES = sorted((Path(__file__).parents[1] / "golden").glob("*/in.yaml"))


def _handed_over(latest: Latest) -> Changes:
    put, gone = latest.since(0)
    return read(msgspec.msgpack.decode(encode(News(1, list(put), list(gone))), type=News))


@pytest.mark.parametrize("path", _CASES, ids=lambda path: path.parent.name)
def test_every_plan_arrives_as_it_is(path: Path) -> None:
    plan, _ = translate(load([Text("in.yaml", path.read_text())])[0])
    latest = Latest(encode_value)
    place = PlaceFact(1, "127.0.0.1", 80, plan.listeners, (ServedAt("a", 1, 2),))
    latest.put("place", "1", place)
    pools = {name: PoolFact(pool, (), {}, False, frozenset({name}), False) for name, pool in plan.pools.items()}
    for name, pool in pools.items():
        latest.put("pool", name, pool)
    changes = _handed_over(latest)
    assert changes.of("place") == {"1": place}
    assert changes.of("pool") == pools


def test_what_is_sealed_is_the_same_on_the_other_side_and_shown_to_nobody() -> None:
    latest = Latest(encode_value)
    listener = Listener("default/gw", "l", 80, keys={"ring": Keys(("me",), Sealed(b"\xff" * 32))})
    latest.put("place", "1", PlaceFact(1, "127.0.0.1", 80, (listener,), ()))
    (fact,) = _handed_over(latest).of("place").values()
    assert fact.listeners[0].keys["ring"].digests.content == b"\xff" * 32
    with pytest.raises(TypeError):
        msgspec.msgpack.encode(listener)
