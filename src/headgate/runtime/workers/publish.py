"""What the controller knows, as values for its workers: pools, loads, places."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Load
from headgate.runtime.front import Place
from headgate.runtime.workers.counters import Columns, Counters, Lives, make
from headgate.runtime.workers.latest import Latest
from headgate.runtime.workers.messages import PlaceFact, PoolFact, encode_value


class Shared(Struct, frozen=True, eq=False):
    """What a fleet has in common with its workers, beside what it hands over."""

    latest: Latest
    counters: Counters
    ledger: Columns
    prefixes: Lives


def share(workers: int) -> Shared:
    """Raises OSError."""
    latest, counters = Latest(encode_value), make(workers)
    return Shared(latest, counters, Columns(counters, latest), Lives(latest))


class Publisher:
    """Writes down what has changed."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._members: dict[str, frozenset[str]] = {}  # pool → endpoints
        self._loads: dict[str, Load] = {}
        self._places: set[str] = set()
        self._plans = 0

    def pool(self, name: str, view: PoolView | None) -> None:
        """A pool as it is now, None where it is gone."""
        latest = self._shared.latest
        before = self._members.pop(name, frozenset())
        if view is None:
            latest.drop("pool", name)
        else:
            self._members[name] = frozenset(endpoint.name for endpoint in view.standing.endpoints)
            for endpoint in view.standing.endpoints:
                self._shared.ledger.admit(endpoint.name)
            latest.put("pool", name, told(view))
            self.loads(view)
        for endpoint_name in before.difference(*self._members.values()):
            self._loads.pop(endpoint_name, None)
            latest.drop("load", endpoint_name)
            latest.drop("models", endpoint_name)
            self._shared.prefixes.leave(endpoint_name)

    def loads(self, view: PoolView) -> None:
        """Apart from the models, which change seldom, and may be many."""
        latest = self._shared.latest
        for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True):
            if self._loads.get(endpoint.name) is not load:
                self._loads[endpoint.name] = load
                latest.put("load", endpoint.name, replace(load, models=None))
                latest.put("models", endpoint.name, load.models)

    def plan(self, places: Sequence[Place]) -> None:
        """A new plan, or more sockets. What was found out under the plan before must be forgotten, places or not."""
        latest = self._shared.latest
        self._plans += 1
        latest.put("plan", "", self._plans)
        now = {str(place.binding.number): place for place in places}
        for name in self._places - now.keys():
            latest.drop("place", name)
        self._places = set(now)
        for name, place in now.items():
            binding = place.binding
            listeners = tuple(place.listeners)
            latest.put("place", name, PlaceFact(binding.number, binding.address, binding.port, listeners, place.served))


def told(view: PoolView) -> PoolFact:
    """What a picture needs to know of a view, but for loads."""
    return PoolFact(view.pool, view.standing.endpoints, view.served, view.listed, view.declared, view.ray)
