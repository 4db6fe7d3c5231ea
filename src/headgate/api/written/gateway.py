"""GatewayClass, Gateway, HTTPRoute and ReferenceGrant (v1 and v1beta1 are written alike)."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.api.formats import Controller, Group, Hostname, KindName, Label, LabelKey, LabelValue
from headgate.api.gateway import (
    BackendRef,
    Gateway,
    GatewayAddress,
    GatewayClass,
    GrantFrom,
    GrantTo,
    HTTPRoute,
    Listener,
    ParentRef,
    ReferenceGrant,
    RouteMatch,
    RouteRule,
)
from headgate.api.meta import Meta, Name
from headgate.api.tls import GatewayTLS
from headgate.api.tree import Tree
from headgate.api.written.metadata import Spec


class ParametersRef(Struct, frozen=True):
    """What configures a cluster's own gateway: it has no effect here, and must be well formed all the same."""

    group: Group
    kind: KindName
    name: Name


class ClassParametersRef(ParametersRef, frozen=True):
    namespace: Label | None = None


class GatewayClassSpec(Struct, frozen=True, rename="camel"):
    controller_name: Controller
    parameters_ref: ClassParametersRef | None = None
    description: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Infrastructure(Struct, frozen=True, rename="camel"):
    labels: Annotated[Mapping[LabelKey, LabelValue], msgspec.Meta(max_length=8)] = {}
    annotations: Annotated[Mapping[LabelKey, str], msgspec.Meta(max_length=16)] = {}
    parameters_ref: ParametersRef | None = None


class GatewaySpec(Struct, frozen=True, rename="camel"):
    gateway_class_name: Name
    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(min_length=1, max_length=64)]
    addresses: Annotated[tuple[GatewayAddress, ...], msgspec.Meta(max_length=16)] = ()
    infrastructure: Infrastructure = Infrastructure()
    tls: GatewayTLS = GatewayTLS()


class HTTPRouteSpec(Struct, frozen=True, rename="camel"):
    """`backendRefs` belongs inside a rule; a widely read guide writes it here, so it is read (with a warning)."""

    parent_refs: Annotated[tuple[ParentRef, ...], msgspec.Meta(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], msgspec.Meta(max_length=16)] = ()
    rules: Annotated[tuple[RouteRule, ...], msgspec.Meta(min_length=1, max_length=16)] = (RouteRule(),)
    backend_refs: Annotated[tuple[BackendRef, ...], msgspec.Meta(max_length=16)] = ()


class ReferenceGrantSpec(Struct, frozen=True):
    from_: Annotated[tuple[GrantFrom, ...], msgspec.Meta(min_length=1, max_length=16)] = msgspec.field(name="from")
    to: Annotated[tuple[GrantTo, ...], msgspec.Meta(min_length=1, max_length=16)]


def gateway_class(meta: Meta, written: Spec[GatewayClassSpec], _: Tree) -> GatewayClass:
    return GatewayClass(meta, written.spec.controller_name)


def gateway(meta: Meta, written: Spec[GatewaySpec], _: Tree) -> Gateway:
    spec = written.spec
    return Gateway(meta, spec.gateway_class_name, spec.listeners, spec.addresses, spec.tls)


def http_route(meta: Meta, written: Spec[HTTPRouteSpec], _: Tree) -> HTTPRoute:
    spec = written.spec
    # `matches: []` is as good as none: the route takes every path.
    rules = tuple(rule if rule.matches else replace(rule, matches=(RouteMatch(),)) for rule in spec.rules)
    if misplaced(spec):
        rules = (*rules[:-1], replace(rules[-1], backend_refs=spec.backend_refs))
    return HTTPRoute(meta, spec.parent_refs, spec.hostnames, rules)


def misplaced(spec: HTTPRouteSpec) -> bool:
    """Whether `backendRefs` beside the rules can only mean those of the last rule."""
    return bool(spec.backend_refs) and bool(spec.rules) and not any(rule.backend_refs for rule in spec.rules)


def reference_grant(meta: Meta, written: Spec[ReferenceGrantSpec], _: Tree) -> ReferenceGrant:
    return ReferenceGrant(meta, written.spec.from_, written.spec.to)
