"""How full a pool is between two scrapes."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import Detector, Pool

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.flow.gauge import Bounds, Gauge

QUEUES = Detector()


def gauge(*loads: Load, sent: tuple[int, ...] = (), detector: Detector = QUEUES, **of_endpoints: dict) -> Gauge:
    """`sent` were in flight when the loads came."""
    ledger = Ledger()
    ledger.counts.update(zip("abcdef", sent, strict=False))
    endpoints = [Endpoint(name, "", 1, **of_endpoints.get(name, {})) for name in "abcdef"[: len(loads)]]
    made = Gauge(detector, ledger)
    made.watch(endpoints, loads)
    return made


def load(waiting: int = 0, running: int = 0, usage: float = 0.0, at: float = 10.0) -> Load:
    return Load(waiting, running, usage, at=at)


def test_an_endpoint_is_as_full_as_its_queue_or_its_cache_and_a_pool_as_its_endpoints_in_the_mean():
    assert gauge(load(5)).read(10.0) == 1.0
    assert gauge(load(0, 9, 0.8)).read(10.0) == pytest.approx(1.0)
    assert gauge(load(1, 0, 0.4)).read(10.0) == pytest.approx(0.5)
    assert gauge(load(0), load(10)).read(10.0) == 1.0


def test_what_was_sent_since_counts_as_waiting():
    made = gauge(load(1, 4), sent=(5,))
    assert made.read(10.0) == pytest.approx(0.2)
    made._ledger.counts["a"] = 7
    assert made.read(10.0) == pytest.approx(0.6)


def test_what_has_ended_since_has_left_room():
    made = gauge(load(5, 10), sent=(15,))
    made._ledger.counts["a"] = 12
    assert made.read(10.0) == pytest.approx(0.4)
    made._ledger.counts["a"] = 2
    assert made.read(10.0) == 0.0


def test_what_others_send_there_is_not_taken_for_ours():
    """Two of ours among ten that run: one that ends makes room for one that waits."""
    made = gauge(load(5, 10), sent=(2,))
    assert made.read(10.0) == 1.0
    made._ledger.counts["a"] = 1
    assert made.read(10.0) == pytest.approx(0.8)


def test_what_was_on_its_way_when_it_reported_counts():
    assert gauge(load(0, 1), sent=(4,)).read(10.0) == pytest.approx(0.6)


def test_the_same_load_told_once_more_changes_nothing():
    made = gauge(load(1, 4), sent=(5,))
    made._ledger.counts["a"] = 7
    made.watch([Endpoint("a", "", 1)], [load(1, 4)])
    assert made.read(10.0) == pytest.approx(0.6)
    made.watch([Endpoint("a", "", 1)], [load(1, 6, at=10.1)])
    assert made.read(10.1) == pytest.approx(0.2)


def test_who_has_not_reported_or_not_for_long_is_full():
    assert gauge(Load()).read(10.0) == 1.0
    assert gauge().read(10.0) == 1.0
    assert gauge(load(), load(at=8.5)).read(10.0) == 0.0
    assert gauge(load(), load(at=7.5)).read(10.0) == 0.5


def test_who_takes_no_requests_does_not_count_unless_nobody_else_is_left():
    out = {"ready": False}, {"draining": True}, {"ejected": True}
    for one in out:
        assert gauge(load(), load(50), b=one).read(10.0) == 0.0
    assert gauge(load(5), a={"ejected": True}).read(10.0) == 1.0
    assert gauge(load(), a={"ready": False}).size == 0


def test_by_concurrency_our_own_requests_count_alone():
    made = gauge(Load(), Load(), sent=(1, 3), detector=Detector(concurrency=4))
    assert made.read(1e9) == 0.5


def test_by_tokens_those_in_flight_count_and_in_both_ways_whichever_is_nearer_to_its_most():
    ledger = Ledger()
    ledger.counts.update(a=1, b=3)
    ledger.tokens.add("a", 500)
    endpoints = [Endpoint(name, "", 1) for name in "ab"]
    for detector, full in ((Detector(tokens=1000), 0.25), (Detector(tokens=1000, concurrency=4), (0.5 + 0.75) / 2)):
        made = Gauge(detector, ledger)
        made.watch(endpoints, [Load(), Load()])
        assert made.read(1e9) == full
        ledger.tokens.add("b", 1000)
        assert made.read(1e9) == full + (0.5 if full == 0.25 else 0.125)
        ledger.tokens.remove("b", 1000)


def test_a_pool_that_counts_tokens_is_looked_at_before_each_that_goes():
    pool = Pool(detector=Detector(tokens=100))
    for _ in range(2):
        assert pool.ask().outcome == "dispatched"
        pool.ledger.tokens.add("e0", 50)
    assert pool.ask().outcome == "queued"


def test_another_detector_counts_from_the_next_look_on():
    made = gauge(load(5), sent=(1,))
    made.aim(Detector(queue_depth=10))
    made.watch([Endpoint("a", "", 1)], [load(5)])
    assert made.read(10.0) == 0.5


def test_a_burst_does_not_pass_between_two_scrapes():
    """Five more for each endpoint than it is known to have, and no more: whatever the number of those that come."""
    pool = Pool(detector=QUEUES, endpoints=4)
    asked = [pool.ask() for _ in range(500)]
    assert sum(ticket.outcome == "dispatched" for ticket in asked) == 20
    pool.after(0.1).report(waiting=0, running=5)
    assert len(pool.go()) == 20
    pool.after(0.1).report(waiting=5, running=5)
    assert pool.go() == []


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from(["ask", "end", "report", "sweep"]), st.integers(0, 9)), max_size=60),
    st.integers(1, 3),
    st.sampled_from([QUEUES, Detector(concurrency=3)]),
    st.sampled_from([Bounds(), Bounds(endpoint=4), Bounds(pool=5)]),
)
def test_nobody_goes_while_the_pool_is_full_though_it_is_seldom_looked_at(count, steps, share, detector, bounds):
    pool = Pool(detector=detector, endpoints=count, share=share, bounds=bounds)
    for step, number in steps:
        pool.after(0.01)
        before = pool.gauge.read(pool.now)
        if step == "ask":
            if pool.ask().outcome == "dispatched":
                assert before < 1.0
        elif step == "end" and pool.running:
            pool.end(pool.running[number % len(pool.running)][0])
        elif step == "report":
            pool.report(number % 3, number)
        else:
            pool.control.moved()
        while True:
            before = pool.gauge.read(pool.now)
            ticket = pool.control.next(pool.now)
            if ticket is None:
                break
            assert before < 1.0
            pool.send(ticket)
        if step != "ask":
            assert not pool.control.queued or pool.gauge.read(pool.now) >= 1.0, "somebody waits, and the pool has room"


def test_what_it_costs_to_ask_while_there_is_room(capsys):
    """A loose bound: the figure of docs/flow-control.md comes from a quiet machine."""
    pool = Pool(detector=Detector(concurrency=10_000), endpoints=100)
    began = time.perf_counter()
    for _ in range(2000):
        pool.ask(priority=random.choice((0, 1)))
    assert (time.perf_counter() - began) / 2000 < 200e-6
