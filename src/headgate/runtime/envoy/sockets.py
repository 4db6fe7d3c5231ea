"""Where Envoy listens: the addresses that gateways were given."""

from headgate.envoy.render import Socket
from headgate.exchange.edits import ServedAt
from headgate.plan.plan import Plan
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
