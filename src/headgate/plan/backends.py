"""What a route refers to: a backend of the plan, and what the status says of the reference."""

from msgspec import Struct, structs

from headgate.api.gateway import BackendRef
from headgate.api.inference import InferencePool
from headgate.api.workload import Service, ServicePort
from headgate.plan.conditions import Fault
from headgate.plan.filters import edits, extensions
from headgate.plan.grants import Referent, Referrer, permitted
from headgate.plan.lookup import POOL_GROUPS, Lookup
from headgate.plan.plan import Backend, Mirror

# What a Service port's appProtocol says of its servers, in the plan's words (GEP-1911, and GKE's own names).
APP_PROTOCOLS = {
    "": "http",
    "http": "http",
    "kubernetes.io/ws": "http",
    "kubernetes.io/h2c": "kubernetes.io/h2c",
    "h2c": "kubernetes.io/h2c",
    "http2": "kubernetes.io/h2c",
    "https": "https",
}


class Resolved(Struct, frozen=True):
    """A reference followed: `pool` or (`service`, `port`) is what it leads to, `fault` why it leads nowhere."""

    pool: InferencePool | None = None
    service: Service | None = None
    port: ServicePort | None = None
    fault: Fault | None = None
    note: str = ""

    @property
    def name(self) -> str | None:
        """The plan's name of the pool."""
        if self.pool:
            return self.pool.meta.key
        if self.service and self.port:
            return f"{self.service.meta.key}:{self.port.port}"
        return None


def resolve(ref: BackendRef, namespace: str, look: Lookup) -> Resolved:
    """Follow one backendRef of a route in `namespace` (Gateway API: HTTPBackendRef, the reasons it may be invalid)."""
    if unknown := extensions(ref.filters, f"backendRef {ref.name}"):
        return Resolved(fault=unknown[0])
    if (ref.group, ref.kind) == ("", "Service"):
        return _service(ref, namespace, look)
    if ref.kind == "InferencePool" and ref.group in POOL_GROUPS:
        return _pool(ref, namespace, look)
    hint = f"; write group: {POOL_GROUPS[0]}" if ref.kind == "InferencePool" else "; use Service or InferencePool"
    return Resolved(fault=Fault("InvalidKind", f"kind {ref.kind} of group {ref.group or 'core'} is not served{hint}"))


def _pool(ref: BackendRef, namespace: str, look: Lookup) -> Resolved:
    """The pool's port is its own: one in the reference means nothing.

    Either group finds the pool, since on one machine both describe the same endpoints.
    """
    to = Referent(ref.group, ref.kind, ref.namespace or namespace, ref.name)
    pool = look.pools.get(f"{to.namespace}/{to.name}")
    named = [to, structs.replace(to, group=pool.group)] if pool else [to]
    if not any(permitted(look.grants, Referrer("HTTPRoute", namespace), one) for one in named):
        return Resolved(fault=_forbidden(to, namespace))
    if pool is None:
        return Resolved(fault=Fault("BackendNotFound", f"InferencePool {to.namespace}/{to.name} does not exist"))
    if pool.group == to.group:
        return Resolved(pool=pool)
    return Resolved(pool=pool, note=f"InferencePool {pool.meta.key} of group {pool.group} is used, not {to.group}")


def _service(ref: BackendRef, namespace: str, look: Lookup) -> Resolved:
    to = Referent("", "Service", ref.namespace or namespace, ref.name)
    name = f"Service {to.namespace}/{to.name}"
    if not permitted(look.grants, Referrer("HTTPRoute", namespace), to):
        return Resolved(fault=_forbidden(to, namespace))
    service = look.services.get(f"{to.namespace}/{to.name}")
    if service is None:
        return Resolved(fault=Fault("BackendNotFound", f"{name} does not exist"))
    if service.type == "ExternalName":
        return Resolved(fault=Fault("UnsupportedValue", f"{name} is of type ExternalName, which routes can't refer to"))
    if not service.selector:
        return Resolved(fault=Fault("BackendNotFound", f"{name} has no selector, so no endpoints are found for it"))
    ports = [port for port in service.ports if port.protocol == "TCP"]
    port = next((port for port in ports if port.port == ref.port), None)
    if port is None:
        known = ", ".join(str(port.port) for port in ports) or "none"
        return Resolved(fault=Fault("BackendNotFound", f"{name} has no port {ref.port}; its ports: {known}"))
    if port.app_protocol.lower() not in APP_PROTOCOLS:
        told = f"{name}: appProtocol {port.app_protocol} of port {port.port} is not served; use http"
        return Resolved(fault=Fault("UnsupportedProtocol", told))
    if APP_PROTOCOLS[port.app_protocol.lower()] == "https" and not _secured(service, port, look):
        told = f"{name}: appProtocol {port.app_protocol} of port {port.port} does not say whom to trust"
        return Resolved(fault=Fault("UnsupportedProtocol", f"{told}; write a BackendTLSPolicy for it"))
    return Resolved(service=service, port=port)


def _secured(service: Service, port: ServicePort, look: Lookup) -> bool:
    """Whether a BackendTLSPolicy, good or bad, speaks of the port."""
    return bool({(service.meta.key, ""), (service.meta.key, port.name)} & look.secured)


def _forbidden(to: Referent, namespace: str) -> Fault:
    lacks = f"no ReferenceGrant in {to.namespace} lets HTTPRoutes of {namespace} refer to it"
    return Fault("RefNotPermitted", f"{to.kind} {to.namespace}/{to.name}: {lacks}")


def backend(ref: BackendRef, resolved: Resolved, mirrors: tuple[Mirror, ...] = ()) -> Backend:
    """The plan's backend; its share of the requests gets 500 where the reference leads nowhere."""
    if resolved.fault:
        return Backend(None, ref.weight, reason=resolved.fault.message)
    done = edits(ref.filters)
    return Backend(
        resolved.name, ref.weight, done.request, done.response, done.rewrite, done.redirect, mirrors, done.cors
    )
