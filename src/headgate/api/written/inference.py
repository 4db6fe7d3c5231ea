"""InferencePool (v1 and v1alpha2), InferenceModel, InferenceObjective and InferenceModelRewrite."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import Group, KindName, LabelKey, LabelValue
from headgate.api.inference import (
    InferenceModel,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    PickerRef,
    PoolRef,
    RewriteRule,
    TargetModel,
)
from headgate.api.meta import Meta, Name, Port
from headgate.api.tree import Tree
from headgate.api.written.metadata import Spec

PICKER_PORT = 9002  # what an extensionRef of v1alpha2 means where it names no port


class PortNumber(Struct, frozen=True):
    number: Port


class PoolSelector(Struct, frozen=True, rename="camel"):
    match_labels: Annotated[Mapping[LabelKey, LabelValue], msgspec.Meta(min_length=1, max_length=64)]


class EndpointPickerRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: KindName = "Service"
    port: PortNumber | None = None
    failure_mode: Literal["FailOpen", "FailClose"] = "FailClose"


class PoolSpec(Struct, frozen=True, rename="camel"):
    selector: PoolSelector
    target_ports: Annotated[tuple[PortNumber, ...], msgspec.Meta(min_length=1, max_length=8)]
    app_protocol: Literal["http", "kubernetes.io/h2c"] = "http"
    endpoint_picker_ref: EndpointPickerRef | None = None


class ExtensionRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: KindName = "Service"
    port_number: Port | None = None
    failure_mode: Literal["FailOpen", "FailClose"] = "FailClose"


class PoolSpecAlpha(Struct, frozen=True, rename="camel"):
    selector: Annotated[Mapping[LabelKey, LabelValue], msgspec.Meta(min_length=1, max_length=64)]
    target_port_number: Port
    extension_ref: ExtensionRef | None = None


class ModelSpec(Struct, frozen=True, rename="camel"):
    model_name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    pool_ref: PoolRef
    criticality: Literal["Critical", "Standard", "Sheddable"] | None = None
    target_models: Annotated[tuple[TargetModel, ...], msgspec.Meta(max_length=10)] = ()


class ObjectiveSpec(Struct, frozen=True, rename="camel"):
    pool_ref: PoolRef
    priority: int | None = None


class RewriteSpec(Struct, frozen=True, rename="camel"):
    pool_ref: PoolRef
    rules: tuple[RewriteRule, ...]


def pool_v1(meta: Meta, written: Spec[PoolSpec], _: Tree) -> InferencePool:
    spec = written.spec
    ref = spec.endpoint_picker_ref
    return InferencePool(
        meta=meta,
        group="inference.networking.k8s.io",
        version="v1",
        selector=spec.selector.match_labels,
        target_ports=tuple(port.number for port in spec.target_ports),
        app_protocol=spec.app_protocol,
        picker=None
        if ref is None
        else PickerRef(
            name=ref.name,
            group=ref.group,
            kind=ref.kind,
            port=ref.port.number if ref.port else None,
            failure_mode=ref.failure_mode,
        ),
    )


def pool_v1alpha2(meta: Meta, written: Spec[PoolSpecAlpha], _: Tree) -> InferencePool:
    spec = written.spec
    ref = spec.extension_ref
    return InferencePool(
        meta=meta,
        group="inference.networking.x-k8s.io",
        version="v1alpha2",
        selector=spec.selector,
        target_ports=(spec.target_port_number,),
        picker=None
        if ref is None
        else PickerRef(
            name=ref.name,
            group=ref.group,
            kind=ref.kind,
            port=ref.port_number or PICKER_PORT,
            failure_mode=ref.failure_mode,
        ),
    )


def model(meta: Meta, written: Spec[ModelSpec], _: Tree) -> InferenceModel:
    spec = written.spec
    return InferenceModel(meta, spec.model_name, spec.pool_ref, spec.criticality, spec.target_models)


def objective(group: str) -> Callable[[Meta, Any, Tree], InferenceObjective]:
    """How an InferenceObjective of this API group is read."""

    def read(meta: Meta, written: Spec[ObjectiveSpec], _: Tree) -> InferenceObjective:
        return InferenceObjective(meta, group, written.spec.pool_ref, written.spec.priority)

    return read


def rewrite(group: str) -> Callable[[Meta, Any, Tree], InferenceModelRewrite]:
    """How an InferenceModelRewrite of this API group is read."""

    def read(meta: Meta, written: Spec[RewriteSpec], _: Tree) -> InferenceModelRewrite:
        return InferenceModelRewrite(meta, group, written.spec.pool_ref, written.spec.rules)

    return read
