"""The fleet as it is: servers that run, what they report, and the pools' views made of both.

Everything slow goes through here; what the data plane reads (`views`) is always whole and current.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

import msgspec

from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Endpoint, Load, Served, Server
from headgate.fleet.ledger import Ledger
from headgate.fleet.members import members
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.profile import DEFAULT, SERVICE
from headgate.pick.standing import Standing
from headgate.plan.plan import Plan, Pool

_SETTLE_S = 0.01  # loads that come within this time are taken together
_REMEMBER_S = 60.0  # how long a model that was served is still expected back


class Fleet:
    """Owned by the edge. `changed(pool)` is called when a pool's endpoints or models are others than before."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.ledger = Ledger()
        self.prefixes = PrefixIndex()
        self.views: dict[str, PoolView] = {}
        self.base_models: dict[str, str] = {}
        self._changed = changed
        self._plan = Plan()
        self._expected: Mapping[str, frozenset[str]] = {}
        self._servers: tuple[Server, ...] = ()
        self._loads: dict[str, Load] = {}
        self._asked: set[str] = set()  # endpoints whose metrics and models were asked for at least once
        self._sick: set[str] = set()  # endpoints that fail their health check
        self._seen: dict[str, dict[str, float]] = {}  # pool → model → when it was last served
        self._stale: set[str] = set()
        self._pools_of: dict[str, list[str]] = {}  # endpoint → pools

    # What changes.

    def plan(self, plan: Plan, expected: Mapping[str, frozenset[str]]) -> None:
        """`expected`: adapters by pool that somebody was told to load there."""
        self._plan = plan
        self._expected = expected
        for gone in self.views.keys() - plan.pools.keys():
            del self.views[gone]
            self._changed(gone)
        self._rebuild(plan.pools)

    def servers(self, servers: Sequence[Server]) -> None:
        self._servers = tuple(servers)
        self._rebuild(self._plan.pools)

    def load(self, endpoint: str, load: Load) -> None:
        """An endpoint has reported (or was asked in vain)."""
        new = endpoint not in self._asked
        self._asked.add(endpoint)
        before = self._loads.get(endpoint)
        self._loads[endpoint] = load
        if new or before is None or before.models != load.models:
            self._rebuild(self._pools(endpoint))
            return
        if not self._stale:
            asyncio.get_running_loop().call_later(_SETTLE_S, self._refresh)
        self._stale.update(self._pools_of.get(endpoint, ()))

    def health(self, endpoint: str, healthy: bool) -> None:
        (self._sick.discard if healthy else self._sick.add)(endpoint)
        self._rebuild(self._pools(endpoint))

    # What follows from it.

    def endpoints(self, *, kind: str | None = None) -> dict[str, Endpoint]:
        """Endpoints that run, by name, whether or not they are let serve already."""
        return {
            endpoint.name: endpoint
            for pool in self._plan.pools.values()
            if kind is None or pool.kind == kind
            for endpoint in self._members(pool)
        }

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

    def load_of(self, endpoint: str) -> Load:
        return self._loads.get(endpoint, Load())

    def _pools(self, endpoint: str) -> dict[str, Pool]:
        pools = self._plan.pools
        return {name: pools[name] for name in self._pools_of.get(endpoint, ()) if name in pools}

    def _members(self, pool: Pool) -> tuple[Endpoint, ...]:
        return members(pool.namespace, pool.selector, pool.ports, self._servers)

    def _rebuild(self, pools: Mapping[str, Pool]) -> None:
        found = {name: self._members(pool) for name, pool in pools.items()}
        self._forget_those_that_left(found)
        for name, endpoints in found.items():
            for endpoint in endpoints:
                of = self._pools_of.setdefault(endpoint.name, [])
                if name not in of:
                    of.append(name)
        for name, pool in pools.items():
            self._view(pool, tuple(self._let_serve(pool, endpoint) for endpoint in found[name]))

    def _let_serve(self, pool: Pool, endpoint: Endpoint) -> Endpoint:
        """A server takes requests once it was asked what it serves: a restarted one has lost its adapters."""
        ready = endpoint.ready and endpoint.name not in self._sick
        if pool.kind == "inference":
            ready = ready and endpoint.name in self._asked
        return endpoint if ready == endpoint.ready else msgspec.structs.replace(endpoint, ready=ready)

    def _forget_those_that_left(self, found: Mapping[str, tuple[Endpoint, ...]]) -> None:
        running = {endpoint.name for endpoints in found.values() for endpoint in endpoints if endpoint.ready}
        for name, pools in list(self._pools_of.items()):
            if name in running or not any(pool in found for pool in pools):
                continue
            self._asked.discard(name)
            if self._loads.pop(name, None) is not None:
                self.prefixes.forget(name)  # its cache is gone with it
            listed = {endpoint.name for pool in pools for endpoint in found.get(pool, ())}
            if name not in listed:
                del self._pools_of[name]
                self._sick.discard(name)
                self.ledger.forget(name)

    def _view(self, pool: Pool, endpoints: tuple[Endpoint, ...]) -> None:
        before = self.views.get(pool.name)
        ready = [endpoint for endpoint in endpoints if endpoint.ready and not endpoint.draining]
        lists = [models for endpoint in ready if (models := self.load_of(endpoint.name).models)]
        served: dict[str, Served] = {entry.id: entry for models in lists for entry in models}
        now = monotonic()
        seen = self._seen.setdefault(pool.name, {})
        seen.update(dict.fromkeys(served, now))
        for model in [model for model, at in seen.items() if now - at > _REMEMBER_S]:
            del seen[model]
        expected = {t.model for m in pool.models.values() for t in m.targets} | set(pool.models) | set(seen)
        expected |= {t.model for rule in pool.rules for t in rule.targets}
        view = PoolView(
            pool=pool,
            standing=Standing(pool.name, endpoints, self._loads, self.ledger, self.prefixes),
            profile=DEFAULT if pool.kind == "inference" else SERVICE,
            served=served,
            listed=bool(lists),
            declared=self._expected.get(pool.name, frozenset()) | expected,
            ray=any(endpoint.ray for endpoint in endpoints),
        )
        self.views[pool.name] = view
        if before is None or before.standing.endpoints != endpoints or before.served != served or before.pool != pool:
            self._bases()
            self._changed(pool.name)

    def _refresh(self) -> None:
        stale, self._stale = self._stale, set()
        for name in stale:
            view = self.views.get(name)
            if view is not None:
                old = view.standing
                view.standing = Standing(old.pool, old.endpoints, self._loads, self.ledger, self.prefixes)

    def _bases(self) -> None:
        """What servers report counts more than what configuration says. The mapping stays the same object."""
        bases = dict(self._plan.base_models)
        for view in self.views.values():
            for entry in view.served.values():
                bases[entry.id] = entry.parent or entry.id
            for model in view.pool.models.values():
                target = next((t.model for t in model.targets if t.model in bases), None)
                if target is not None:
                    bases.setdefault(model.name, bases[target])
        self.base_models.clear()
        self.base_models.update(bases)
