"""A body that came compressed: what it says, or that it has to be decoded first to know."""

from headgate.exchange.body import NOTHING, Reading, read_body
from headgate.exchange.events import Asked, Decode, Decoded, Headers
from headgate.exchange.inflate import CODINGS
from headgate.exchange.router import CompiledRoute
from headgate.exchange.site import Site

ACCEPTED: Headers = [(b"accept-encoding", b"gzip, deflate")]  # what 415 has to say, RFC 9110 §12.5.3

_OF_THE_BODY = ("x-gateway-model-name", "x-gateway-base-model-name")


def read_coded(event: Asked, host: str, site: Site, decoded: Decoded | None) -> Reading | Decode:
    """Nothing is decoded for Services: they get it as it came."""
    head = event.head
    if decoded is not None:
        if decoded.error:
            return Reading(error=decoded.error, status=decoded.status)
        return read_body(head.kind, decoded.body)
    routes = site.router.routes_for(host) or ()
    if not any(route.takes_path(head.target.path) and _reads_bodies(route, site) for route in routes):
        return NOTHING
    coding = head.encoding.lower()
    if coding in CODINGS:
        return Decode(coding, event.body)
    why = f"a body in Content-Encoding {head.encoding} can't be read here: send it as gzip, as deflate, or as it is"
    return Reading(error=why, status=415)


def _reads_bodies(compiled: CompiledRoute, site: Site) -> bool:
    """Whether what the body says decides about the route, or its servers are such as are asked for models."""
    route = compiled.route
    if any(header.name in _OF_THE_BODY for header in route.match.headers):
        return True
    views = (site.pools.get(backend.pool or "") for backend in route.backends)
    return any(view is not None and view.pool.kind == "inference" for view in views)
