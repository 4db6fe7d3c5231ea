"""Envoy Gateway's SecurityPolicy (gateway.envoyproxy.io/v1alpha1), as far as API keys go."""

from typing import Annotated

import msgspec
from msgspec import Struct

from headgate.api.formats import Group, HeaderName, KindName, Subdomain
from headgate.api.gateway import ObjectRef
from headgate.api.meta import Meta, Name


class KeySource(Struct, frozen=True, rename="camel"):
    """Where clients put their key."""

    headers: tuple[HeaderName, ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()


class ApiKeyAuth(Struct, frozen=True, rename="camel"):
    """Each entry of the Secrets is a client: its name, and its key."""

    credential_refs: Annotated[tuple[ObjectRef, ...], msgspec.Meta(min_length=1)]
    extract_from: Annotated[tuple[KeySource, ...], msgspec.Meta(min_length=1)]
    forward_client_id_header: HeaderName | None = msgspec.field(name="forwardClientIDHeader", default=None)
    sanitize: bool = False


class SecurityTarget(Struct, frozen=True, rename="camel"):
    group: Group
    kind: KindName
    name: Name
    section_name: Subdomain | None = None


class SecurityPolicy(Struct, frozen=True):
    """`others` are the members that mean nothing here; `selects` says that it finds targets by their labels."""

    meta: Meta
    targets: tuple[SecurityTarget, ...]
    keys: ApiKeyAuth | None = None
    others: tuple[str, ...] = ()
    selects: bool = False
