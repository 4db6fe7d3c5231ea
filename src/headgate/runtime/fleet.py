"""The fleet as it is: servers that run, what they report, and the pools' views made of both.

Everything slow goes through here; what the data plane reads (`views`) is always whole and current.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic

from msgspec.structs import replace

from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Endpoint, Load, Served, Server
from headgate.fleet.ledger import Ledger
from headgate.fleet.members import by_label, members, narrowed
from headgate.fleet.outliers import Ejection, EjectionRule, kept_out
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.profile import DEFAULT, Profile
from headgate.pick.room import Room
from headgate.plan.plan import Plan, Pool
from headgate.runtime.judge import Judge
from headgate.runtime.standings import Standings

_SETTLE_S = 0.01  # loads that come within this time are taken together
_REMEMBER_S = 60.0  # how long the models of an endpoint that left are expected back
_BASES = 10_000  # names of models whose base is known; adapters may come and go for months


class Fleet:
    """Owned by the edge. `changed(pool)` is called when a pool's endpoints or models are others than before.

    `loaded(pool)`: its endpoints have reported, and nothing else. `later(seconds, function)` calls the function after
    that time, `clock` counts seconds. `judge` is to be told how endpoints do; `judged` then hears what comes of it.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        loaded: Callable[[str], None],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = monotonic,
        ledger: Ledger | None = None,
        prefixes: PrefixIndex | None = None,
        judged: Callable[[str, Ejection | None], None] = lambda endpoint, ejection: None,
        rule: EjectionRule | None = None,
        slow_start_s: float = 10.0,
        room: Room | None = None,
        profile: Profile = DEFAULT,
        queueing: bool = False,
    ) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self.prefixes = PrefixIndex() if prefixes is None else prefixes
        self.views: dict[str, PoolView] = {}
        self.base_models: dict[str, str] = {}
        self._changed = changed
        self._loaded = loaded
        self._later = later
        self._clock = clock
        self._plan = Plan()
        self._expected: Mapping[str, frozenset[str]] = {}
        self._servers: tuple[Server, ...] = ()
        self._members: dict[str, tuple[Endpoint, ...]] = {}  # pool → endpoints as the servers say
        self._pools_of: dict[str, tuple[str, ...]] = {}  # endpoint → pools
        self._up: set[str] = set()  # endpoints whose server is ready
        self._loads: dict[str, Load] = {}
        self._asked: set[str] = set()  # endpoints whose metrics and models were asked for at least once
        self._sick: set[str] = set()  # endpoints that fail their health check
        self._left: dict[str, dict[str, float]] = {}  # pool → model of an endpoint that left → until when it counts
        self._reported: dict[str, str] = {}  # model → base, as servers said last
        self._kv_events: dict[str, str] = {}  # endpoint → why its prefixes do not go by them, "" where they do
        self._stale: set[str] = set()  # pools whose loads have changed
        self._refreshing = False
        self.judge = Judge(rule or EjectionRule(), self._judge, clock)
        self._judged = judged
        self._standings = Standings(
            self.ledger, self.prefixes, self._grow, later, clock, slow_start_s, room, profile, queueing
        )
        self.controls = self._standings.controls

    # What changes.

    def plan(self, plan: Plan, expected: Mapping[str, frozenset[str]]) -> None:
        """`expected`: adapters by pool that somebody was told to load there."""
        self._plan = plan
        self._expected = expected
        gone = self.views.keys() - plan.pools.keys()
        for pool in gone:
            del self.views[pool]
            self._left.pop(pool, None)
            self._standings.forget(pool)
        self._place()
        checked = {e.name for name, pool in plan.pools.items() if pool.health for e in self._members[name]}
        self._sick &= checked
        self._rebuild(plan.pools, also=gone)

    def servers(self, servers: Sequence[Server]) -> None:
        """These are the servers that run now."""
        self._servers = tuple(servers)
        before = self._members
        self._place()
        self._rebuild(name for name, endpoints in self._members.items() if before.get(name) != endpoints)

    def load(self, endpoint: str, load: Load) -> None:
        """An endpoint has reported (or was asked in vain). What comes from one that has left counts for nothing."""
        if endpoint not in self._up:
            return
        before = self._loads.get(endpoint)
        self._loads[endpoint] = load
        self.prefixes.fit(endpoint, load.capacity)
        if endpoint not in self._asked or before is None or before.models != load.models:
            self._asked.add(endpoint)
            self._rebuild(self._pools_of[endpoint])
            return
        self._stale.update(self._pools_of[endpoint])
        if not self._refreshing:
            self._refreshing = True
            self._later(_SETTLE_S, self._refresh)

    def health(self, endpoint: str, healthy: bool) -> None:
        """A health check has come to another verdict."""
        if endpoint in self._pools_of:
            (self._sick.discard if healthy else self._sick.add)(endpoint)
            if healthy:
                self.judge.forget(endpoint)
            self._rebuild(self._pools_of[endpoint])

    def _judge(self, endpoint: str, ejection: Ejection | None) -> None:
        self._eject(endpoint)
        self._judged(endpoint, ejection)

    def _eject(self, endpoint: str) -> None:
        """It is ejected, or is no longer."""
        ejection = self.judge.ejected().get(endpoint)
        if ejection is not None:
            # Timers may come a little early, and the time may have become longer.
            self._later(max(_SETTLE_S, ejection.until - self._clock()), partial(self._eject, endpoint))
        self._rebuild(self.pools_of(endpoint))

    def kv_events(self, notes: Mapping[str, str]) -> None:
        """Whose KV events are to be read, and why they are not gone by ("" where they are)."""
        before, self._kv_events = self._kv_events, dict(notes)
        for endpoint in before.keys() | notes.keys():
            if before.get(endpoint) != notes.get(endpoint):
                self._rebuild(self.pools_of(endpoint))

    def kv_event(self, endpoint: str, note: str) -> None:
        """The same of one."""
        if self._kv_events.get(endpoint, note) != note:
            self._kv_events[endpoint] = note
            self._rebuild(self.pools_of(endpoint))

    def ended(self, requests: Mapping[str, int]) -> None:
        """So many requests of these pools have ended."""
        self._standings.ended(requests)

    # What follows from it.

    def endpoints(self, *, kind: str | None = None) -> dict[str, Endpoint]:
        """Endpoints that run, by name, whether or not they are let serve already."""
        pools = self._plan.pools
        return {
            endpoint.name: endpoint
            for pool, endpoints in self._members.items()
            if kind is None or pools[pool].kind == kind
            for endpoint in endpoints
        }

    def reported(self, endpoint: str) -> Load | None:
        """What the endpoint said last."""
        return self._loads.get(endpoint)

    def pools_of(self, endpoint: str) -> tuple[str, ...]:
        return self._pools_of.get(endpoint, ())

    def missing_adapters(self) -> set[str]:
        """Expected adapters that some endpoint which is ready does not have yet."""
        return {
            adapter
            for pool, adapters in self._expected.items()
            if pool in self.views
            for endpoint, load in zip(self.views[pool].standing.endpoints, self.views[pool].standing.loads, strict=True)
            if endpoint.ready
            for adapter in adapters - {served.id for served in load.models or ()}
        }

    def why_not(self, endpoint: str) -> str:
        """Why an endpoint of a server that is ready is not let serve; "" for those that are."""
        if endpoint in self._sick:
            return "fails its health check"
        if endpoint in self._up and endpoint not in self._asked and self._is_scraped(endpoint):
            return "was not asked for its models yet"
        ejection = self.judge.ejected().get(endpoint)
        if ejection is not None:
            more = ejection.until - self._clock()
            return f"has failed again and again ({ejection.why}): ejected for {more:.0f} s more"
        return ""

    # Who belongs where.

    def _place(self) -> None:
        """Find every pool's members anew, and forget what was known of those that are not what they were."""
        before = {endpoint.name: endpoint for endpoints in self._members.values() for endpoint in endpoints}
        pools_before = self._pools_of
        places: dict[str, tuple[str, int]] = {}
        pools_of: dict[str, list[str]] = {}
        self._members = {}
        in_order = sorted(self._plan.pools.values(), key=lambda pool: (pool.kind != "inference", pool.name))
        servers = by_label(self._servers)
        for pool in in_order:
            candidates = narrowed(pool.namespace, pool.selector, servers)
            found = members(pool.namespace, pool.selector, pool.ports, candidates)
            if pool.tls is not None:
                found = tuple(replace(endpoint, tls=pool.tls.name) for endpoint in found)
            self._members[pool.name] = tuple(_distinct(endpoint, places) for endpoint in found)
            for endpoint in self._members[pool.name]:
                pools_of.setdefault(endpoint.name, []).append(pool.name)
        now = {endpoint.name: endpoint for endpoints in self._members.values() for endpoint in endpoints}
        self._up = {endpoint.name for endpoint in now.values() if endpoint.ready}
        self._pools_of = {name: tuple(pools) for name, pools in pools_of.items()}
        for name, was in before.items():
            same = name in now and _place_of(now[name]) == _place_of(was)
            if same and name in self._up:
                continue
            self._forget_state(name, pools_before[name])
            self.judge.forget(name)
            if not same:
                self._sick.discard(name)
                self.ledger.forget(name)

    def _forget_state(self, endpoint: str, pools: Iterable[str]) -> None:
        """Its process has ended, and with it its cache and what was loaded; the like of it may be back soon."""
        self._asked.discard(endpoint)
        load = self._loads.pop(endpoint, None)
        if load is None:
            return
        self.prefixes.forget(endpoint)
        until = self._clock() + _REMEMBER_S
        for pool in pools:
            if pool in self._plan.pools and load.models:
                self._left.setdefault(pool, {}).update((served.id, until) for served in load.models)
                self._later(_REMEMBER_S, partial(self._expire, pool))

    def _expire(self, pool: str) -> None:
        left = self._left.get(pool, {})
        now = self._clock()
        over = [model for model, until in left.items() if until <= now]
        for model in over:
            del left[model]
        if over:
            self._rebuild([pool])

    def _is_scraped(self, endpoint: str) -> bool:
        return any(self._plan.pools[pool].kind == "inference" for pool in self._pools_of[endpoint])

    # Views.

    def _rebuild(self, pools: Iterable[str], also: Iterable[str] = ()) -> None:
        """Make the views of these pools anew; then tell of those that differ, and of those `also`."""
        changed = [*also]
        for name in pools:
            pool = self._plan.pools.get(name)
            if pool is not None:
                before = self.views.get(name)
                view = self.views[name] = self._view(pool)
                if before is None or _differ(before, view):
                    changed.append(name)
        self._name_bases()
        for name in changed:
            self._changed(name)

    def _view(self, pool: Pool) -> PoolView:
        endpoints = tuple([self._let_serve(pool, endpoint) for endpoint in self._members[pool.name]])
        out = kept_out([e.name for e in endpoints if _serves(e)], self.judge.ejected())
        if out:
            endpoints = tuple([replace(e, ejected=True) if e.name in out else e for e in endpoints])
        served: dict[str, Served] = {}
        listed = False
        for endpoint in endpoints:
            models = self._loads[endpoint.name].models if endpoint.name in self._loads else None
            if models and endpoint.ready and not endpoint.draining:
                listed = True
                for entry in models:
                    served.setdefault(entry.id, entry)
        expected = {target.model for rule in pool.rules for target in rule.targets}
        for model in pool.models.values():
            expected.update([target.model for target in model.targets] or [model.name])
        standing = self._standings.make(pool, endpoints, self._loads)
        return PoolView(
            pool=pool,
            standing=standing,
            profile=self._standings.profile(pool),
            served=served,
            listed=listed,
            declared=self._expected.get(pool.name, frozenset()) | expected | self._left.get(pool.name, {}).keys(),
            ray=any(endpoint.ray for endpoint in endpoints),
            budget=self._standings.budget(pool.name),
            control=self._standings.control(pool, standing),
        )

    def _let_serve(self, pool: Pool, endpoint: Endpoint) -> Endpoint:
        """A server takes requests once it was asked what it serves: a restarted one has lost its adapters."""
        if endpoint.name in self._kv_events and pool.picking is not None and pool.picking.precise is not None:
            endpoint = replace(endpoint, kv_events=self._kv_events[endpoint.name])
        if not endpoint.ready:
            return endpoint
        unasked = pool.kind == "inference" and endpoint.name not in self._asked
        sick = pool.health is not None and endpoint.name in self._sick
        return replace(endpoint, ready=False) if unasked or sick else endpoint

    def _grow(self, pool: str) -> None:
        """Who has just begun to serve there gets a larger share."""
        view = self.views.get(pool)
        if view is not None:
            view.standing = self._standings.make(view.pool, view.standing.endpoints, self._loads)

    def _refresh(self) -> None:
        self._refreshing = False
        stale, self._stale = self._stale, set()
        for name in stale:
            view = self.views.get(name)
            if view is not None:
                view.standing = self._standings.make(view.pool, view.standing.endpoints, self._loads)
                self._loaded(name)

    def _name_bases(self) -> None:
        """What servers report counts more than what configuration says. The mapping stays the same object.

        What a server has said that is gone now still counts where nothing else is known: routes may match on the base
        model, and a request shall rather wait for a server that restarts than be refused.
        """
        views = [self.views[name] for name in sorted(self.views, reverse=True)]
        reported = {entry.id: entry.parent or entry.id for view in views for entry in view.served.values()}
        if len(self._reported) > _BASES:
            self._reported.clear()
        self._reported.update(reported)
        bases = {**self._reported, **self._plan.base_models, **reported}
        for view in views:
            for model in view.pool.models.values():
                target = next((target.model for target in model.targets if target.model in bases), None)
                if target is not None:
                    bases.setdefault(model.name, bases[target])
        if bases != self.base_models:
            self.base_models.clear()
            self.base_models.update(bases)


def _serves(endpoint: Endpoint) -> bool:
    return endpoint.ready and not endpoint.draining


def _distinct(endpoint: Endpoint, places: dict[str, tuple[str, int]]) -> Endpoint:
    """The endpoint, under a name that no other place has: pools may want different ports of one server."""
    place = _place_of(endpoint)
    if places.setdefault(endpoint.name, place) == place:
        return endpoint
    other = f"{endpoint.name}:{endpoint.port}"
    places[other] = place
    return replace(endpoint, name=other)


def _place_of(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.address, endpoint.port


def _differ(before: PoolView, after: PoolView) -> bool:
    return (
        before.standing.endpoints != after.standing.endpoints
        or before.served != after.served
        or before.pool != after.pool
        or before.declared != after.declared
    )
