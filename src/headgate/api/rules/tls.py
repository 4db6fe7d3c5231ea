"""Rules of BackendTLSPolicy, and of what a Gateway asks of its clients (both CRDs' CEL rules)."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.gateway import Listener
from headgate.api.meta import Meta
from headgate.api.rules.sameness import repeated
from headgate.api.tls import AltName, ClientValidation, GatewayTLS, PolicyTarget
from headgate.api.written.metadata import Spec
from headgate.api.written.tls import BackendTLSSpec


def backend_tls(_: Meta, written: Spec[BackendTLSSpec]) -> Iterator[Fault]:
    spec = written.spec
    yield from _targets(spec.target_refs, ("spec", "targetRefs"))
    path: Path = ("spec", "validation")
    refs, well_known = spec.validation.ca_certificate_refs, spec.validation.well_known
    if refs and well_known:
        yield Fault((*path, "wellKnownCACertificates"), "caCertificateRefs says whom to trust: keep one of the two")
    if not refs and not well_known:
        message = "missing: write the name of a ConfigMap, or `wellKnownCACertificates: System` beside it"
        yield Fault((*path, "caCertificateRefs"), message)
    for i, name in enumerate(spec.validation.subject_alt_names):
        yield from _alt_name(name, (*path, "subjectAltNames", i))
    for key in spec.options:
        yield Fault(("spec", "options", key), "no effect here: no options are known", "note")


def _targets(targets: tuple[PolicyTarget, ...], path: Path) -> Iterator[Fault]:
    keys = [(target.group, target.kind, target.name) for target in targets]
    for i, (key, target) in enumerate(zip(keys, targets, strict=True)):
        if not target.section_name and keys.count(key) > 1:
            yield Fault((*path, i, "sectionName"), f"missing: {target.name} is a target more than once; write a port's")
    sections = [
        (*key, target.section_name) if target.section_name else None for key, target in zip(keys, targets, strict=True)
    ]
    yield from repeated(sections, path, (), "the same target as {first}: remove one of the two")


def _alt_name(name: AltName, path: Path) -> Iterator[Fault]:
    wanted = {"Hostname": "hostname", "URI": "uri"}.get(name.type)
    for field, value in (("hostname", name.hostname), ("uri", name.uri)) if wanted else ():
        if field == wanted and not value:
            yield Fault((*path, field), f"missing: write it, as type {name.type} needs it")
        if field != wanted and value:
            yield Fault((*path, field), f"does not go with type {name.type}: remove it, or change the type")


def frontend(tls: GatewayTLS, listeners: tuple[Listener, ...]) -> Iterator[Fault]:
    """Of `spec.tls` of a Gateway."""
    path: Path = ("spec", "tls")
    if tls.backend:
        message = "no effect here: the gateway shows endpoints no certificate of its own; remove it"
        yield Fault((*path, "backend"), message, "warning")
    if tls.frontend is None:
        return
    yield from client_validation(tls.frontend.default.validation, (*path, "frontend", "default", "validation"))
    place: Path = (*path, "frontend", "perPort")
    ports = [one.port for one in tls.frontend.per_port]
    yield from repeated(ports, place, ("port",), "{value} is the port of {first} too: keep one of the two")
    secured = {listener.port for listener in listeners if listener.protocol == "HTTPS"}
    for i, one in enumerate(tls.frontend.per_port):
        yield from client_validation(one.tls.validation, (*place, i, "tls", "validation"))
        if one.port not in secured:
            message = f"no effect: no listener of protocol HTTPS has port {one.port}; remove it, or write another"
            yield Fault((*place, i, "port"), message, "warning")


def client_validation(validation: ClientValidation | None, path: Path) -> Iterator[Fault]:
    if validation is not None and validation.mode == "AllowInsecureFallback":
        message = "every client is let in, with a certificate or without; write AllowValidOnly to keep others out"
        yield Fault((*path, "mode"), message, "warning")
