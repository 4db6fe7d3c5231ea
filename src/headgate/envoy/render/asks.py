"""What only the exchange knows: which of the routes Envoy can not serve without asking it.

Everything else Envoy does by itself, and that costs no look at the body.
"""

from collections.abc import Mapping, Sequence

from headgate.envoy.render.cors import speaks_for_all
from headgate.envoy.render.matches import is_exact
from headgate.plan.plan import Listener, Pool, Route


def asks(route: Route, pools: Mapping[str, Pool]) -> bool:
    """Keys, sessions, models, endpoints that are chosen, and answers that depend on what a page asked for."""
    reached = [pools.get(backend.pool or "") for backend in route.backends]
    return bool(
        route.ring
        or route.session is not None
        or not is_exact(route.match)
        or any(pool is not None and pool.kind == "inference" for pool in reached)
        or any(speaks_for_all(cors) for cors in (route.cors, *(backend.cors for backend in route.backends)))
    )


def any_asks(listeners: Sequence[Listener], pools: Mapping[str, Pool]) -> bool:
    return any(one.ring or any(asks(route, pools) for route in one.routes) for one in listeners)
