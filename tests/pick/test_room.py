"""How many requests may be in flight: no endpoint, and no pool, gets more, and the best of those with room wins."""

from hypothesis import given
from hypothesis import strategies as st
from pools import endpoint

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.hold import hold
from headgate.pick.profile import DEFAULT
from headgate.pick.room import NO_ROOM, Room
from headgate.pick.standing import Standing
from headgate.pick.trail import explain


def pool(sent: list[int], room: Room | None, usages: list[float] | None = None) -> Standing:
    ledger = Ledger()
    names = [f"e{n}" for n in range(len(sent))]
    ledger.counts.update(zip(names, sent, strict=True))
    loads = {name: Load(kv_usage=usage) for name, usage in zip(names, usages or [0.0] * len(sent), strict=True)}
    return Standing("ns/pool", [endpoint(name) for name in names], loads, ledger, PrefixIndex(), (), room)


def test_an_endpoint_that_is_full_is_passed_over_though_it_would_win():
    standing = pool([2, 1], Room(endpoint=2), [0.0, 1.0])
    assert choose(Ask("m"), pool([1, 1], Room(endpoint=2), [0.0, 1.0]), DEFAULT, lambda: 0.0).endpoint.name == "e0"
    decision = choose(Ask("m"), standing, DEFAULT, lambda: 0.0)
    assert decision.endpoint.name == "e1"
    assert explain(decision)["why"] == "the best of those with room: 1 of 2 have 2 requests under way"


def test_where_nobody_has_room_there_is_no_endpoint():
    for sent in ([2, 3], [2]):
        decision = choose(Ask("m"), pool(sent, Room(endpoint=2)), DEFAULT, lambda: 0.0)
        assert (decision.endpoint, decision.emptied) == (None, NO_ROOM)
    told = explain(decision)
    assert told["why"] == "every fit endpoint of pool ns/pool has 2 requests under way, as many as it may"


def test_a_pool_may_be_full_though_no_endpoint_is():
    assert choose(Ask("m"), pool([3, 3], Room(pool=7)), DEFAULT, lambda: 0.0).endpoint
    decision = choose(Ask("m"), pool([3, 4], Room(pool=7)), DEFAULT, lambda: 0.0)
    assert decision.why == "pool ns/pool has 7 requests under way, as many as it may"


def test_a_pool_without_endpoints_is_not_full_but_empty():
    decision = choose(Ask("m"), pool([], Room(1, 1)), DEFAULT, lambda: 0.0)
    assert decision.why == "pool ns/pool has no endpoints"


def test_a_session_does_not_get_into_an_endpoint_that_is_full():
    assert hold(Ask("m"), pool([1, 0], Room(endpoint=2)), DEFAULT, "e0").endpoint.name == "e0"
    assert hold(Ask("m"), pool([2, 0], Room(endpoint=2)), DEFAULT, "e0") is None
    assert hold(Ask("m"), pool([2, 2], Room(pool=4)), DEFAULT, "e0") is None


@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0.0, 0.3, 0.9])), min_size=1, max_size=5),
    st.integers(0, 5),
    st.integers(0, 12),
    st.floats(0, 1, exclude_max=True),
)
def test_who_is_chosen_has_room_and_is_who_would_be_chosen_among_those_that_have(endpoints, most, in_all, die):
    sent, usages = [count for count, _ in endpoints], [usage for _, usage in endpoints]
    decision = choose(Ask("m"), pool(sent, Room(most, in_all), usages), DEFAULT, lambda: die)
    with_room = [n for n, count in enumerate(sent) if not most or count < most]
    if not with_room or (in_all and sum(sent) >= in_all):
        assert decision.endpoint is None
        return
    assert int(decision.endpoint.name[1:]) in with_room
    totals = choose(Ask("m"), pool(sent, None, usages), DEFAULT, lambda: die).totals
    if totals:
        chosen = totals[int(decision.endpoint.name[1:])]
        assert chosen == max(totals[n] for n in with_room)
