"""Requests of pages from elsewhere: what a browser has to be told of them (Fetch §3.3; Gateway API, HTTPCORSFilter).

The filter alone decides: what a server says under these names is dropped.
"""

import re

from headgate.exchange.events import Headers, Respond
from headgate.exchange.refuse import refuse
from headgate.plan.plan import Cors

_OWN_PORT = re.compile(r"^(http://.*):80$|^(https://.*):443$")
_HOST = re.compile(r"[^:/@]+|\[[0-9a-f:.]+\]")
_PREFIX = b"access-control-"
_SAFE = frozenset(
    b"cache-control content-language content-length content-type expires last-modified pragma set-cookie vary".split()
)  # a page reads these anyway, or never
_VARY = (b"vary", b"Origin")
_VARY_PREFLIGHT = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


def allows(cors: Cors, origin: bytes) -> bool:
    """Whether pages of this origin may read the answers. A wildcard stands for any labels to its left."""
    if "*" in cors.origins:
        return True
    given = origin.decode("latin-1").lower()
    own = _OWN_PORT.match(given)
    if own:
        given = own[1] or own[2]
    return any(_covers(allowed, given) for allowed in cors.origins)


def _covers(allowed: str, given: str) -> bool:
    before, wildcard, after = allowed.partition("*")
    if not wildcard:
        return given == allowed
    if not (given.startswith(before) and given.endswith(after)):
        return False
    return _HOST.fullmatch(given[len(before) : len(given) - len(after)]) is not None


def preflight(cors: Cors, origin: bytes, method: bytes, headers: bytes) -> Respond:
    """The answer to the question whether a page may send a request with this method and these headers."""
    if not allows(cors, origin):
        name = origin.decode("latin-1")
        return refuse(403, f"Pages of the origin {name} may not call this.", code="origin_not_allowed")
    answer = _shared(cors, origin)
    if cors.methods:
        answer.append((b"access-control-allow-methods", _listed(cors.methods, cors, method)))
    if cors.headers and (headers or cors.headers != ("*",)):
        answer.append((b"access-control-allow-headers", _listed(cors.headers, cors, headers)))
    if cors.exposed and not ("*" in cors.exposed and cors.credentials):
        answer.append((b"access-control-expose-headers", ", ".join(cors.exposed).encode()))
    answer.append((b"access-control-max-age", b"%d" % cors.max_age_s))
    answer.append(_VARY_PREFLIGHT)
    return Respond(204, answer, b"")


def _listed(allowed: tuple[str, ...], cors: Cors, asked: bytes) -> bytes:
    """Where credentials are sent a browser takes `*` for a name: then what was asked for stands for all."""
    return asked if cors.credentials and "*" in allowed else ", ".join(allowed).encode()


def share(cors: Cors, origin: bytes, headers: Headers) -> Headers:
    """The headers of an answer to a request of this origin, b"" for one that named none."""
    headers = [pair for pair in headers if not pair[0].startswith(_PREFIX)]
    if "*" not in cors.origins or cors.credentials:
        headers.append(_VARY)
    if not origin or not allows(cors, origin):
        return headers
    exposed = ", ".join(cors.exposed).encode()
    if "*" in cors.exposed and cors.credentials:
        exposed = b", ".join(dict.fromkeys(name for name, _ in headers if name not in _SAFE))
    headers += _shared(cors, origin)
    if exposed:
        headers.append((b"access-control-expose-headers", exposed))
    return headers


def _shared(cors: Cors, origin: bytes) -> Headers:
    if cors.credentials:
        return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
    return [(b"access-control-allow-origin", b"*" if "*" in cors.origins else origin)]
