"""Who goes, who waits, who is dropped: the queues of one pool."""

import pytest
from lines import Detector, Pool

from headgate.flow.ceilings import holdback
from headgate.flow.discipline import Discipline, Rule
from headgate.flow.gauge import Bounds


def outcomes(*tickets):
    return [ticket.outcome for ticket in tickets]


def test_who_fits_goes_at_once_and_who_does_not_waits():
    pool = Pool()
    first, second, third = pool.ask(), pool.ask(), pool.ask()
    assert outcomes(first, second, third) == ["dispatched", "queued", "queued"]
    assert (second.ahead, third.ahead) == (0, 1)
    assert (pool.control.queued, pool.control.bytes) == (2, 20)
    assert pool.after(3.0).end() == [second]
    assert second.left - second.entered == 3.0
    assert pool.end() == [third]
    assert pool.end() == []
    assert (pool.control.queued, pool.control.bytes) == (0, 0)


def test_nobody_goes_while_somebody_of_a_higher_priority_could():
    pool = Pool()
    pool.ask()
    low, usual, high = pool.ask(-1), pool.ask(0), pool.ask(5)
    assert (low.ahead, usual.ahead, high.ahead) == (0, 0, 0)
    assert pool.ask(-3).ahead == 3
    assert [pool.end() for _ in range(3)] == [[high], [usual], [low]]


def test_who_comes_later_does_not_overtake_its_own_band():
    pool = Pool()
    pool.ask()
    first = pool.ask()
    pool.ledger.give("e0")  # it has ended, and nobody was told of it yet
    late = pool.ask()
    assert outcomes(first, late) == ["queued", "queued"]
    pool.control.moved()
    assert pool.go() == [first]


def test_one_of_a_higher_priority_passes_those_that_wait():
    pool = Pool(usage=holdback(0.5), endpoints=2)
    pool.control.priorities((1, 0))
    assert pool.ask(0).outcome == "dispatched"
    assert pool.ask(0).outcome == "queued"  # half of it is held back
    assert pool.ask(1).outcome == "dispatched"
    assert pool.ask(1).outcome == "queued"


def test_what_is_held_back_is_so_before_anybody_of_a_higher_priority_has_come():
    pool = Pool(usage=holdback(0.0))
    pool.control.priorities((1, 0))
    assert pool.ask(0).outcome == "queued"
    assert pool.ask(1).outcome == "dispatched"


def test_a_band_that_is_full_refuses():
    pool = Pool(default=Rule(max_requests=1))
    assert outcomes(pool.ask(), pool.ask(), pool.ask()) == ["dispatched", "queued", "rejected-saturated"]
    assert pool.ask(1).outcome == "queued"
    assert pool.control.queued == 2


def test_a_band_that_is_full_of_bytes_refuses():
    pool = Pool(default=Rule(max_bytes=100))
    pool.ask()
    assert outcomes(pool.ask(size=60), pool.ask(size=50), pool.ask(size=40)) == [
        "queued",
        "rejected-saturated",
        "queued",
    ]


def test_what_may_be_shed_gives_way_where_the_whole_queue_is_full():
    pool = Pool(max_requests=3)
    pool.ask()
    old, new, lowest = pool.ask(-1), pool.ask(-1), pool.ask(-2)
    first, second = pool.ask(0), pool.ask(1)
    assert outcomes(lowest, new, old) == ["evicted-priority", "evicted-priority", "queued"]
    assert pool.control.decided == [lowest, new]
    assert outcomes(first, second, pool.ask(-1), pool.ask(0), pool.ask(0)) == [
        "queued",
        "queued",
        "rejected-saturated",
        "queued",
        "rejected-saturated",
    ]
    assert old.outcome == "evicted-priority"
    assert pool.control.queued == 3


def test_nobody_gives_way_where_that_would_not_be_enough():
    pool = Pool(max_bytes=100)
    pool.ask()
    shed, kept = pool.ask(-1, size=30), pool.ask(0, size=60)
    assert pool.ask(1, size=50).outcome == "rejected-saturated"
    assert outcomes(shed, kept) == ["queued", "queued"]
    assert pool.ask(1, size=40).outcome == "queued"
    assert outcomes(shed, kept) == ["evicted-priority", "queued"]
    assert pool.control.bytes == 100


def test_who_has_waited_for_as_long_as_he_may_is_dropped():
    pool = Pool(ttl_s=60.0, rules={1: Rule(ttl_s=5.0)})
    pool.ask()
    usual, short, own, never = pool.ask(0), pool.ask(1), pool.ask(0, ttl_s=2.0), pool.ask(1, ttl_s=20.0)
    assert pool.control.next_expiry == pool.now + 2.0
    assert pool.after(1.9).control.expire(pool.now) == []
    assert pool.after(0.1).control.expire(pool.now) == [own]
    assert set(pool.after(3.0).control.expire(pool.now)) == {short, never}
    assert pool.after(55.0).control.expire(pool.now) == [usual]
    assert usual.outcome == "rejected-ttl-expired"
    assert pool.control.queued == 0


def test_who_would_not_wait_at_all_is_told_so_at_once():
    pool = Pool()
    assert pool.ask(ttl_s=0.0).outcome == "dispatched"
    assert pool.ask(ttl_s=0.0).outcome == "rejected-ttl-expired"


def test_a_time_of_0_is_no_limit_but_the_client_s_own():
    pool = Pool(ttl_s=0.0, no_endpoint_ttl_s=0.0)
    pool.ask()
    pool.ask()
    own = pool.ask(ttl_s=3.0)
    assert pool.after(1e6).control.expire(pool.now) == [own]
    assert pool.control.next_expiry == float("inf")


def test_a_pool_without_endpoints_has_a_time_of_its_own_and_reasons_of_its_own():
    pool = Pool(ttl_s=5.0, no_endpoint_ttl_s=60.0, default=Rule(max_requests=2), endpoints=0)
    first, second = pool.ask(), pool.ask()
    assert pool.ask().outcome == "rejected-no-endpoints"
    assert pool.after(59.9).control.expire(pool.now) == []
    assert pool.after(0.1).control.expire(pool.now) == [first, second]
    assert outcomes(first, second) == ["rejected-no-endpoints"] * 2


def test_an_endpoint_that_comes_at_last_gives_who_waited_for_it_time_to_go():
    pool = Pool(ttl_s=5.0, no_endpoint_ttl_s=60.0)
    endpoints, pool.endpoints, pool.loads = pool.endpoints, [], []
    pool.watch()
    first, second, third = pool.ask(), pool.ask(), pool.ask()
    pool.after(30.0).endpoints = endpoints
    pool.report()
    assert pool.go() == [first]
    assert pool.after(4.9).control.expire(pool.now) == []
    assert pool.after(0.1).control.expire(pool.now) == [second, third]
    assert second.outcome == "rejected-ttl-expired"


def test_nobody_waits_for_longer_than_the_longer_time():
    pool = Pool(ttl_s=5.0, no_endpoint_ttl_s=60.0)
    endpoints, pool.endpoints, pool.loads = pool.endpoints, [], []
    pool.watch()
    pool.ask(), pool.ask()
    pool.after(58.0).endpoints = endpoints
    pool.report()
    pool.go()
    assert len(pool.after(2.0).control.expire(pool.now)) == 1


def test_who_leaves_is_gone():
    pool = Pool()
    running, first, second = pool.ask(), pool.ask(), pool.ask()
    pool.control.leave(first, pool.now)
    pool.control.leave(first, pool.now)
    assert pool.control.queued == 1
    assert pool.end(running) == [second]
    assert first.outcome == "rejected-context-cancelled"


def test_at_the_end_all_are_told():
    pool = Pool()
    _, first, second = pool.ask(), pool.ask(1), pool.ask()
    pool.control.close(pool.now)
    assert set(pool.control.decided) == {first, second}
    assert outcomes(first, second, pool.ask()) == ["rejected-shutting-down"] * 3
    assert pool.control.queued == 0


def test_other_rules_count_for_who_waits_already():
    pool = Pool()
    pool.ask()
    old, high, new = pool.ask(0), pool.ask(1), pool.ask(0)
    pool.control.configure(Discipline(max_requests=2, ttl_s=7.0), pool.now)
    assert pool.control.decided == [new]
    assert new.outcome == "evicted-queue-pressure"
    assert pool.control.queued == 2
    assert [pool.end(), pool.end()] == [[high], [old]]


def test_what_is_under_way_gives_way_the_newest_of_the_lowest_first():
    pool = Pool(evicts=True, detector=Detector(concurrency=4))
    old, low, new, usual = pool.ask(-1), pool.ask(-5), pool.ask(-1), pool.ask(0)
    assert pool.control.victims(pool.now) == []
    waiting = [pool.ask(0), pool.ask(1), pool.ask(1)]
    assert pool.control.victims(pool.now) == [low, new]
    assert outcomes(low, new, old, usual) == ["evicted", "evicted", "dispatched", "dispatched"]
    assert pool.control.victims(pool.now) == []  # before it is seen what came of it
    pool.end(low)
    pool.end(new)
    assert outcomes(*waiting) == ["queued", "dispatched", "dispatched"]
    pool.report()
    assert pool.control.victims(pool.now) == [old]
    pool.end(old)
    pool.report()
    assert pool.control.victims(pool.now) == []
    assert waiting[0].outcome == "dispatched"


def test_nobody_gives_way_to_one_of_his_own_priority_or_a_lower_one_nor_once_his_answer_has_begun():
    pool = Pool(evicts=True, detector=Detector(concurrency=2))
    begun, _ = pool.ask(-1), pool.ask(-2)
    pool.ask(-2)
    assert pool.control.victims(pool.now) == []
    pool.control.answered(begun, pool.now)
    pool.ask(1), pool.ask(1)
    assert begun not in pool.control.victims(pool.now)


def test_limits_on_what_is_in_flight_are_a_ceiling_too():
    pool = Pool(detector=Detector(concurrency=100), bounds=Bounds(endpoint=2), endpoints=2)
    assert [pool.ask().outcome for _ in range(5)] == ["dispatched"] * 4 + ["queued"]
    pool = Pool(detector=Detector(concurrency=100), bounds=Bounds(pool=3), endpoints=2)
    assert [pool.ask().outcome for _ in range(4)] == ["dispatched"] * 3 + ["queued"]


def test_clients_are_told_to_stay_away_for_as_long_as_it_takes():
    pool = Pool()
    for _ in range(100):
        pool.ask()
    assert pool.control.retry_after_s(0) == 1
    for _ in range(60):
        pool.after(0.5).end()
    assert pool.control.retry_after_s(0) == pytest.approx(39 * 0.5, abs=1)
    assert pool.control.retry_after_s(1) == 1
