"""What workers see of the fleet is what the controller sees, whatever happens, and however late they hear of it."""

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Load, Served, Server
from headgate.fleet.shared import SharedLedger
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.plan.plan import HealthCheck, Model, Plan, Pool, Target
from headgate.runtime.fleet import Fleet
from headgate.runtime.workers.messages import Failed, News, Passed, encode
from headgate.runtime.workers.picture import Picture, read
from headgate.runtime.workers.publish import Publisher, share

_BASE, _FOOD = Served("base"), Served("food", "base")
_RUNGS = ((256, 1), (512, 2))


class _World:
    """A controller's fleet and two workers' pictures; news go through msgpack, when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.put_off: list[tuple[float, Callable[[], None]]] = []
        self.shared = share(2)
        self.publisher = Publisher(self.shared)
        self.fleet = Fleet(
            self._changed,
            lambda pool: self.publisher.loads(self.fleet.views[pool]),
            lambda seconds, function: self.put_off.append((self.now + seconds, function)),
            lambda: self.now,
            self.shared.ledger,
            self.shared.prefixes,
        )
        self.woken: list[list[str]] = [[], []]
        rows = self.shared.counters.rows
        self.told: list[Failed | Passed] = []
        self.pictures = [
            Picture(
                SharedLedger(rows, row),
                self.woken[row].append,
                self.told.append,
                lambda seconds, what: None,
                10.0,
                None,
            )
            for row in range(2)
        ]
        self.applied = [0, 0]

    def _changed(self, pool: str) -> None:
        self.publisher.pool(pool, self.fleet.views.get(pool))
        self.shared.latest.put("bases", "", dict(self.fleet.base_models))

    def plan(self, *pools: Pool) -> None:
        self.fleet.plan(Plan(pools={pool.name: pool for pool in pools}), {})

    def serve(self, *names: str, down: tuple[str, ...] = (), port: int = 8000) -> None:
        self.fleet.servers(
            [
                Server("default", name, "10.0.0.1", {"app": "vllm"}, ready=name not in down, port=port + int(name[1:]))
                for name in sorted({*names, *down})
            ]
        )

    def report(self, name: str, *models: Served, **gauges: int) -> None:
        self.fleet.load(f"default/{name}-rank-0", Load(models=models or (_BASE,), at=self.now, **gauges))  # type: ignore[arg-type]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [function for at, function in self.put_off if at <= self.now]
        self.put_off = [(at, function) for at, function in self.put_off if at > self.now]
        for function in due:
            function()

    def tell(self, worker: int) -> None:
        latest = self.shared.latest
        put, gone = latest.since(self.applied[worker])
        message = encode(News(latest.version, list(put), list(gone)))
        news = msgspec.msgpack.decode(message, type=News)
        self.pictures[worker].take(read(news))
        self.applied[worker] = news.version
        latest.forget(min(self.applied))
        self.shared.ledger.rested(min(self.applied))

    def agree(self, worker: int) -> None:
        picture = self.pictures[worker]
        assert picture.views.keys() == self.fleet.views.keys()
        assert picture.base_models == self.fleet.base_models
        for name, view in self.fleet.views.items():
            seen = picture.views[name]
            for field in PoolView.__struct_fields__:
                if field not in ("standing", "budget"):
                    assert getattr(seen, field) == getattr(view, field), field
            assert seen.standing.endpoints == view.standing.endpoints
            assert seen.standing.loads == view.standing.loads


def _pool(name: str = "pool", **options: object) -> Pool:
    return Pool(f"default/{name}", "default", {"app": "vllm"}, (8000,), **options)  # type: ignore[arg-type]


_POOLS = {
    "a": _pool("a", health=HealthCheck(), models={"m": Model("m", 1, (Target("food"),))}),
    "b": _pool("b"),
    "s": _pool("s", kind="service"),
}
_names = st.sampled_from(["p1", "p2", "p3"])
_events = st.one_of(
    st.tuples(st.just("plan"), st.sets(st.sampled_from("abs"))),
    st.tuples(st.just("serve"), st.sets(_names), st.sets(_names), st.sampled_from([8000, 9000])),
    st.tuples(st.just("report"), _names, st.sampled_from([(_BASE,), (_BASE, _FOOD)]), st.integers(0, 9)),
    st.tuples(st.just("health"), _names, st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.02, 61.0])),
    st.tuples(st.just("tell"), st.integers(0, 1)),
)


@settings(max_examples=150)
@given(st.lists(_events, max_size=30))
def test_a_worker_that_has_heard_sees_what_the_controller_sees(events: list[tuple[object, ...]]) -> None:
    world = _World()
    for kind, *rest in events:
        if kind == "plan":
            world.plan(*(_POOLS[name] for name in sorted(rest[0])))  # type: ignore[call-overload]
        elif kind == "serve":
            world.serve(*rest[0], down=tuple(rest[1]), port=rest[2])  # type: ignore[misc, arg-type]
        elif kind == "report":
            world.report(rest[0], *rest[1], waiting=rest[2])  # type: ignore[misc, arg-type]
        elif kind == "health":
            world.fleet.health(f"default/{rest[0]}-rank-0", rest[1])  # type: ignore[arg-type]
        elif kind == "wait":
            world.wait(rest[0])  # type: ignore[arg-type]
        else:
            world.tell(rest[0])  # type: ignore[arg-type]
    world.wait(0.02)
    for worker in range(2):
        world.tell(worker)
        world.agree(worker)
    counts = [view.standing.endpoints for view in world.fleet.views.values()]
    for endpoint in {one.name for endpoints in counts for one in endpoints}:
        before = world.pictures[1].ledger.count(endpoint)
        world.pictures[0].ledger.take(endpoint)
        assert world.pictures[1].ledger.count(endpoint) == world.fleet.ledger.count(endpoint) == before + 1


def _running(world: _World) -> None:
    world.plan(_pool())
    world.serve("p1", "p2")
    world.report("p1")
    world.report("p2")
    for worker in range(2):
        world.tell(worker)


def test_a_worker_chooses_with_what_the_others_have_in_flight() -> None:
    world = _World()
    _running(world)
    for _ in range(3):
        world.pictures[0].ledger.take("default/p1-rank-0")
    view = world.pictures[1].views["default/pool"]
    decision = choose(Ask("base"), view.standing, view.profile, lambda: 0.0)
    assert decision.endpoint is not None
    assert decision.endpoint.name == "default/p2-rank-0"
    assert sorted(decision.in_flight) == [0, 3]


def test_loads_alone_wake_nobody_and_what_else_changes_does() -> None:
    world = _World()
    _running(world)
    for woken in world.woken:
        woken.clear()
    view = world.pictures[0].views["default/pool"]
    world.report("p1", waiting=4)
    world.wait(0.02)
    world.tell(0)
    assert world.pictures[0].views["default/pool"] is view
    assert sorted(load.waiting or 0 for load in view.standing.loads) == [0, 4]
    assert world.woken[0] == []
    world.report("p1", _BASE, _FOOD)
    world.tell(0)
    assert world.woken[0] == ["default/pool"]
    world.plan()
    world.tell(0)
    assert world.woken[0] == ["default/pool"] * 2


def test_a_cache_that_was_lost_is_forgotten_also_by_who_heard_of_it_late() -> None:
    world = _World()
    _running(world)
    for picture in world.pictures:
        picture.prefixes.record(_RUNGS, "default/p1-rank-0")
        picture.prefixes.record(_RUNGS, "default/p2-rank-0")
    world.serve("p2", down=("p1",))
    world.serve("p1", "p2")
    world.report("p1")
    for worker, picture in enumerate(world.pictures):
        world.tell(worker)
        assert set(picture.prefixes.match(_RUNGS)) == {"default/p2-rank-0"}
    world.serve("p1")  # p2 is gone for good
    world.tell(0)
    assert set(world.pictures[0].prefixes.match(_RUNGS)) == set()


def test_a_column_is_nobody_elses_while_a_worker_may_still_count_in_it() -> None:
    world = _World()
    _running(world)
    first, second = world.pictures
    second.ledger.take("default/p1-rank-0")
    world.serve("p2", "p3")
    world.report("p3")
    world.tell(0)
    # The second worker has not heard that p1 is gone: what it counts there must not be counted for p3.
    assert first.ledger.count("default/p3-rank-0") == 0
    second.ledger.take("default/p1-rank-0")
    assert first.ledger.count("default/p3-rank-0") == 0
    world.tell(1)
    world.serve("p2", "p3", "p4")
    for worker in range(2):
        world.tell(worker)
    assert [picture.ledger.count("default/p4-rank-0") for picture in world.pictures] == [0, 0]
    second.ledger.give("default/p1-rank-0")
    assert world.fleet.ledger.total() == 0


def test_columns_are_given_again_and_stay_few() -> None:
    world = _World()
    world.plan(_pool())
    for number in range(1, 200):
        world.serve(f"p{number}", f"p{number + 1}")
        for worker in range(2):
            world.tell(worker)
    columns = world.fleet.ledger._columns  # type: ignore[attr-defined]
    assert len(columns) == 2
    assert max(columns.values()) < 6


def test_what_a_dead_worker_had_in_flight_is_given_back() -> None:
    world = _World()
    _running(world)
    for picture in world.pictures:
        picture.ledger.take("default/p1-rank-0")
    world.shared.counters.clear(1)
    assert world.pictures[0].ledger.count("default/p1-rank-0") == 1


def test_workers_tell_of_failures_and_of_successes_only_where_somebody_fails() -> None:
    world = _World()
    judges = [picture.judge for picture in world.pictures]
    judges[0].passed("e")
    assert world.told == []
    judges[0].failed("e", "refused")
    judges[0].passed("e")
    judges[0].passed("e")
    assert world.told == [Failed("e", "refused"), Passed("e")]
    world.shared.latest.put("failing", "", ("e",))
    world.tell(1)
    assert judges[1].failing == {"e"}
    judges[1].passed("e")
    assert world.told[2:] == [Passed("e")]


def test_an_ejection_reaches_all_workers() -> None:
    world = _World()
    world.plan(_POOLS["b"])
    world.serve("p1", "p2")
    world.report("p1")
    world.report("p2")
    for _ in range(5):
        world.fleet.judge.failed("default/p1-rank-0", "refused")
    for worker in range(2):
        world.tell(worker)
        world.agree(worker)
        view = world.pictures[worker].views["default/b"]
        assert [one.ejected for one in view.standing.endpoints] == [True, False]
        chosen = choose(Ask("base"), view.standing, view.profile, lambda: 0.0).endpoint
        assert chosen is not None
        assert chosen.name == "default/p2-rank-0"
