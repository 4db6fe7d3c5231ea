"""The Inference Extension's objects, each version read into one form.

InferencePool v1 (inference.networking.k8s.io) and v1alpha2 (…x-k8s.io) become the same `InferencePool`;
InferenceObjective and InferenceModelRewrite are the same in both groups (…x-k8s.io and llm-d.ai).
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import Group, KindName
from headgate.api.meta import Meta, Name, Port

Weight = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class PickerRef(Struct, frozen=True, rename="camel"):
    name: Name
    group: Group = ""
    kind: KindName = "Service"
    port: Port | None = None
    failure_mode: Literal["FailOpen", "FailClose"] = "FailClose"


INCLUDE_USAGE = "headgate.dev/include-usage"


class InferencePool(Struct, frozen=True):
    """With the annotation `headgate.dev/include-usage: "false"` its servers can't be asked for usage in streams."""

    meta: Meta
    group: str  # the API group it was written in
    version: str  # v1 or v1alpha2
    selector: Mapping[str, str]
    target_ports: tuple[int, ...]
    app_protocol: Literal["http", "kubernetes.io/h2c"] = "http"
    picker: PickerRef | None = None


class TargetModel(Struct, frozen=True, rename="camel"):
    name: Name
    weight: Weight | None = None


class PoolRef(Struct, frozen=True, rename="camel"):
    """`group` is "" where it was not written: the kind's own default applies (facts of the kind's CRD)."""

    name: Name
    group: Group = ""
    kind: KindName = "InferencePool"


class InferenceModel(Struct, frozen=True):
    meta: Meta
    model_name: str
    pool_ref: PoolRef
    criticality: Literal["Critical", "Standard", "Sheddable"] | None = None
    target_models: tuple[TargetModel, ...] = ()


class InferenceObjective(Struct, frozen=True):
    meta: Meta
    group: str
    pool_ref: PoolRef
    priority: int | None = None


class ModelMatch(Struct, frozen=True, rename="camel"):
    value: Annotated[str, msgspec.Meta(min_length=1)]
    type: Literal["Exact"] = "Exact"


class RewriteMatch(Struct, frozen=True, rename="camel"):
    model: ModelMatch


class RewriteTarget(Struct, frozen=True, rename="camel"):
    model_rewrite: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Weight | None = None


class RewriteRule(Struct, frozen=True, rename="camel"):
    targets: Annotated[tuple[RewriteTarget, ...], msgspec.Meta(min_length=1)]
    matches: tuple[RewriteMatch, ...] = ()


class InferenceModelRewrite(Struct, frozen=True):
    meta: Meta
    group: str
    pool_ref: PoolRef
    rules: tuple[RewriteRule, ...]
