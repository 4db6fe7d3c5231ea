"""A gateway's listeners, each judged by itself and against the others (Gateway API: GatewaySpec.listeners)."""

from msgspec import Struct

from headgate.api.gateway import Gateway, Listener, ObjectRef
from headgate.plan.conditions import Fault, judge, met, together, unmet
from headgate.plan.grants import GATEWAY_GROUP, Referent, Referrer, permitted
from headgate.plan.lookup import Lookup
from headgate.plan.plan import Condition

SERVED_PROTOCOLS = {"HTTP"}
SERVED_KINDS = {"HTTPRoute"}
_FAMILIES = {"HTTP": "plain", "HTTPS": "tls", "TLS": "tls"}  # those of one family only a hostname tells apart


class Examined(Struct, frozen=True):
    """A listener, with the kinds of route that may attach to it and what its status says.

    `refused`: why no request gets in, None where they do.
    """

    listener: Listener
    kinds: tuple[str, ...]
    refused: Fault | None
    conditions: tuple[Condition, ...]


def examine(gateway: Gateway, look: Lookup) -> tuple[Examined, ...]:
    return tuple(_examine(listener, gateway, look) for listener in gateway.listeners)


def _examine(listener: Listener, gateway: Gateway, look: Lookup) -> Examined:
    kinds, strange = _kinds(listener)
    conflict = _conflict(listener, gateway.listeners)
    unaccepted = conflict or _unsupported(listener)
    refused = unaccepted or (None if kinds else Fault("Invalid", "no kind of route that is served may attach"))
    conditions = (
        judge("Accepted", [unaccepted] if unaccepted else []),
        met("Conflicted", conflict.reason, conflict.message) if conflict else unmet("Conflicted", "NoConflicts", ""),
        judge("ResolvedRefs", strange + _certificate_faults(listener, gateway, look)),
        unmet("Programmed", conflict.reason if conflict else "Invalid", refused.message)
        if refused
        else met("Programmed"),
    )
    return Examined(listener, kinds, refused, conditions)


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
    if listener.protocol == "HTTPS":
        return Fault("UnsupportedProtocol", "HTTPS listeners are not served yet; use protocol HTTP")
    return Fault("UnsupportedProtocol", f"protocol {listener.protocol} is not served; use protocol HTTP")


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


def _certificate_faults(listener: Listener, gateway: Gateway, look: Lookup) -> list[Fault]:
    refs = listener.tls.certificate_refs if listener.tls else ()
    return [fault for ref in refs if (fault := _certificate_fault(ref, gateway.meta.namespace, look))]


def _certificate_fault(ref: ObjectRef, namespace: str, look: Lookup) -> Fault | None:
    name = f"{ref.namespace or namespace}/{ref.name}"
    if (ref.group, ref.kind) != ("", "Secret"):
        return Fault("InvalidCertificateRef", f"{ref.kind} {name} ({ref.group or 'core'}) is no Secret; use a Secret")
    to = Referent("", "Secret", ref.namespace or namespace, ref.name)
    if not permitted(look.grants, Referrer("Gateway", namespace), to):
        return Fault(
            "RefNotPermitted", f"Secret {name}: no ReferenceGrant in {to.namespace} lets Gateways of {namespace}"
        )
    secret = look.secrets.get(name)
    if secret is None:
        return Fault("InvalidCertificateRef", f"Secret {name} does not exist")
    bad = [key for key in ("tls.crt", "tls.key") if b"-----BEGIN " not in secret.data.get(key, b"")]
    if bad:
        return Fault("InvalidCertificateRef", f"Secret {name}: {' and '.join(bad)} must hold PEM")
    return None


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
    return (met("Accepted", "ListenersNotValid" if bad else "", together(notes)), met("Programmed"))
