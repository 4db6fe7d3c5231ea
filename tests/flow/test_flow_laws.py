"""Laws of the queues, whatever comes in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lines import Detector, Pool

from headgate.flow.ceilings import STATIC, holdback, reflective
from headgate.flow.discipline import Discipline, Rule
from headgate.flow.fairness import FAIR
from headgate.flow.ordering import ORDERS

rules = st.builds(
    Rule,
    max_requests=st.integers(1, 6),
    max_bytes=st.integers(10, 100),
    ttl_s=st.sampled_from([None, 0.0, 1.0, 5.0]),
    fairness=st.sampled_from(list(FAIR.values())),
    order=st.sampled_from(list(ORDERS.values())),
)
disciplines = st.builds(
    Discipline,
    max_requests=st.sampled_from([0, 3, 8]),
    max_bytes=st.sampled_from([0, 60]),
    ttl_s=st.sampled_from([0.0, 2.0, 10.0]),
    no_endpoint_ttl_s=st.sampled_from([0.0, 3.0]),
    default=rules,
    negative=rules,
    rules=st.dictionaries(st.integers(-2, 2), rules, max_size=2),
    usage=st.sampled_from([STATIC, holdback(0.3), reflective()]),
    evicts=st.booleans(),
)
asks = st.tuples(
    st.just("ask"),
    st.integers(-2, 2),
    st.sampled_from("abc"),
    st.integers(0, 40),
    st.sampled_from([None, 0.0, 0.5, 30.0]),
    st.sampled_from([None, 0.2, 2.0]),
)
others = st.tuples(st.sampled_from(["end", "leave", "wait", "vanish", "appear", "evict", "serve"]), st.integers(0, 9))
FINAL = {
    "rejected-saturated",
    "rejected-ttl-expired",
    "rejected-no-endpoints",
    "rejected-context-cancelled",
    "rejected-shutting-down",
    "evicted",
    "evicted-priority",
    "evicted-queue-pressure",
}


class World:
    """A pool, and a book of what became of each ticket, kept by what the pool says."""

    def __init__(self, discipline, detector):
        self.pool = Pool(discipline, detector=detector, endpoints=2)
        self.all = []
        self.queued = {}
        self.over = {}

    def note(self, tickets, outcomes):
        """They have left the queue, for the first and only time."""
        for ticket in tickets:
            assert ticket.outcome in outcomes, ticket
            assert ticket.number in self.queued, "it left twice, or never waited"
            del self.queued[ticket.number]
            if ticket.outcome != "dispatched":
                self.over[ticket.number] = ticket

    def drain(self):
        dropped, self.pool.control.decided[:] = self.pool.control.decided[:], []
        self.note(dropped, {"evicted-priority", "evicted-queue-pressure", "rejected-shutting-down"})

    def ask(self, priority, flow, size, ttl_s, ttft_s):
        ticket = self.pool.ask(priority, flow, size, ttl_s=ttl_s, ttft_s=ttft_s)
        self.all.append(ticket)
        if ticket.outcome == "queued":
            self.queued[ticket.number] = ticket
        elif ticket.outcome != "dispatched":
            assert ticket.outcome in FINAL
            self.over[ticket.number] = ticket
        self.drain()

    def go(self, gone):
        self.note(gone, {"dispatched"})

    def step(self, step):
        pool, control = self.pool, self.pool.control
        if step[0] == "ask":
            self.ask(*step[1:])
            return
        what, number = step
        if what == "end" and pool.running:
            self.go(pool.end(pool.running[number % len(pool.running)][0]))
        elif what == "leave" and self.queued:
            ticket = list(self.queued.values())[number % len(self.queued)]
            control.leave(ticket, pool.now)
            self.note([ticket], {"rejected-context-cancelled"})
        elif what == "wait":
            pool.after(number / 2)
            self.note(control.expire(pool.now), {"rejected-ttl-expired", "rejected-no-endpoints"})
            pool.report(number % 3, number)
            self.go(pool.go())
        elif what in ("vanish", "appear"):
            for place, one in enumerate(pool.endpoints):
                pool.endpoints[place] = type(one)(one.name, one.address, one.port, ready=what == "appear")
            pool.watch()
            self.go(pool.go())
        elif what == "evict":
            for ticket in control.victims(pool.now):
                assert ticket.outcome == "evicted"
                assert ticket.priority < 0
                assert max(one.priority for one in self.queued.values()) > ticket.priority
                self.go(pool.end(ticket))
        elif what == "serve":
            control.served("abc"[number % 3], number * 100, number, pool.now)

    def check(self):
        control = self.pool.control
        assert control.queued == len(self.queued)
        assert control.bytes == sum(ticket.size for ticket in self.queued.values())
        bands = [band for band, _ in control.bands()]
        assert [band.priority for band in bands] == sorted({band.priority for band in bands}, reverse=True)
        for band in bands:
            mine = [ticket for ticket in self.queued.values() if ticket.priority == band.priority]
            assert band.count == len(mine) <= band.rule.max_requests
            assert band.bytes == sum(ticket.size for ticket in mine) <= band.rule.max_bytes
            assert band.sizes == {
                flow: (sum(t.flow == flow for t in mine), sum(t.size for t in mine if t.flow == flow))
                for flow in {ticket.flow for ticket in mine}
            }
            assert sum(line.count for line in band.lines.values()) in (0, len(mine))
        limits = control.discipline
        assert not limits.max_requests or control.queued <= limits.max_requests
        assert not limits.max_bytes or control.bytes <= limits.max_bytes


@settings(max_examples=150, deadline=None)
@given(disciplines, st.sampled_from([Detector(concurrency=2), Detector(queue_depth=2)]), st.data())
def test_every_request_leaves_the_queue_once_and_nothing_is_miscounted(discipline, detector, data):
    world = World(discipline, detector)
    for step in data.draw(st.lists(st.one_of(asks, asks, others), max_size=60)):
        world.step(step)
        world.check()
    other = data.draw(disciplines)
    world.pool.control.configure(other, world.pool.now)
    world.drain()
    world.check()
    world.pool.control.close(world.pool.now)
    world.drain()
    world.check()
    assert not world.queued
    assert all(ticket.outcome in FINAL or ticket.outcome == "dispatched" for ticket in world.all)
    for ticket in world.over.values():
        assert ticket.left >= ticket.entered


@settings(deadline=None)
@given(st.lists(st.one_of(asks, others), max_size=60))
def test_nobody_is_passed_by_one_of_a_lower_priority(steps):
    world = World(Discipline(), Detector(concurrency=1))
    original = world.go

    def go(gone):
        for place, ticket in enumerate(gone):
            later = gone[place + 1 :]
            waiting = [one for one in world.queued.values() if one not in gone] + later
            assert all(one.priority <= ticket.priority for one in waiting)
        original(gone)

    world.go = go
    for step in steps:
        world.step(step)


@settings(deadline=None)
@given(st.lists(st.one_of(asks, others), max_size=60), st.sampled_from(list(FAIR.values())))
def test_a_flow_keeps_its_order(steps, fairness):
    world = World(
        Discipline(default=Rule(fairness=fairness), negative=Rule(fairness=fairness)), Detector(concurrency=1)
    )
    for step in steps:
        world.step(step)
    while world.pool.running:
        world.go(world.pool.end())
    for priority in range(-2, 3):
        for flow in "abc":
            gone = [t for t in world.all if (t.priority, t.flow, t.outcome) == (priority, flow, "dispatched")]
            assert [t.left for t in gone] == sorted(t.left for t in gone)


@settings(deadline=None)
@given(st.lists(asks, max_size=40), st.sampled_from(list(FAIR.values())), st.floats(0.05, 3.0))
def test_nobody_waits_for_longer_than_he_may_and_with_time_enough_everybody_goes(steps, fairness, pace):
    """Within its time each goes, or is told that it did not; who has no limit goes in the end."""
    rule = Rule(fairness=fairness)
    world = World(
        Discipline(ttl_s=10.0, default=rule, negative=rule, rules={0: Rule(ttl_s=0.0)}), Detector(concurrency=1)
    )
    for step in steps:
        world.step(step)
    while world.pool.control.queued:
        world.step(("wait", pace * 2))
        world.step(("end", 0))
        assert all(world.pool.now < ticket.expires for ticket in world.queued.values())
    for ticket in world.all:
        if ticket.outcome == "rejected-ttl-expired":
            assert ticket.ttl_s == 0.0 or ticket.left >= ticket.expires
        if ticket.priority == 0 and ticket.ttl_s is None:
            assert ticket.outcome in ("dispatched", "rejected-saturated")
