"""TLS of one listener: its certificates, and which clients it lets in (Gateway API: ListenerTLSConfig, GEP-91)."""

from collections.abc import Iterator

from msgspec import Struct

from headgate.api.gateway import Gateway, Listener
from headgate.api.tls import ClientValidation
from headgate.plan.certificates import certify, trust
from headgate.plan.conditions import Fault
from headgate.plan.lookup import Lookup
from headgate.plan.tls import Termination

_FALLBACK = "AllowInsecureFallback"
_GOOGLES = ("networking.gke.io/certmap", "networking.gke.io/pre-shared-certs")


class Terminated(Struct, frozen=True):
    """`tls` is None where there is nothing to show to clients. `barred`: why the listener can't be accepted at all.

    `faults` and `notes` are of its references.
    """

    tls: Termination | None = None
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    barred: Fault | None = None


def terminate(listener: Listener, gateway: Gateway, look: Lookup) -> Terminated:
    refs = listener.tls.certificate_refs if listener.tls else ()
    certified = certify(refs, gateway.meta.namespace, look)
    if listener.protocol != "HTTPS":
        return Terminated(faults=certified.faults)
    faults = certified.faults or (() if refs else (_no_certificate(listener, gateway),))
    validation = validation_of(listener, gateway)
    if validation is None:
        tls = Termination(certified.certificates) if certified.certificates else None
        return Terminated(tls, faults, certified.notes)
    trusted = trust(validation.ca_certificate_refs, gateway.meta.namespace, look)
    faults = (*faults, *trusted.faults)
    if trusted.authorities is None:
        # Not falling back to letting everybody in is what the specification asks for.
        why = "no certificate of an authority to know clients by; see ResolvedRefs"
        return Terminated(None, faults, certified.notes, Fault("NoValidCACertificate", why))
    clients = None if validation.mode == _FALLBACK else trusted.authorities
    tls = Termination(certified.certificates, clients) if certified.certificates else None
    return Terminated(tls, faults, certified.notes)


def _no_certificate(listener: Listener, gateway: Gateway) -> Fault:
    options = listener.tls.options if listener.tls else {}
    googles = next((name for name in _GOOGLES if name in gateway.meta.annotations or name in options), "")
    where = f"that of {googles} is in Google Cloud; " if googles else ""
    return Fault("InvalidCertificateRef", f"no certificate: {where}write tls.certificateRefs with the name of a Secret")


def validation_of(listener: Listener, gateway: Gateway) -> ClientValidation | None:
    """What the listener asks of clients: by itself, or what its port does, or what the gateway does."""
    if listener.tls and listener.tls.frontend_validation:
        return listener.tls.frontend_validation
    frontend = gateway.tls.frontend
    if frontend is None:
        return None
    of_port = next((one.tls for one in frontend.per_port if one.port == listener.port), frontend.default)
    return of_port.validation


def insecure(gateway: Gateway) -> list[str]:
    """Where clients are asked for a certificate that they need not have."""
    return [place for place, validation in validations(gateway) if validation and validation.mode == _FALLBACK]


def validations(gateway: Gateway) -> Iterator[tuple[str, ClientValidation | None]]:
    """All that are written, each with its place."""
    if gateway.tls.frontend:
        yield "spec.tls.frontend.default", gateway.tls.frontend.default.validation
        yield from ((f"port {one.port}", one.tls.validation) for one in gateway.tls.frontend.per_port)
    for listener in gateway.listeners:
        yield f"listener {listener.name}", listener.tls.frontend_validation if listener.tls else None
