"""BackendTLSPolicy (v1 and v1alpha3 are written alike)."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Struct

from headgate.api.formats import LabelKey
from headgate.api.meta import Meta
from headgate.api.tls import BackendTLSPolicy, PolicyTarget, ServerValidation
from headgate.api.tree import Tree
from headgate.api.written.metadata import Spec


class BackendTLSSpec(Struct, frozen=True, rename="camel"):
    target_refs: Annotated[tuple[PolicyTarget, ...], msgspec.Meta(min_length=1, max_length=16)]
    validation: ServerValidation
    options: Annotated[Mapping[LabelKey, str], msgspec.Meta(max_length=16)] = {}


def backend_tls(meta: Meta, written: Spec[BackendTLSSpec], _: Tree) -> BackendTLSPolicy:
    return BackendTLSPolicy(meta, written.spec.target_refs, written.spec.validation)
