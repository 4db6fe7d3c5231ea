"""A standing with endpoints that have just begun to serve."""

from collections import Counter

from pools import endpoint, served

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.fleet.slow_start import Young
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT
from headgate.pick.standing import Standing

BUSY, IDLE = Load(waiting=9, running=9, kv_usage=0.9), Load(waiting=0, running=0, kv_usage=0.0)


def standing(loads: dict[str, Load], *young: Young) -> Standing:
    return Standing("ns/pool", [endpoint(name) for name in loads], loads, Ledger(), PrefixIndex(), young)


def winners(one: Standing, requests: int, ask: Ask | None = None) -> Counter:
    return Counter(choose(ask or Ask("m"), one, DEFAULT, lambda: 0.0).endpoint.name for _ in range(requests))


def test_a_young_endpoint_that_would_win_every_request_gets_its_share_of_them():
    loads = {"a": BUSY, "b": BUSY, "c": IDLE}
    assert winners(standing(loads), 100) == {"c": 100}
    assert winners(standing(loads, Young("c", 0.0, 0.2)), 100) == {"c": 20, "a": 80}


def test_the_share_may_grow_while_the_standing_stays():
    young = Young("c", 0.0, 0.125)
    one = standing({"a": BUSY, "c": IDLE}, young)
    assert winners(one, 40)["c"] == 5
    young.share = 0.5
    assert winners(one, 40)["c"] == 20


def test_where_nobody_else_can_serve_a_young_endpoint_gets_all():
    loads = {"a": Load(models=served("other")), "c": Load(models=served("m"))}
    young = Young("c", 0.0, 0.1)
    assert winners(standing(loads, young), 20) == {"c": 20}
    assert winners(standing({"a": BUSY, "c": IDLE}, young), 20, Ask("m", exclude=frozenset("a"))) == {"c": 20}


def test_a_decision_tells_whom_it_spared():
    one = standing({"a": BUSY, "b": BUSY, "c": IDLE}, Young("c", 0.0, 0.5))
    told = [choose(Ask("m"), one, DEFAULT, lambda: 0.0).removed for _ in range(2)]
    assert told == [{"slow-start": ("c",)}, {}]
