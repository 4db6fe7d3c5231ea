"""Where Envoy listens, and what is left there for the exchange to do."""

from msgspec.structs import replace

from headgate.envoy.render import Socket
from headgate.exchange.edits import ServedAt
from headgate.exchange.site import Site
from headgate.plan.plan import Listener, Plan, Route
from headgate.runtime.addresses import Assignment


def sockets(plan: Plan, assigned: Assignment) -> tuple[Socket, ...]:
    found = []
    for bound in assigned.sockets:
        gateway = bound.listeners[0].gateway
        served = tuple(
            ServedAt(one.hostname, one.port, assigned.ports[gateway, one.port])
            for one in plan.listeners
            if one.gateway == gateway
        )
        found.append(Socket(bound.address, bound.port, bound.listeners, served))
    return tuple(found)


def asked_of(site: Site) -> Site:
    """The same for who has a proxy before it: nothing is sent again, for that is the proxy's to do."""
    return replace(site, limits=replace(site.limits, tries=1, retry_codes=frozenset()))


def without_sending(listener: Listener) -> Listener:
    """Without what the proxy does once it knows where to send a request: retries, times of attempts, copies."""
    return replace(listener, routes=tuple(map(_without_sending, listener.routes)))


def _without_sending(route: Route) -> Route:
    backends = tuple(replace(backend, mirrors=()) for backend in route.backends)
    return replace(route, backends=backends, retry=None, backend_timeout_s=None, mirrors=())
