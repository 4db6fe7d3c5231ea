"""What `headgate get` shows: plain rows, one dictionary each, of the running system."""

from collections.abc import Callable, Iterable

from headgate.exchange.site import PoolView, reachable
from headgate.plan.plan import Condition, Status, Statuses
from headgate.runtime.gateway import Gateway

Row = dict[str, object]


def gateways(gateway: Gateway, statuses: Statuses) -> list[Row]:
    """One row per listener."""
    rows: list[Row] = []
    for status in _of(statuses, "Gateway"):
        planned = {listener.name: listener for listener in gateway.plan.listeners if listener.gateway == status.name}
        for own in status.listeners:
            listener = planned.get(own.name)
            url, state = "", _bad(own.conditions) or "Programmed"
            if listener is not None:
                address, port = gateway.place(listener)
                url = f"http://{_bracketed(address)}:{port}" if address else ""
                if (address, port) not in gateway.sockets:
                    state = f"Not served: {gateway.unbound.get((address, port), 'no address is free')}"
            rows.append(
                {
                    "gateway": status.name,
                    "listener": own.name,
                    "url": url,
                    "hostname": (listener.hostname if listener else "") or "*",
                    "routes": own.attached_routes,
                    "status": state,
                }
            )
        if not status.listeners:
            rows.append({"gateway": status.name, "listener": "", "url": "", "status": _bad(status.conditions)})
    return rows


def routes(gateway: Gateway, statuses: Statuses) -> list[Row]:
    """One row per match of a rule, in order of precedence, then the routes that are not served."""
    rows: list[Row] = []
    seen: set[tuple[str, str, str]] = set()
    for listener in gateway.plan.listeners:
        for route in listener.routes:
            key = (route.name, listener.gateway, listener.name)
            if key in seen:
                continue
            seen.add(key)
            match = route.match
            conditions = [f"{h.name}{'~' if h.kind == 'regex' else '='}{h.value}" for h in match.headers]
            conditions += [f"?{q.name}={q.value}" for q in match.query]
            if route.redirect is not None:
                to = f"redirect {route.redirect.status}"
            else:
                to = ", ".join(_backend(b.pool, b.weight, b.reason, len(route.backends)) for b in route.backends)
            rows.append(
                {
                    "route": route.name,
                    "gateway": f"{listener.gateway}/{listener.name}",
                    "hosts": ", ".join(route.hostnames) or "*",
                    "match": " ".join([match.method or "*", f"{match.path} ({match.path_kind})", *conditions]),
                    "to": to or "nothing: 500",
                }
            )
    for status in _of(statuses, "HTTPRoute"):
        for parent in status.parents:
            if bad := _bad(parent.conditions):
                rows.append({"route": status.name, "gateway": parent.parent, "status": bad})
    return rows


def _backend(pool: str | None, weight: int, reason: str, count: int) -> str:
    name = pool or f"500 ({reason})"
    return f"{name} ×{weight}" if count > 1 else name


def pools(gateway: Gateway, statuses: Statuses) -> list[Row]:
    rows: list[Row] = []
    for view in _views(gateway):
        endpoints = view.standing.endpoints
        ready = sum(endpoint.ready and not endpoint.draining for endpoint in endpoints)
        rows.append(
            {
                "pool": view.pool.name,
                "kind": view.pool.kind,
                "ready": f"{ready}/{len(endpoints)}",
                "selector": ",".join(f"{key}={value}" for key, value in view.pool.selector.items()),
                "models": len(view.served),
            }
        )
    return rows


def endpoints(gateway: Gateway, statuses: Statuses) -> list[Row]:
    rows: list[Row] = []
    for view in _views(gateway):
        for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True):
            rows.append(
                {
                    "endpoint": endpoint.name,
                    "pool": view.pool.name,
                    "address": endpoint.hostport,
                    "state": "draining" if endpoint.draining else "ready" if endpoint.ready else "not ready",
                    "in_flight": gateway.fleet.ledger.counts.get(endpoint.name, 0),
                    "waiting": load.waiting,
                    "running": load.running,
                    "kv_usage": load.kv_usage,
                    "adapters": ",".join(sorted(load.adapters_running)),
                }
            )
    return rows


def models(gateway: Gateway, statuses: Statuses) -> list[Row]:
    """What a client can ask for, at each listener."""
    rows: list[Row] = []
    for listener in gateway.plan.listeners:
        key = gateway.place(listener)
        if key not in gateway.sockets:
            continue
        site = gateway.sockets[key][0].site
        hosts = sorted({host for route in listener.routes for host in route.hostnames}) or [listener.hostname or "*"]
        for host in hosts:
            name = host.replace("*.", "any.") if host != "*" else "localhost"
            for served in reachable(site, site.router.routes_for(name) or ()).values():
                row: Row = {"model": served.id, "parent": served.parent or "", "host": host}
                row |= {
                    "gateway": f"{listener.gateway}/{listener.name}",
                    "url": f"http://{_bracketed(key[0])}:{key[1]}",
                }
                rows.append(row)
    return rows


def adapters(gateway: Gateway, statuses: Statuses) -> list[Row]:
    """Which endpoints hold which adapter; `running` where requests use it now."""
    found: dict[tuple[str, str, str], list[str]] = {}
    active: dict[tuple[str, str, str], int] = {}
    for view in _views(gateway):
        for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True):
            for served in load.models or ():
                if served.parent:
                    key = (served.id, view.pool.name, served.parent)
                    found.setdefault(key, []).append(endpoint.name)
                    active[key] = active.get(key, 0) + (served.id in load.adapters_running)
    return [
        {"adapter": key[0], "pool": key[1], "parent": key[2], "endpoints": ", ".join(names), "running": active[key]}
        for key, names in sorted(found.items())
    ]


ROWS: dict[str, Callable[[Gateway, Statuses], list[Row]]] = {
    "gateways": gateways,
    "routes": routes,
    "pools": pools,
    "endpoints": endpoints,
    "models": models,
    "adapters": adapters,
}


def complaints(statuses: Statuses) -> list[str]:
    """What is not accepted, not resolved or not programmed, one line each."""
    lines: list[str] = []
    for status in statuses:
        groups: list[tuple[str, Iterable[Condition]]] = [("", status.conditions)]
        groups += [(f" listener {listener.name}", listener.conditions) for listener in status.listeners]
        groups += [(f" at {parent.parent}", parent.conditions) for parent in status.parents]
        for where, conditions in groups:
            for condition in conditions:
                if _is_bad(condition):
                    text = f"{condition.reason}: {condition.message}" if condition.message else condition.reason
                    lines.append(f"{status.kind} {status.name}{where}: {condition.type} is {condition.status}: {text}")
    return lines


def _is_bad(condition: Condition) -> bool:
    if condition.type in ("Conflicted", "PartiallyInvalid", "Exported"):
        return condition.status == "True" and condition.type != "Exported"
    return condition.status == "False"


def _bad(conditions: Iterable[Condition]) -> str:
    return "; ".join(f"{c.reason}: {c.message}" if c.message else c.reason for c in conditions if _is_bad(c))


def _of(statuses: Statuses, kind: str) -> list[Status]:
    return [status for status in statuses if status.kind == kind]


def _views(gateway: Gateway) -> list[PoolView]:
    return [gateway.fleet.views[name] for name in sorted(gateway.fleet.views)]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
