"""A body that came compressed: what it says, or that it has to be decoded first to know."""

from collections.abc import Sequence

from headgate.exchange.body import NOTHING, Reading, read_body
from headgate.exchange.events import Asked, Decode, Decoded, Headers, Respond
from headgate.exchange.inflate import CODINGS
from headgate.exchange.request import RequestHead
from headgate.exchange.router import CompiledRoute
from headgate.exchange.site import Site

ACCEPTED: Headers = [(b"accept-encoding", b"gzip, deflate")]  # what 415 has to say, RFC 9110 §12.5.3

_OF_THE_BODY = ("x-gateway-model-name", "x-gateway-base-model-name")


def read_coded(event: Asked, host: str, site: Site, decoded: Decoded | None) -> Reading | Decode | Respond:
    """Nothing is decoded for Services: they get it as it came; nor for who has no key for anything at this path."""
    head = event.head
    if decoded is not None:
        if decoded.error:
            return Reading(error=decoded.error, status=decoded.status)
        return read_body(head.kind, decoded.body)
    routes = [one for one in site.router.routes_for(host) or () if one.takes_path(head.target.path)]
    if not any(_reads_bodies(route, site) for route in routes):
        return NOTHING
    refused = _barred(routes, head, site)
    if refused is not None:
        return refused
    coding = head.encoding.lower()
    if coding in CODINGS:
        return Decode(coding, event.body)
    why = f"a body in Content-Encoding {head.encoding} can't be read here: send it as gzip, as deflate, or as it is"
    return Reading(error=why, status=415)


def _barred(routes: Sequence[CompiledRoute], head: RequestHead, site: Site) -> Respond | None:
    """What who has none of the keys is told, whichever of these routes the body leads to."""
    refused = None
    for one in routes:
        gate = site.router.gate_of(one.route)
        refused = None if gate is None else gate.refusal(head)
        if refused is None:
            return None
    return refused


def _reads_bodies(compiled: CompiledRoute, site: Site) -> bool:
    """Whether what the body says decides about the route, or its servers are such as are asked for models."""
    route = compiled.route
    if any(header.name in _OF_THE_BODY for header in route.match.headers):
        return True
    views = (site.pools.get(backend.pool or "") for backend in route.backends)
    return any(view is not None and view.pool.kind == "inference" for view in views)
