"""What an exchange consults: the routes of one socket address, and the pools behind them as they are now.

The edge makes a new Site when the plan changes, and replaces a pool's view when its endpoints or their model lists
change. An exchange reads it and changes nothing.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from headgate.exchange.router import Asking, Router, Routes, find_route
from headgate.fleet.endpoint import Served
from headgate.pick.profile import Profile
from headgate.pick.standing import Standing
from headgate.plan.plan import Backend, Pool, Route

CHAT = "/v1/chat/completions"


class PoolView(Struct):
    """A pool and its endpoints.

    `served` unites the model lists of the endpoints that are ready; `listed` says that at least one such list is known:
    only then is a model that is not in `served` known to be missing. `declared` are the models that are expected here
    although no endpoint may serve them at the moment: those of InferenceModels and rules, and those served lately.
    """

    pool: Pool
    standing: Standing
    profile: Profile
    served: Mapping[str, Served] = {}
    listed: bool = False
    declared: frozenset[str] = frozenset()
    ray: bool = False

    def lacks(self, model: str) -> bool:
        """Whether no endpoint serves `model` now, as far as is known."""
        return self.listed and model not in self.served

    def offers(self, model: str) -> bool:
        """Whether a client may ask for `model` here."""
        if model in self.served:
            return True
        declared = self.pool.models.get(model)
        return declared is not None and (
            not self.listed or not declared.targets or any(t.model in self.served for t in declared.targets)
        )


class Limits(Struct, frozen=True):
    """Seconds and counts that hold where no manifest says otherwise."""

    tries: int = 3  # the first, and two more
    wait_s: float = 30.0  # for an endpoint, while a pool that has some has none that is ready
    debug_headers: bool = False


class Way(Struct, frozen=True, gc=False):
    """What requests of one method, target, host and model have in common, where their other headers change nothing.

    `start` is the request line and the Host header for the server.
    """

    method: str
    host: str
    path: str  # as it is recorded
    routes: Routes
    route: Route
    backend: Backend
    pool: str
    start: bytes


class Site(Struct):
    """`pools` is one mapping, kept current by the edge, that all sites share; `started` is Unix time in seconds.

    `ways` remembers what was found out for earlier requests: the plan does not change under a Site.
    """

    router: Router
    pools: Mapping[str, PoolView]
    base_models: Mapping[str, str]  # adapter or model → base model: what servers report over what configuration says
    dice: Callable[[], float]
    limits: Limits = Limits()
    started: int = 0
    ways: dict[tuple[bytes, bytes, bytes, str], Way] = msgspec.field(default_factory=dict)

    def base_of(self, model: str) -> str:
        """The base model of an adapter, a base model's own name, or "" for a name that nobody knows."""
        return self.base_models.get(model, "")


def reachable(site: Site, routes: Routes) -> dict[str, Served]:
    """The models that a client can ask for through these routes, by id, sorted.

    A model counts when a chat request for it (or any request, where no route takes chat) would get to a pool that
    offers it: routes may let only some of a pool's models pass.
    """
    pools = {b.pool for c in routes for b in c.route.backends if b.pool is not None and b.weight > 0}
    views = [site.pools[name] for name in sorted(pools) if name in site.pools]
    names = {name for view in views for name in (*view.served, *view.pool.models)}
    found: dict[str, Served] = {}
    for name in sorted(names):
        for path in (CHAT, "/v1/completions", "/v1/embeddings", "/"):
            route = find_route(routes, Asking("POST", path, "", name, site.base_models))
            taken = () if route is None else route.backends
            view = next((v for b in taken if (v := site.pools.get(b.pool or "")) and v.offers(name)), None)
            if view is not None:
                found[name] = _entry(site, view, name)
                break
    return found


def _entry(site: Site, view: PoolView, name: str) -> Served:
    served = view.served.get(name)
    if served is not None:
        return served
    targets = view.pool.models[name].targets
    target = next((view.served[t.model] for t in targets if t.model in view.served), None)
    base = target.parent or target.id if target is not None else site.base_of(name) or None
    return Served(name, base if base != name else None, target.root if target else None)
