"""GET /v1/models, answered here: the union of what is reachable, in the form of the servers' own answers."""

from collections.abc import Mapping
from itertools import islice
from urllib.parse import unquote

import msgspec

from headgate.exchange.events import Respond
from headgate.exchange.refuse import JSON, refuse
from headgate.exchange.router import Asking, Routes, find_route
from headgate.exchange.site import Site, reachable
from headgate.fleet.endpoint import Served

PATH = "/v1/models"
_NAMED = 20  # models named in a refusal


def asks_for_models(method: str, path: str) -> bool:
    return path.startswith(PATH) and method in ("GET", "HEAD") and path[len(PATH) : len(PATH) + 1] in ("", "/")


def list_models(path: str, site: Site, routes: Routes) -> Respond | None:
    """The answer to GET /v1/models or below. None where it is not ours to give.

    That is, where no inference pool is behind these routes, or where a route of its own takes this very path to
    something else. `created` is when the gateway started: servers do not agree on it.
    """
    backends = [(c.route, site.pools.get(b.pool or "")) for c in routes for b in c.route.backends]
    if not any(view is not None and view.pool.kind == "inference" for _, view in backends):
        return None
    taken = find_route(routes, Asking("GET", path, "", "", site.base_models))
    if taken is not None and taken.match.path.startswith(PATH):
        views = [view for route, view in backends if route is taken and view is not None]
        if not any(view.pool.kind == "inference" for view in views):
            return None
    models = reachable(site, routes)
    if path.rstrip("/") == PATH:
        data = [_card(served, site.started) for served in models.values()]
        return Respond(200, JSON, msgspec.json.encode({"object": "list", "data": data}))
    name = unquote(path[len(PATH) + 1 :])
    if name not in models:
        return unknown_model(name, models)
    return Respond(200, JSON, msgspec.json.encode(_card(models[name], site.started)))


def unknown_model(name: str, models: Mapping[str, Served]) -> Respond:
    """404 that names what is served; `models` is sorted."""
    known = ", ".join(islice(models, _NAMED)) + (f" and {len(models) - _NAMED} more" if len(models) > _NAMED else "")
    wrong = f"The model `{name}` " + ("is not served on this route." if name in models else "does not exist.")
    return refuse(
        404,
        f"{wrong} Served here: {known}." if known else f"{wrong} No model is served here.",
        code="model_not_found",
        param="model",
    )


def _card(served: Served, started: int) -> dict[str, object]:
    card: dict[str, object] = {
        "id": served.id,
        "object": "model",
        "created": started,
        "owned_by": "headgate",
        "root": served.root or served.id,
        "parent": served.parent,
    }
    if served.max_model_len is not None:
        card["max_model_len"] = served.max_model_len
    return card
