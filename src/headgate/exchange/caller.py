"""Who asks, as far as a route cares: the page that a browser asks for, and the session that a client is in."""

from msgspec import Struct

from headgate.exchange.events import Asked
from headgate.exchange.session import Token, leads_to, presented
from headgate.exchange.site import PoolView, Site, Way
from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import Backend, Session


class Caller(Struct, frozen=True, gc=False):
    """What an answer's headers depend on, where the route wants them changed.

    `token` is that of a session, and `endpoint` the name of where it is, "" where that is not in the pool any more.
    """

    origin: bytes = b""
    secure: bool = False
    token: Token | None = None
    endpoint: str = ""


ANYONE = Caller()


def recognise(event: Asked, site: Site, view: PoolView, way: Way) -> Caller:
    session, origin, secure = way.route.session, event.head.told(b"origin"), site.scheme == b"https"
    found = _held(session, event, site, view) if session is not None else None
    if found is None:
        return Caller(origin, secure)
    return Caller(origin, secure, found[0], found[1].name)


def backend_of_session(
    session: Session | None, backends: tuple[Backend, ...], event: Asked, site: Site
) -> Backend | None:
    """The backend that the session is at, whatever its weight is (GEP-1619, traffic splitting)."""
    for backend in backends if session is not None else ():
        view = site.pools.get(backend.pool or "")
        found = _held(session, event, site, view) if session is not None and view is not None else None
        if found is not None and found[1].ready and not found[1].draining:
            return backend
    return None


def _held(session: Session, event: Asked, site: Site, view: PoolView) -> tuple[Token, Endpoint] | None:
    """The first token of the request that leads to an endpoint of this pool."""
    for token in presented(session, event.head.headers, event.now + site.epoch):
        endpoint = leads_to(session, token, view.standing.endpoints)
        if endpoint is not None:
            return token, endpoint
    return None
