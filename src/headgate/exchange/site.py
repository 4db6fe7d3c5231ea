"""What an exchange consults: the routes of one socket address, and the pools behind them as they are now.

The edge makes a new Site when the plan changes, and replaces a pool's view when its endpoints or their model lists
change. An exchange reads it and changes nothing.
"""

import operator
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from headgate.exchange.budget import Budget
from headgate.exchange.edits import ServedAt
from headgate.exchange.keys import Gate
from headgate.exchange.resolve import Resolution
from headgate.exchange.router import Asking, CompiledRoute, Router, Routes, find_route
from headgate.fleet.endpoint import Served
from headgate.flow.control import Control
from headgate.pick.profile import Profile
from headgate.pick.saturation import saturation
from headgate.pick.shadow import Shadow
from headgate.pick.standing import Standing
from headgate.plan.plan import Backend, Cors, Mirror, Pool, Route

CHAT = "/v1/chat/completions"
_PATHS = (CHAT, "/v1/completions", "/v1/embeddings", "/")


class PoolView(Struct):
    """A pool and its endpoints.

    `served` unites the model lists of the endpoints that are ready; `listed` says that at least one such list is known:
    only then is a model that is not in `served` known to be missing. `declared` are the models that are expected here
    although no endpoint may serve them at the moment: those of InferenceModels and rules, and those served lately.
    `control` has the queues, where requests queue.
    """

    pool: Pool
    standing: Standing
    profile: Profile
    served: Mapping[str, Served] = {}
    listed: bool = False
    declared: frozenset[str] = frozenset()
    ray: bool = False
    budget: Budget = msgspec.field(default_factory=Budget)
    shadow: Shadow | None = None
    control: Control | None = None

    def spend(self, now: float) -> bool:
        """Whether one more request may be sent again; if so, that is counted."""
        count = self.standing.ledger.count
        return self.budget.spend(sum([count(endpoint.name) for endpoint in self.standing.endpoints]), now)

    def saturated(self, now: float) -> bool:
        """Whether what may be shed is shed now."""
        return bool(self.standing.endpoints) and saturation(self.standing, now, self.profile.detector) >= 1.0

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
    retry_codes: frozenset[int] = frozenset({502, 503})  # answers of model servers for which another one is tried
    wait_s: float = 30.0  # for an endpoint, while a pool that has some has none that is ready
    debug_headers: bool = False
    request_s: float | None = None  # for the whole of one; None no limit
    lists_models: bool = True  # /v1/models is answered from what all pools serve
    needs_model: bool = False  # a body for OpenAI's interface that names none is refused, not left to the server


class Way(Struct, frozen=True, gc=False):
    """What requests of one method, target, host and model have in common, where their other headers change nothing.

    `start` is the request line and the Host header for the server; `resolution` that of the model, None where it takes
    dice; `own` the header lines that name the model, as long as `base` is its base model; `edited` says that the route
    wants request headers or the target changed, `dressed` the same of the answer's headers; `bare` that it has neither
    sessions nor mirrors, nor a time for one attempt; `inference` that the pool is one of model servers; `counted` that
    the usage in answers is accounted, `asks` that streams are asked for it; `gate` lets in who has a key, None
    everybody.
    """

    method: str
    host: str
    path: str  # as it is recorded
    routes: Routes
    route: Route
    backend: Backend
    pool: str
    start: bytes
    resolution: Resolution | None
    base: str
    own: bytes
    edited: bool = False
    dressed: bool = False
    bare: bool = True
    inference: bool = False
    cors: Cors | None = None
    mirrors: tuple[Mirror, ...] = ()
    counted: bool = False
    asks: bool = False
    gate: Gate | None = None


class Reached(Struct, frozen=True):
    """The models that can be reached through `routes`, for as long as these are the views and the models' bases.

    `views` go with `pools`, None for a pool that is not there.
    """

    routes: Routes
    pools: tuple[str, ...]
    views: tuple[PoolView | None, ...]
    names: tuple[str, ...]
    bases: tuple[str | None, ...]
    models: Mapping[str, Served]


class Site(Struct):
    """`pools` is one mapping, kept current by the edge, that all sites share; `started` is Unix time in seconds.

    `ways` and `reached` (by the routes' identity) remember what was found out for earlier requests: the plan does not
    change under a Site.
    """

    router: Router
    pools: Mapping[str, PoolView]
    base_models: Mapping[str, str]  # adapter or model → base model: what servers report over what configuration says
    dice: Callable[[], float]
    limits: Limits = Limits()
    started: int = 0
    epoch: float = 0.0  # Unix time at 0 of the clock that events are told by
    scheme: bytes = b"http"
    served_at: tuple[ServedAt, ...] = ()  # all listeners of the gateway
    ways: dict[tuple[bytes, bytes, bytes, str], Way] = msgspec.field(default_factory=dict)
    reached: dict[int, Reached] = msgspec.field(default_factory=dict)

    def base_of(self, model: str) -> str:
        """The base model of an adapter, a base model's own name, or "" for a name that nobody knows."""
        return self.base_models.get(model, "")


def reachable(site: Site, routes: Routes) -> Mapping[str, Served]:
    """The models that a client can ask for through these routes, by id, sorted.

    A model counts when a chat request for it (or any request, where no route takes chat) would get to a pool that
    offers it: routes may let only some of a pool's models pass. Found out once, until the edge replaces a view: any
    client can ask for what is not there, and shall not make that dear.
    """
    known = site.reached.get(id(routes))
    if known is None or not _holds(known, site):
        known = site.reached[id(routes)] = _reach(site, routes)
    return known.models


def _holds(known: Reached, site: Site) -> bool:
    return (
        all(map(operator.is_, map(site.pools.get, known.pools), known.views))
        and tuple(map(site.base_models.get, known.names)) == known.bases
    )


def _reach(site: Site, routes: Routes) -> Reached:
    pools = tuple(sorted({b.pool for c in routes for b in c.route.backends if b.pool is not None and b.weight > 0}))
    views = tuple(map(site.pools.get, pools))
    names = sorted({name for view in views if view for name in (*view.served, *view.pool.models)})
    found: dict[str, Served] = {}
    for path in _PATHS:
        for_all, for_one = _by_model(routes, path)
        for name in names:
            if name in found:
                continue
            taking = tuple([c for _, c in sorted((*for_all, *for_one.get(name, ())), key=lambda ranked: ranked[0])])
            route = find_route(taking, Asking("POST", path, "", name, site.base_models))
            taken = () if route is None else route.backends
            view = next((v for b in taken if (v := site.pools.get(b.pool or "")) and v.offers(name)), None)
            if view is not None:
                found[name] = _entry(site, view, name)
    bases = tuple(map(site.base_models.get, names))
    return Reached(routes, pools, views, tuple(names), bases, {name: found[name] for name in names if name in found})


_Ranked = tuple[int, CompiledRoute]


def _by_model(routes: Routes, path: str) -> tuple[list[_Ranked], dict[str, list[_Ranked]]]:
    """Those that take the path, with their ranks: for any model, and for one alone. Most routes are for one."""
    for_all: list[_Ranked] = []
    for_one: dict[str, list[_Ranked]] = {}
    for rank, compiled in enumerate(routes):
        if compiled.takes_path(path):
            headers = compiled.route.match.headers
            only = next((h.value for h in headers if h.name == "x-gateway-model-name" and h.kind == "exact"), None)
            (for_all if only is None else for_one.setdefault(only, [])).append((rank, compiled))
    return for_all, for_one


def _entry(site: Site, view: PoolView, name: str) -> Served:
    served = view.served.get(name)
    if served is not None:
        return served
    targets = view.pool.models[name].targets
    target = next((view.served[t.model] for t in targets if t.model in view.served), None)
    base = target.parent or target.id if target is not None else site.base_of(name) or None
    return Served(name, base if base != name else None, target.root if target else None)
