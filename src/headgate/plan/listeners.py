"""A gateway's listeners, each judged by itself and against the others (Gateway API: GatewaySpec.listeners)."""

from msgspec import Struct

from headgate.api.gateway import Gateway, Listener
from headgate.plan.conditions import Fault, judge, met, together, unmet
from headgate.plan.grants import GATEWAY_GROUP
from headgate.plan.hostnames import covers
from headgate.plan.lookup import Lookup
from headgate.plan.plan import Condition
from headgate.plan.termination import insecure, terminate
from headgate.plan.tls import Termination

SERVED_PROTOCOLS = {"HTTP", "HTTPS"}
SERVED_KINDS = {"HTTPRoute"}
_FAMILIES = {"HTTP": "plain", "HTTPS": "tls", "TLS": "tls"}  # those of one family only a hostname tells apart


class Examined(Struct, frozen=True):
    """A listener, with the kinds of route that may attach to it and what its status says.

    `refused`: why no request gets in, None where they do. `tls` is what its clients see of TLS, None for plain HTTP.
    """

    listener: Listener
    kinds: tuple[str, ...]
    refused: Fault | None
    conditions: tuple[Condition, ...]
    tls: Termination | None = None


def examine(gateway: Gateway, look: Lookup) -> tuple[Examined, ...]:
    return tuple(_examine(listener, gateway, look) for listener in gateway.listeners)


def _examine(listener: Listener, gateway: Gateway, look: Lookup) -> Examined:
    kinds, strange = _kinds(listener)
    conflict = _conflict(listener, gateway.listeners)
    secured = terminate(listener, gateway, look)
    unaccepted = conflict or _unsupported(listener) or secured.barred
    refused = unaccepted or (None if kinds else Fault("Invalid", "no kind of route that is served may attach"))
    if not refused and listener.protocol == "HTTPS" and secured.tls is None:
        refused = Fault("Invalid", together(fault.message for fault in secured.faults))
    conditions = (
        judge("Accepted", [unaccepted] if unaccepted else []),
        met("Conflicted", conflict.reason, conflict.message) if conflict else unmet("Conflicted", "NoConflicts", ""),
        judge("ResolvedRefs", [*strange, *secured.faults], secured.notes),
        unmet("Programmed", conflict.reason if conflict else "Invalid", refused.message)
        if refused
        else met("Programmed"),
        *_overlap(listener, gateway.listeners),
    )
    return Examined(listener, kinds, refused, conditions, secured.tls)


def _kinds(listener: Listener) -> tuple[tuple[str, ...], list[Fault]]:
    """The kinds that may attach, and what is wrong with those that were asked for."""
    asked = listener.allowed_routes.kinds
    served = listener.protocol in SERVED_PROTOCOLS
    kinds = dict.fromkeys(k.kind for k in asked if k.group == GATEWAY_GROUP and k.kind in SERVED_KINDS)
    strange = [
        Fault("InvalidRouteKinds", f"routes of kind {k.kind} ({k.group or 'core'}) are not served; use HTTPRoute")
        for k in asked
        if k.group != GATEWAY_GROUP or k.kind not in SERVED_KINDS
    ]
    if not served:
        return (), strange
    return tuple(kinds) if asked else tuple(sorted(SERVED_KINDS)), strange


def _unsupported(listener: Listener) -> Fault | None:
    if listener.protocol in SERVED_PROTOCOLS:
        return None
    return Fault("UnsupportedProtocol", f"protocol {listener.protocol} is not served; use protocol HTTP or HTTPS")


def _conflict(listener: Listener, listeners: tuple[Listener, ...]) -> Fault | None:
    """Of listeners that can't be told apart none is served, so that none wins by its place in the list.

    Protocols that we don't know take no part: they are refused as they are.
    """
    family = _FAMILIES.get(listener.protocol)
    peers = [o for o in listeners if o is not listener and o.port == listener.port and o.protocol in _FAMILIES]
    if family is None:
        return None
    others = [o for o in peers if _FAMILIES[o.protocol] != family]
    if others:
        named = " and ".join(f"{o.name} ({o.protocol})" for o in others)
        return Fault("ProtocolConflict", f"port {listener.port} is also that of {named}; give each protocol its port")
    twins = [o for o in peers if o.hostname.lower() == listener.hostname.lower()]
    if twins:
        named = " and ".join(o.name for o in twins)
        return Fault("HostnameConflict", f"port {listener.port} and hostname are also those of {named}; change one")
    return None


def _overlap(listener: Listener, listeners: tuple[Listener, ...]) -> list[Condition]:
    """A warning that the API prescribes: on a connection for one hostname, requests for another may be refused."""
    if listener.protocol != "HTTPS":
        return []
    peers = [o for o in listeners if o is not listener and o.port == listener.port and o.protocol == "HTTPS"]
    own = listener.hostname.lower()
    shared = [o.name for o in peers if covers(own, o.hostname.lower()) or covers(o.hostname.lower(), own)]
    if not shared:
        return []
    told = f"its hostnames are shared with {' and '.join(shared)}; a connection serves those of one listener only"
    return [met("OverlappingTLSConfig", "OverlappingHostnames", told)]


def gateway_conditions(gateway: Gateway, listeners: tuple[Examined, ...]) -> tuple[Condition, ...]:
    """Accepted and Programmed of the whole gateway: it lives when one of its listeners does."""
    bad = [one.listener.name for one in listeners if one.refused]
    if len(bad) == len(listeners):
        message = "no listener can be served; see their conditions"
        return (unmet("Accepted", "ListenersNotValid", message), unmet("Programmed", "Invalid", message))
    notes = [
        f"an address of type {address.type} means nothing on one machine: one is chosen here"
        for address in gateway.addresses
        if address.type != "IPAddress"
    ]
    if bad:
        notes.append(f"not served: {', '.join(bad)}; see their conditions")
    accepted = met("Accepted", "ListenersNotValid" if bad else "", together(notes))
    open_to = insecure(gateway)
    if not open_to:
        return (accepted, met("Programmed"))
    told = f"clients need no valid certificate at {' and '.join(open_to)}"
    return (accepted, met("Programmed"), met("InsecureFrontendValidationMode", "ConfigurationChanged", told))
