"""Which listeners a route attaches to (Gateway API: ParentReference, AllowedRoutes, HTTPRouteSpec.hostnames)."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.api.gateway import HTTPRoute, ParentRef
from headgate.plan.conditions import Fault, together
from headgate.plan.grants import GATEWAY_GROUP
from headgate.plan.hostnames import intersect
from headgate.plan.labels import selects
from headgate.plan.listeners import Examined
from headgate.plan.lookup import Lookup, namespace_labels


class Attachment(Struct, frozen=True):
    """What one parentRef led to: the hostnames of the route on each listener that takes it, or why none does."""

    ref: ParentRef
    gateway: str  # namespace/name, there or not
    listeners: Mapping[str, tuple[str, ...]] = {}
    fault: Fault | None = None

    @property
    def parent(self) -> str:
        """As `plan.ParentStatus` names it."""
        section = f" {self.ref.section_name}" if self.ref.section_name else ""
        port = f":{self.ref.port}" if self.ref.port else ""
        return f"Gateway {self.gateway}{section}{port}"


def attach(route: HTTPRoute, gateways: Mapping[str, tuple[Examined, ...]], look: Lookup) -> tuple[Attachment, ...]:
    """One for each parentRef to a Gateway; parents of other kinds (a Service, for a mesh) are not ours."""
    refs = [ref for ref in route.parent_refs if (ref.group, ref.kind) == (GATEWAY_GROUP, "Gateway")]
    return tuple(_attach(route, ref, gateways, look) for ref in refs)


def _attach(route: HTTPRoute, ref: ParentRef, gateways: Mapping[str, tuple[Examined, ...]], look: Lookup) -> Attachment:
    """The three questions in the order of their reasons: is there such a listener, may we, do we share a hostname."""
    gateway = f"{ref.namespace or route.meta.namespace}/{ref.name}"

    def failed(reason: str, message: str) -> Attachment:
        return Attachment(ref, gateway, fault=Fault(reason, message))

    if gateway not in gateways:
        return failed("NoMatchingParent", f"Gateway {gateway} does not exist")
    named = [one for one in gateways[gateway] if _named(ref, one)]
    if not named:
        there = ", ".join(f"{one.listener.name}:{one.listener.port}" for one in gateways[gateway])
        return failed("NoMatchingParent", f"Gateway {gateway} has no such listener; its listeners: {there}")
    barred = {one.listener.name: _barred(route, one, ref.namespace or route.meta.namespace, look) for one in named}
    allowed = [one for one in named if not barred[one.listener.name]]
    if not allowed:
        return failed("NotAllowedByListeners", together(f"listener {name}: {why}" for name, why in barred.items()))
    shared = {one.listener.name: intersect(one.listener.hostname, route.hostnames) for one in allowed}
    listeners = {name: hostnames for name, hostnames in shared.items() if hostnames is not None}
    if not listeners:
        wanted = ", ".join(dict.fromkeys(one.listener.hostname for one in allowed))
        told = f"listeners take {wanted} only, and none of the route's hostnames is among them"
        return failed("NoMatchingListenerHostname", told)
    return Attachment(ref, gateway, listeners)


def _named(ref: ParentRef, one: Examined) -> bool:
    return ref.section_name in (None, "", one.listener.name) and ref.port in (None, one.listener.port)


def _barred(route: HTTPRoute, one: Examined, home: str, look: Lookup) -> str:
    """Why the listener (of a gateway in namespace `home`) doesn't take the route, "" when it does."""
    if "HTTPRoute" not in one.kinds:
        return one.refused.message if one.refused else "takes no HTTPRoutes"
    namespaces = one.listener.allowed_routes.namespaces
    match namespaces.from_:
        case "All":
            return ""
        case "Same":
            return "" if route.meta.namespace == home else f"takes routes of namespace {home} only"
        case "Selector":
            labels = namespace_labels(look, route.meta.namespace)
            chosen = namespaces.selector is not None and selects(namespaces.selector, labels)
            return "" if chosen else f"its selector does not choose namespace {route.meta.namespace}"
        case "None":
            return "takes no routes"
