"""Which route is a request for?  A listener by its hostname, then the first route in order of precedence.

Built once for each plan and socket address; what a request costs is one dictionary look-up for its host and a scan of
that host's routes. Source: Gateway API, GatewaySpec.listeners and HTTPRouteSpec.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl

from msgspec import Struct
from msgspec.structs import replace

from headgate.exchange.events import Headers
from headgate.exchange.keys import Gate
from headgate.exchange.request import OURS
from headgate.exchange.target import read_target
from headgate.plan.hostnames import covers, generality
from headgate.plan.plan import Cors, Listener, Match, Route, TextMatch

_HOSTS_REMEMBERED = 1024  # clients choose the Host header: what is kept for it is bounded
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]{0,253}\.?)(?::[0-9]{0,5})?")


class Asking(Struct):
    """What routes match on; `query` is the text behind the question mark, `model` that of the body.

    Few routes look at headers, so their text is made when the first one does. What a client sends under the names of
    headers that the gateway sets itself does not count.
    """

    method: str
    path: str
    query: str
    model: str
    base_models: Mapping[str, str]
    raw: Headers = []
    _text: dict[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case; values of a name that came twice are joined (RFC 9110 §5.3)."""
        found = self._text
        if found is None:
            found = self._text = {}
            for name, value in self.raw:
                if name not in OURS:
                    key, text = name.decode("latin-1"), value.decode("latin-1")
                    found[key] = f"{found[key]},{text}" if key in found else text
            if self.model:
                found["x-gateway-model-name"] = self.model
                found["x-gateway-base-model-name"] = self.base_models.get(self.model, "")
        return found


class CompiledRoute(Struct, frozen=True):
    route: Route
    takes_path: Callable[[str], bool]
    takes_rest: Callable[[Asking], bool] | None  # None where only the path counts


Routes = tuple[CompiledRoute, ...]


class Router:
    """The listeners that share one socket address, or by TLS the one whose connections these are.

    `elsewhere`: hostnames of listeners at the same address that have connections of their own.
    """

    def __init__(self, listeners: Sequence[Listener], elsewhere: Sequence[str] = ()) -> None:
        self._elsewhere = elsewhere
        self._here = tuple([listener.hostname for listener in listeners])
        self._gates: dict[str, Gate] = {}  # by ring
        self._exact: dict[str, _Named] = {}
        self._wild: dict[str, _Named] = {}  # by what hostnames end with
        self._any: _Named | None = None
        for listener in listeners:
            self._gates |= {name: Gate(keys) for name, keys in listener.keys.items()}
            if not listener.hostname:
                named = self._any = self._any or _Named()
            elif listener.hostname.startswith("*."):
                named = self._wild.setdefault(listener.hostname[1:], _Named())
            else:
                named = self._exact.setdefault(listener.hostname, _Named())
            named.routes += [(route.hostnames, _compile(route)) for route in listener.routes]
            named.ring = named.ring or listener.ring
        self._suffixes = sorted(self._wild, key=len, reverse=True)
        self._seen: dict[str, Routes | None] = {}
        self._distinct: dict[tuple[int, ...], Routes] = {}

    def gate_of(self, route: Route) -> Gate | None:
        """None where everybody is let in."""
        return self._gates[route.ring] if route.ring else None

    def gate_for(self, host: str) -> Gate | None:
        """For requests that no route takes."""
        name = hostname(host)
        named = None if name is None else self._find(name)
        return self._gates[named.ring] if named is not None and named.ring else None

    def routes_for(self, host: str) -> Routes | None:
        """The routes for a Host header (any case, with or without a port): for hosts of the same routes, one object.

        None when no listener has that name, or it is none (`hostname` tells), or it is for other connections
        (`misdirected` tells).
        """
        try:
            return self._seen[host]
        except KeyError:
            pass
        name = hostname(host)
        if name is None:
            return None
        if len(self._seen) >= _HOSTS_REMEMBERED:
            self._seen.clear()
        found = self._seen[host] = self._look_up(name)
        return found

    def misdirected(self, host: str) -> bool:
        """Whether a listener elsewhere is the one for this host: clients may reuse a connection for another host that
        the certificate is for as well (RFC 9110 §7.4; Gateway API, Listener.hostname)."""
        name = hostname(host)
        if name is None or not self._elsewhere:
            return False
        best = min((own for own in (*self._here, *self._elsewhere) if covers(own, name)), key=generality, default=None)
        return best is not None and best not in self._here

    def _look_up(self, name: str) -> Routes | None:
        if self.misdirected(name):
            return None
        found = self._find(name)
        if found is None:
            return None
        own = tuple([one for names, one in found.routes if not names or any(_covers(h, name) for h in names)])
        return self._distinct.setdefault(tuple(map(id, own)), own)

    def _find(self, name: str) -> "_Named | None":
        exact = self._exact.get(name)
        if exact is not None:
            return exact
        return next((self._wild[suffix] for suffix in self._suffixes if name.endswith(suffix)), self._any)


class _Named:
    """What listeners of one hostname have: routes, each with its own hostnames, and the ring for all other requests."""

    __slots__ = ("ring", "routes")

    def __init__(self) -> None:
        self.routes: list[tuple[tuple[str, ...], CompiledRoute]] = []
        self.ring = ""


def hostname(host: str) -> str | None:
    """The name in a Host header: lower case, no port, no final dot. None for what is no Host header, RFC 9112 §3.2."""
    found = _HOST.fullmatch(host)
    return found[1].rstrip(".").lower() if found else None


def _covers(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def find_route(routes: Routes, asking: Asking) -> Route | None:
    """The first route that takes the request."""
    path = asking.path
    for compiled in routes:
        if compiled.takes_path(path) and (compiled.takes_rest is None or compiled.takes_rest(asking)):
            return compiled.route
    return None


def find_shared(routes: Routes, asking: Asking, method: str) -> tuple[Route, Cors] | None:
    """The route that would take such a request with this method, and its CORS filter; None where it has no filter.

    Before it sends a request a browser asks about its method and its path, but says neither its headers nor its body:
    conditions on these are taken to hold, and of the routes that could take it the first with a filter counts.
    """
    for compiled in routes:
        match = compiled.route.match
        if match.method not in ("", method, asking.method) or not compiled.takes_path(asking.path):
            continue
        if match.query and not _query_test(match.query)(asking):
            continue
        route = compiled.route
        shared = route.cors or next((backend.cors for backend in route.backends if backend.cors), None)
        if shared is not None:
            return route, shared
        if not match.headers:
            return None
    return None


def _compile(route: Route) -> CompiledRoute:
    match = route.match
    if "%" in match.path and match.path_kind != "regex":
        path = read_target(match.path.encode()).path  # requests' paths come in this form
        match = replace(match, path=path or match.path)
        route = replace(route, match=match)
    return CompiledRoute(route, _path_test(match), _rest_test(match))


def _path_test(match: Match) -> Callable[[str], bool]:
    wanted = match.path
    if match.path_kind == "exact":
        return lambda path: path == wanted
    if match.path_kind == "regex":
        full = re.compile(wanted).fullmatch
        return lambda path: full(path) is not None
    stem = wanted.rstrip("/")
    if not stem:
        return lambda path: True
    below = stem + "/"
    return lambda path: path.startswith(below) or path == stem


def _rest_test(match: Match) -> Callable[[Asking], bool] | None:
    tests: list[Callable[[Asking], bool]] = []
    if match.method:
        wanted = match.method
        tests.append(lambda asking: asking.method == wanted)
    tests.extend(_header_test(header) for header in match.headers)
    if match.query:
        tests.append(_query_test(match.query))
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda asking: all(test(asking) for test in tests)


def _header_test(wanted: TextMatch) -> Callable[[Asking], bool]:
    name, value = wanted.name, wanted.value
    if wanted.kind == "exact":
        return lambda asking: asking.headers.get(name) == value
    full = re.compile(value).fullmatch
    return lambda asking: (found := asking.headers.get(name)) is not None and full(found) is not None


def _query_test(wanted: tuple[TextMatch, ...]) -> Callable[[Asking], bool]:
    """Of a parameter that is given twice, the first counts (HTTPQueryParamMatch)."""
    full = {item.name: re.compile(item.value if item.kind == "regex" else re.escape(item.value)) for item in wanted}

    def test(asking: Asking) -> bool:
        given: dict[str, str] = {}
        for name, value in parse_qsl(asking.query, keep_blank_values=True, max_num_fields=None):
            given.setdefault(name, value)
        return all(name in given and pattern.fullmatch(given[name]) for name, pattern in full.items())

    return test
