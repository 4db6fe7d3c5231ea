"""What `headgate get` shows: plain rows, one dictionary each, of the running system. What is many is a list."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from headgate.exchange.site import PoolView, reachable
from headgate.plan.plan import Backend, Listener, Match, Route, Status, Statuses
from headgate.runtime.complaints import faults
from headgate.runtime.gateway import Gateway
from headgate.runtime.metrics import state
from headgate.runtime.pods import PodRow

Row = dict[str, object]


class Seen(Struct, frozen=True):
    """What there is to show, at one moment."""

    gateway: Gateway
    statuses: Statuses
    pods: Sequence[PodRow]


def gateways(seen: Seen) -> list[Row]:
    """One row per listener; `address` and `port` are those here, `url` is made of them."""
    rows: list[Row] = []
    for status in _of(seen.statuses, "Gateway"):
        planned = {one.name: one for one in seen.gateway.plan.listeners if one.gateway == status.name}
        for own in status.listeners:
            row: Row = {"gateway": status.name, "listener": own.name, "url": "", "hostname": "*"}
            told = faults(own.conditions) or "Programmed"
            listener = planned.get(own.name)
            if listener is not None:
                address, port = seen.gateway.place(listener)
                row |= {"url": _url(listener, address, port), "hostname": listener.hostname or "*"}
                row |= {"address": address, "port": port}
                if (address, port) not in seen.gateway.sockets:
                    told = f"Not served: {seen.gateway.unbound.get((address, port), 'no address is free')}"
            rows.append(row | {"routes": own.attached_routes, "status": told})
        if not status.listeners:
            rows.append({"gateway": status.name, "listener": "", "url": "", "status": faults(status.conditions)})
    return rows


def routes(seen: Seen) -> list[Row]:
    """One row per match of a rule at a listener, in order of precedence, then the routes that are not served."""
    rows: list[Row] = []
    for listener in seen.gateway.plan.listeners:
        merged: dict[str, Row] = {}
        for route in listener.routes:
            row = merged.setdefault(route.name, _route(route, listener))
            # A match with hostnames of several sorts comes once for each of them.
            row["hosts"] = list(dict.fromkeys([*_list(row["hosts"]), *(route.hostnames or ("*",))]))
        rows += merged.values()
    for status in _of(seen.statuses, "HTTPRoute"):
        for parent in status.parents:
            if bad := faults(parent.conditions):
                rows.append({"route": status.name, "gateway": parent.parent.removeprefix("Gateway "), "status": bad})
    return rows


def _route(route: Route, listener: Listener) -> Row:
    if route.redirect is not None:
        to = [f"redirect {route.redirect.status}"]
    else:
        to = [_backend(backend, len(route.backends)) for backend in route.backends]
    return {
        "route": route.name,
        "gateway": f"{listener.gateway}/{listener.name}",
        "hosts": [],
        "match": _match(route.match),
        "to": to or ["nothing: 500"],
    }


def _match(match: Match) -> str:
    words = [match.method] if match.method else []
    words.append({"prefix": f"{match.path.rstrip('/')}/*", "exact": match.path}.get(match.path_kind, f"~{match.path}"))
    words += [f"?{one.name}{'~' if one.kind == 'regex' else '='}{one.value}" for one in match.query]
    words += [f"{one.name}{'~' if one.kind == 'regex' else '='}{one.value}" for one in match.headers]
    return " ".join(words)


def _backend(backend: Backend, count: int) -> str:
    name = backend.pool or f"{backend.status} ({backend.reason})"
    return f"{name} ×{backend.weight}" if count > 1 else name


def pools(seen: Seen) -> list[Row]:
    rows: list[Row] = []
    for view in _views(seen):
        states = [state(endpoint) for endpoint in view.standing.endpoints]
        rows.append(
            {
                "pool": view.pool.name,
                "kind": view.pool.kind,
                "ready": f"{states.count('ready')}/{len(states)}",
                "models": len(view.served),
                "selector": [f"{key}={value}" for key, value in view.pool.selector.items()],
            }
        )
    return rows


def endpoints(seen: Seen) -> list[Row]:
    """`in_flight` is what this gateway sent there; `waiting`, `running`, `kv_usage` are what the endpoint reports."""
    rows: list[Row] = []
    for view in _views(seen):
        for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True):
            rows.append(
                {
                    "endpoint": endpoint.name,
                    "pool": view.pool.name,
                    "address": endpoint.hostport,
                    "state": state(endpoint),
                    "in_flight": seen.gateway.fleet.ledger.count(endpoint.name),
                    "waiting": load.waiting,
                    "running": load.running,
                    "kv_usage": load.kv_usage,
                    "adapters": sorted(load.adapters_running),
                    "prefix": _prefix(endpoint.kv_events),
                    "note": seen.gateway.trouble(endpoint.name),
                }
            )
    return rows


def _prefix(why_not: str | None) -> str:
    """What its prefixes are known by."""
    return "KV events" if why_not == "" else f"what was sent: {why_not}" if why_not else "what was sent"


def models(seen: Seen) -> list[Row]:
    """What a client can ask for, at each listener and host."""
    rows: list[Row] = []
    for listener in seen.gateway.plan.listeners:
        site = seen.gateway.site(listener)
        if site is None:
            continue
        hosts = sorted({host for route in listener.routes for host in route.hostnames}) or [listener.hostname or "*"]
        for host in hosts:
            name = host.replace("*.", "any.") if host != "*" else "localhost"
            for served in reachable(site, site.router.routes_for(name) or ()).values():
                rows.append(
                    {
                        "model": served.id,
                        "parent": served.parent or "",
                        "host": host,
                        "gateway": f"{listener.gateway}/{listener.name}",
                        "url": _url(listener, *seen.gateway.place(listener)),
                    }
                )
    return rows


def adapters(seen: Seen) -> list[Row]:
    """Which endpoints hold which adapter; `running` is how many of them use it now."""
    rows: dict[tuple[str, str, str], Row] = {}
    names: dict[tuple[str, str, str], list[str]] = {}
    running: dict[tuple[str, str, str], int] = {}
    for view in _views(seen):
        for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True):
            for served in load.models or ():
                if served.parent:
                    key = (served.id, view.pool.name, served.parent)
                    names.setdefault(key, []).append(endpoint.name)
                    running[key] = running.get(key, 0) + (served.id in load.adapters_running)
    for key in sorted(names):
        adapter, pool, parent = key
        rows[key] = {"adapter": adapter, "pool": pool, "parent": parent, "running": running[key]}
        rows[key]["endpoints"] = names[key]
    return list(rows.values())


def pods(seen: Seen) -> list[Row]:
    """The processes that stand for Pods, and the servers that run elsewhere."""
    return [
        {
            "pod": row.name,
            "owner": row.owner,
            "phase": row.phase,
            "ready": "yes" if row.ready else "no",
            "restarts": row.restarts,
            "address": row.address,
            "message": row.message,
            "log": row.log,
        }
        for row in seen.pods
    ]


ROWS: dict[str, Callable[[Seen], list[Row]]] = {
    "gateways": gateways,
    "routes": routes,
    "pools": pools,
    "endpoints": endpoints,
    "models": models,
    "adapters": adapters,
    "pods": pods,
}


QUEUES = "queues"  # rows that whoever serves has to be asked for


def _of(statuses: Statuses, kind: str) -> list[Status]:
    return [status for status in statuses if status.kind == kind]


def _views(seen: Seen) -> list[PoolView]:
    views = seen.gateway.fleet.views
    return [views[name] for name in sorted(views)]


def _url(listener: Listener, address: str, port: int) -> str:
    """Where a client on this machine finds it: 0.0.0.0 is no place to go to."""
    if not address:
        return ""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    scheme = listener.protocol.lower()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _list(value: object) -> list[str]:
    assert isinstance(value, list)
    return value
