"""A worker's picture of the fleet: made of what the controller hands over, and read by requests like a Fleet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Load, Served
from headgate.fleet.prefix import PrefixIndex
from headgate.fleet.shared import SharedLedger
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.room import Room
from headgate.plan.plan import Plan
from headgate.runtime.standings import Standings
from headgate.runtime.workers.latest import Key
from headgate.runtime.workers.messages import Failed, News, Passed, PlaceFact, PoolFact, seal

_KINDS: dict[str, Any] = {
    "bases": dict[str, str],
    "column": int,
    "failing": tuple[str, ...],
    "life": int,
    "load": Load,
    "models": tuple[Served, ...] | None,
    "place": PlaceFact,
    "plan": int,
    "pool": PoolFact,
}
_DECODE = {kind: msgspec.msgpack.Decoder(of, dec_hook=seal).decode for kind, of in _KINDS.items()}
_Value = tuple[str, str, Any]


class Changes(Struct, frozen=True, eq=False):
    """News, read."""

    put: Sequence[_Value]
    gone: Sequence[Key]

    @property
    def planned(self) -> bool:
        """Whether there is a new plan, whose places must be served."""
        return any(kind == "plan" for kind, _, _ in self.put)

    def of(self, kind: str) -> dict[str, Any]:
        return {name: value for sort, name, value in self.put if sort == kind}


def read(news: News) -> Changes:
    return Changes([(fact.kind, fact.name, _DECODE[fact.kind](fact.value)) for fact in news.put], news.gone)


class Witness:
    """Tells the controller how endpoints do, as far as it wants to know."""

    def __init__(self, tell: Callable[[Failed | Passed], None]) -> None:
        self._tell = tell
        self.failing: set[str] = set()

    def failed(self, endpoint: str, why: str, *, probe: bool = False) -> None:
        self.failing.add(endpoint)
        self._tell(Failed(endpoint, why))

    def passed(self, endpoint: str) -> None:
        if endpoint in self.failing:
            self.failing.discard(endpoint)
            self._tell(Passed(endpoint))


class Picture:
    """Mutable. `changed(pool)` is called when a pool's endpoints or models are others than before.

    `loaded(pool)`: its endpoints have reported, and nothing else. `tell` is for the controller's judge, `later` as for
    a Fleet. `share` is how many processes serve.
    """

    def __init__(
        self,
        ledger: SharedLedger,
        changed: Callable[[str], None],
        tell: Callable[[Failed | Passed], None],
        later: Callable[[float, Callable[[], None]], object],
        slow_start_s: float,
        room: Room | None,
        profile: Profile = DEFAULT,
        queueing: bool = False,
        share: int = 1,
        loaded: Callable[[str], None] = lambda pool: None,
    ) -> None:
        self.ledger = ledger
        self.judge = Witness(tell)
        self.prefixes = PrefixIndex()
        self.views: dict[str, PoolView] = {}
        self.base_models: dict[str, str] = {}
        self.places: dict[str, PlaceFact] = {}
        self._changed = changed
        self._pools: dict[str, PoolFact] = {}
        self._gauges: dict[str, Load] = {}
        self._models: dict[str, tuple[Served, ...] | None] = {}
        self._loads: dict[str, Load] = {}  # both of them together
        self._standings = Standings(
            ledger,
            self.prefixes,
            self._grow,
            later,
            slow_start_s=slow_start_s,
            room=room,
            profile=profile,
            queueing=queueing,
            share=share,
        )
        self.controls = self._standings.controls
        self._loaded = loaded

    def plan(self, changes: Changes) -> Plan:
        """The plan that there will be, as far as workers have it: listeners and pools."""
        places, pools = self.places | changes.of("place"), self._pools | changes.of("pool")
        gone = set(changes.gone)
        listeners = [one for name, fact in places.items() if ("place", name) not in gone for one in fact.listeners]
        return Plan(tuple(listeners), {name: fact.pool for name, fact in pools.items() if ("pool", name) not in gone})

    def take(self, changes: Changes) -> None:
        """Afterwards everything is as they say."""
        changed: set[str] = set()
        loaded: set[str] = set()
        for kind, name in changes.gone:
            self._drop(kind, name, changed)
        for kind, name, value in changes.put:
            self._put(kind, name, value, changed, loaded)
        for name in loaded:
            gauges, models = self._gauges.get(name), self._models.get(name)
            if gauges is not None:
                self._loads[name] = replace(gauges, models=models)
        for pool, fact in self._pools.items():
            if pool in changed:
                self.views[pool] = self._view(fact)
            elif any(endpoint.name in loaded for endpoint in fact.endpoints):
                self.views[pool].standing = self._standings.make(fact.pool, fact.endpoints, self._loads)
                self._loaded(pool)
        for pool in sorted(changed):
            self._changed(pool)

    def _put(self, kind: str, name: str, value: Any, changed: set[str], loaded: set[str]) -> None:
        if kind == "load":
            self._gauges[name] = value
            self.prefixes.fit(name, value.capacity)
            loaded.add(name)
        elif kind == "models":
            self._models[name] = value
            loaded.add(name)
        elif kind == "pool":
            self._pools[name] = value
            changed.add(name)
        elif kind == "column":
            self.ledger.assign(name, value)
        elif kind == "life":
            self.prefixes.forget(name)
        elif kind == "bases":
            self.base_models.clear()
            self.base_models.update(value)
        elif kind == "place":
            self.places[name] = value
        elif kind == "failing":
            self.judge.failing = set(value)

    def _drop(self, kind: str, name: str, changed: set[str]) -> None:
        if kind == "pool":
            self._pools.pop(name, None)
            self.views.pop(name, None)
            self._standings.forget(name)
            changed.add(name)
        elif kind == "column":
            self.ledger.forget(name)
        elif kind == "life":
            self.prefixes.forget(name)
        elif kind == "place":
            self.places.pop(name, None)
        else:
            (self._gauges if kind == "load" else self._models).pop(name, None)
            self._loads.pop(name, None)

    def ended(self, requests: Mapping[str, int]) -> None:
        """So many requests of these pools have ended."""
        self._standings.ended(requests)

    def _grow(self, pool: str) -> None:
        fact = self._pools.get(pool)
        if fact is not None:
            self.views[pool].standing = self._standings.make(fact.pool, fact.endpoints, self._loads)

    def _view(self, fact: PoolFact) -> PoolView:
        standing = self._standings.make(fact.pool, fact.endpoints, self._loads)
        return PoolView(
            pool=fact.pool,
            standing=standing,
            profile=self._standings.profile(fact.pool),
            served=fact.served,
            listed=fact.listed,
            declared=fact.declared,
            ray=fact.ray,
            budget=self._standings.budget(fact.pool.name),
            control=self._standings.control(fact.pool, standing),
        )
