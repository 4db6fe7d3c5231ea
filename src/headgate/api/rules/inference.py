"""Rules of the Inference Extension's kinds (their CRDs' CEL rules)."""

import re
from collections.abc import Iterator

from headgate.api.fault import Fault, shown
from headgate.api.inference import INCLUDE_USAGE
from headgate.api.meta import Meta
from headgate.api.picker import PICKER_CONFIG
from headgate.api.rules.protocol import told_of_http2
from headgate.api.rules.sameness import repeated
from headgate.api.written.inference import ModelSpec, ObjectiveSpec, PoolSpec, PoolSpecAlpha, RewriteSpec
from headgate.api.written.metadata import Spec


def pool_v1(meta: Meta, written: Spec[PoolSpec]) -> Iterator[Fault]:
    yield from _annotations(meta)
    ports = [port.number for port in written.spec.target_ports]
    message = "{value} stands at {first} already: each port is an endpoint of its own, write it once"
    yield from repeated(ports, ("spec", "targetPorts"), ("number",), message)
    ref = written.spec.endpoint_picker_ref
    if ref and ref.kind == "Service" and ref.port is None:
        message = "missing: write `port: {number: 9002}`; a picker that is a Service needs it"
        yield Fault(("spec", "endpointPickerRef", "port"), message)
    yield from told_of_http2(written.spec.app_protocol, ("spec", "appProtocol"))


def pool_v1alpha2(meta: Meta, _: Spec[PoolSpecAlpha]) -> Iterator[Fault]:
    yield from _annotations(meta)


def _annotations(meta: Meta) -> Iterator[Fault]:
    if meta.annotations.get(INCLUDE_USAGE, "true") not in ("true", "false"):
        message = f'"{meta.annotations[INCLUDE_USAGE]}" is neither: write "true" or "false", with the quotes'
        yield Fault(("metadata", "annotations", INCLUDE_USAGE), message)
    named = meta.annotations.get(PICKER_CONFIG)
    if named is not None and not re.fullmatch(r"[a-z0-9][-a-z0-9.]*(/[-._a-zA-Z0-9]+)?", named):
        message = f"{shown(named)} names no ConfigMap: write its name, and if you like / and the key in it"
        yield Fault(("metadata", "annotations", PICKER_CONFIG), message)


def model(_: Meta, written: Spec[ModelSpec]) -> Iterator[Fault]:
    targets = written.spec.target_models
    if any(target.weight is None for target in targets) and any(target.weight is not None for target in targets):
        for i, target in enumerate(targets):
            if target.weight is None:
                message = "missing: other targets have a weight; write one for each, or for none"
                yield Fault(("spec", "targetModels", i, "weight"), message)
    yield from _to_pool(written.spec)


def objective(_: Meta, written: Spec[ObjectiveSpec]) -> Iterator[Fault]:
    yield from _to_pool(written.spec)


def rewrite(_: Meta, written: Spec[RewriteSpec]) -> Iterator[Fault]:
    yield from _to_pool(written.spec)


def _to_pool(spec: ModelSpec | ObjectiveSpec | RewriteSpec) -> Iterator[Fault]:
    if spec.pool_ref.kind != "InferencePool":
        message = f"{spec.pool_ref.kind} is not a pool: write `kind: InferencePool`, or remove the line"
        yield Fault(("spec", "poolRef", "kind"), message, "warning")
