"""Rules of Gateway (gateway.networking.k8s.io_gateways.yaml, its CEL rules) and ReferenceGrant."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.formats import is_ip
from headgate.api.gateway import GatewayAddress, Listener, ListenerTLS
from headgate.api.meta import Meta
from headgate.api.rules import selectors
from headgate.api.rules.sameness import repeated
from headgate.api.rules.security import annotated
from headgate.api.rules.tls import client_validation, frontend
from headgate.api.written.gateway import GatewaySpec
from headgate.api.written.metadata import Spec

_PROTOCOLS = ("HTTP", "HTTPS", "TLS", "TCP", "UDP")
_NO_TLS = ("HTTP", "TCP", "UDP")
_CERTIFICATE_MAP = "networking.gke.io/certmap"


def gateway(meta: Meta, written: Spec[GatewaySpec]) -> Iterator[Fault]:
    path: Path = ("spec", "listeners")
    listeners = written.spec.listeners
    names = [listener.name for listener in listeners]
    yield from repeated(names, path, ("name",), '"{value}" is the name of {first} too: give each listener its own')
    for i, listener in enumerate(listeners):
        yield from _listener(listener, (*path, i), _CERTIFICATE_MAP in meta.annotations)
    yield from repeated(
        [(listener.port, listener.protocol, listener.hostname) for listener in listeners],
        path,
        (),
        "the same port, protocol and hostname as {first}: change one of the three, or remove this listener",
    )
    yield from frontend(written.spec.tls, listeners)
    yield from annotated(meta)
    yield from _addresses(written.spec.addresses)


def _listener(listener: Listener, path: Path, certified: bool) -> Iterator[Fault]:
    if is_ip(listener.hostname):
        yield Fault((*path, "hostname"), f'"{listener.hostname}" is an IP address: write a DNS name, or no hostname')
    if listener.protocol in ("TCP", "UDP") and listener.hostname:
        yield Fault((*path, "hostname"), f"{listener.protocol} knows no hostnames: remove it")
    if listener.protocol not in _PROTOCOLS and listener.protocol.upper() in _PROTOCOLS:
        message = f"{listener.protocol} is another protocol than {listener.protocol.upper()}: write it in capitals"
        yield Fault((*path, "protocol"), message, "warning")
    yield from _tls(listener, (*path, "tls"), certified)
    routes = (*path, "allowedRoutes", "namespaces")
    namespaces = listener.allowed_routes.namespaces
    if namespaces.selector:
        yield from selectors.check(namespaces.selector, (*routes, "selector"))
    if namespaces.from_ == "Selector" and not namespaces.selector:
        yield Fault(
            (*routes, "selector"), "missing: write one; `from: Selector` without it allows no namespace", "warning"
        )
    if namespaces.from_ != "Selector" and namespaces.selector:
        yield Fault((*routes, "selector"), "without effect: write `from: Selector` beside it", "warning")


def _tls(listener: Listener, path: Path, certified: bool) -> Iterator[Fault]:
    tls, protocol = listener.tls, listener.protocol
    if protocol in _NO_TLS and tls is not None:
        yield Fault(path, f"protocol {protocol} has no TLS: write `protocol: HTTPS`, or remove `tls`")
    elif protocol == "TLS" and tls is None:
        yield Fault(path, "missing: write `tls:` with `mode: Terminate` or `mode: Passthrough`")
    elif protocol == "HTTPS" and tls is None and not certified:
        message = "missing: without a certificate no client can connect; write `tls:` with `certificateRefs:`"
        yield Fault(path, message, "warning")
    elif protocol == "HTTPS" and tls is not None and tls.mode != "Terminate":
        yield Fault((*path, "mode"), f"HTTPS ends TLS at the gateway: write `mode: Terminate`, not {tls.mode}")
    if tls is not None and protocol not in _NO_TLS:
        yield from _certificates(tls, path)
        yield from client_validation(tls.frontend_validation, (*path, "frontendValidation"))


def _certificates(tls: ListenerTLS, path: Path) -> Iterator[Fault]:
    for key in tls.options:
        yield Fault((*path, "options", key), "no effect here: no options are known", "note")
    if tls.mode == "Terminate" and not tls.certificate_refs and not tls.options:
        yield Fault((*path, "certificateRefs"), "missing: write the name of a Secret of type kubernetes.io/tls")


def _addresses(addresses: tuple[GatewayAddress, ...]) -> Iterator[Fault]:
    path: Path = ("spec", "addresses")
    for i, address in enumerate(addresses):
        place = (*path, i, "value")
        if address.type == "IPAddress" and address.value and not is_ip(address.value):
            yield Fault(place, f'"{address.value}" is no IP address: write one such as 10.0.0.7, or `type: Hostname`')
    values = [(address.type, address.value) if address.value else None for address in addresses]
    yield from repeated(values, path, ("value",), "the same as {first}: remove one of the two")
