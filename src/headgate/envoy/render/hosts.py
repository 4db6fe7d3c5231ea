"""Virtual hosts of one socket: for each host name that listeners or routes name, its routes in the Plan's order."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from headgate.envoy.hints import ROUTE, route_key
from headgate.envoy.render.accesslog import ASKED
from headgate.envoy.render.actions import Scene, action, answer, fraction
from headgate.envoy.render.asks import any_asks, asks
from headgate.envoy.render.cors import FILTER
from headgate.envoy.render.filters import PROCESSING, heads_alone
from headgate.envoy.render.matches import path_match, route_match
from headgate.envoy.render.settings import Data
from headgate.plan.hostnames import covers, generality
from headgate.plan.plan import Backend, Listener, Route

_NOWHERE = Backend(None)
_WEBSOCKET = {
    "prefix": "/",
    "headers": [{"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}],
}  # what comes behind its head is no body, and has no end


def virtual_hosts(listeners: Sequence[Listener], elsewhere: Sequence[str], scene: Scene) -> list[Data]:
    """`elsewhere`: hostnames of listeners at the same address that have connections of their own."""
    asked = any_asks(listeners, scene.pools)
    names = {name for one in listeners for route in one.routes for name in route.hostnames}
    names |= {one.hostname for one in listeners}
    found: list[Data] = []
    for name in sorted(names, key=lambda one: (generality(one), one)):
        listener = _owner(listeners, name)
        if listener is not None:
            routes = [r for one in listener for r in one.routes if _answers_to(r, name)]
            here = replace(scene, domain=name)
            found.append(_virtual_host(name, _entries(routes, here, asked=asked)))
    found += [_virtual_host(name, [_catch_all(_misdirected())]) for name in elsewhere if name and name not in names]
    if not any(host["domains"] == ["*"] for host in found):
        unknown = _asking() if asked else answer(404, "No listener here serves the host `%REQ(:AUTHORITY)%`.")
        found.append(_virtual_host("", [_catch_all(unknown)]))
    return found


def _owner(listeners: Sequence[Listener], name: str) -> list[Listener] | None:
    """The listeners (of one hostname) that requests for this host are for."""
    best = min((one.hostname for one in listeners if covers(one.hostname, name)), key=generality, default=None)
    return None if best is None else [one for one in listeners if one.hostname == best]


def _answers_to(route: Route, name: str) -> bool:
    return not route.hostnames or any(
        hostname == name or (name and covers(hostname, name)) for hostname in route.hostnames
    )


def _virtual_host(name: str, routes: list[Data]) -> Data:
    return {"name": name or "any", "domains": [name or "*"], "routes": routes}


def _entries(routes: Sequence[Route], scene: Scene, *, asked: bool) -> list[Data]:
    """First what the exchange has decided on; then what Envoy decides, or asks about; then all that is left."""
    found = list(_decided(routes, scene)) if asked else []
    if asked:
        found.append({"match": _WEBSOCKET} | _asking() | {"typed_per_filter_config": {PROCESSING: heads_alone()}})
    last = answer(404, "No route here takes %REQ(:METHOD)% %PATH(NQ)%.")
    seen: list[Data] = []
    for route in routes:
        for entry in _first_look(route, scene):
            if entry["match"] not in seen:
                found.append(entry)
            if "runtime_fraction" not in entry["match"]:
                seen.append(entry["match"])
            if entry["match"] == {"prefix": "/"}:
                return found
    return [*found, _catch_all(_asking() if asked else last)]


def _decided(routes: Iterable[Route], scene: Scene) -> Iterator[Data]:
    """By the header that the processor sets, where a request is for a server."""
    known: set[str] = set()
    for route in routes:
        for index, backend in enumerate(route.backends):
            key = route_key(route.name, index)
            if key in known or backend.pool not in scene.pools or route.redirect or backend.redirect:
                continue
            known.add(key)
            match = {"prefix": "/", "headers": [{"name": ROUTE, "string_match": {"exact": key}}]}
            yield {"name": ASKED, "match": match} | action(route, backend, scene, asked=True)


def _first_look(route: Route, scene: Scene) -> Iterator[Data]:
    match = route_match(route.match)
    share = route.cors or next((backend.cors for backend in route.backends if backend.cors), None)
    if asks(route, scene.pools):
        if share is not None and route.match.method:
            yield {"match": _preflight(route)} | _asking()
        yield {"match": match} | _asking()
        return
    backends = [backend for backend in route.backends if backend.weight > 0] or [_NOWHERE]
    if share is not None and route.match.method:
        policy = action(route, backends[0], scene, asked=False)["typed_per_filter_config"]
        yield {"match": _preflight(route), "typed_per_filter_config": {FILTER: policy[FILTER]}} | answer(403, "No.")
    total, passed = sum(backend.weight for backend in backends), 0
    for index, backend in enumerate(backends):
        passed += backend.weight
        own = match if passed == total else match | {"runtime_fraction": fraction(passed / total)}
        name = route.name if len(backends) == 1 else route_key(route.name, index)
        does = action(route, backend, scene, asked=False)
        if "redirect" in does:
            local = action(route, backend, replace(scene, here=True), asked=False)
            if local != does:
                yield {"name": f"{name}@{scene.socket.port}", "match": _by_port(own, scene.socket.port)} | local
        yield {"name": name, "match": own} | does


def _by_port(match: Data, port: int) -> Data:
    """Of these requests those that name the port in their Host header."""
    asked = {"name": ":authority", "string_match": {"suffix": f":{port}"}}
    return match | {"headers": [*match.get("headers", []), asked]}


def _preflight(route: Route) -> Data:
    """What a browser asks before a request of this method: its headers are not there to be matched."""
    headers: list[dict[str, Any]] = [
        {"name": ":method", "string_match": {"exact": "OPTIONS"}},
        {"name": "origin", "present_match": True},
        {"name": "access-control-request-method", "string_match": {"exact": route.match.method}},
    ]
    return path_match(route.match) | {"headers": headers}


def _asking() -> Data:
    """The processor answers, or says where to send it; that nobody did is an answer of last resort."""
    return {"name": ASKED} | answer(503, "The gateway could not decide on this request.")


def _misdirected() -> Data:
    message = "This connection was made for another host than `%REQ(:AUTHORITY)%`: open one for that."
    return answer(421, message, code="misdirected_request")


def _catch_all(entry: Data) -> Data:
    return {"match": {"prefix": "/"}} | entry
