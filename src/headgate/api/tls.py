"""TLS in the Gateway API: which clients a gateway lets in, and whom it trusts behind it (v1, v1alpha3)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import AbsoluteURI, Group, Hostname, KindName, Label, PreciseHostname, Subdomain, WellKnown
from headgate.api.meta import Meta, Name, Port


class AuthorityRef(Struct, frozen=True):
    """An object that holds certificates of authorities; without a namespace it is in that of who refers to it."""

    group: Group
    kind: KindName
    name: Name
    namespace: Label | None = None


class ClientValidation(Struct, frozen=True, rename="camel"):
    """FrontendTLSValidation: the certificate that a client must show."""

    ca_certificate_refs: Annotated[tuple[AuthorityRef, ...], msgspec.Meta(min_length=1, max_length=16)]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class Clients(Struct, frozen=True):
    validation: ClientValidation | None = None


class PortClients(Struct, frozen=True):
    port: Port
    tls: Clients


class Frontend(Struct, frozen=True, rename="camel"):
    """For the HTTPS listeners of a gateway: those of some ports, and all others."""

    default: Clients
    per_port: Annotated[tuple[PortClients, ...], msgspec.Meta(max_length=64)] = ()


class GatewayTLS(Struct, frozen=True):
    """`spec.tls` of a Gateway (since v1.4 of the API); `backend` stays as written."""

    frontend: Frontend | None = None
    backend: Mapping[str, Any] = {}


class LocalRef(Struct, frozen=True):
    """An object in the namespace of who refers to it."""

    group: Group
    kind: KindName
    name: Name


class PolicyTarget(Struct, frozen=True, rename="camel"):
    """`section_name` is the name of a Service's port."""

    group: Group
    kind: KindName
    name: Name
    section_name: Subdomain = ""


class AltName(Struct, frozen=True):
    """A subject alternative name: `hostname` or `uri` is set, as `type` says."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname = ""
    uri: AbsoluteURI = ""


class ServerValidation(Struct, frozen=True, rename="camel"):
    """BackendTLSPolicyValidation: the certificate that a server must show."""

    hostname: PreciseHostname
    ca_certificate_refs: Annotated[tuple[LocalRef, ...], msgspec.Meta(max_length=8)] = ()
    well_known: WellKnown = msgspec.field(name="wellKnownCACertificates", default="")
    subject_alt_names: Annotated[tuple[AltName, ...], msgspec.Meta(max_length=5)] = ()


class BackendTLSPolicy(Struct, frozen=True):
    meta: Meta
    targets: tuple[PolicyTarget, ...]
    validation: ServerValidation
