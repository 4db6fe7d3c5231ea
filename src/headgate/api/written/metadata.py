"""ObjectMeta as written, of objects and of pod templates."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from headgate.api.formats import Label, LabelKey, LabelValue
from headgate.api.meta import Meta, Where

S = TypeVar("S")


class Spec(Struct, Generic[S], frozen=True):
    """What most kinds are: a spec."""

    spec: S


class ObjectMeta(Struct, frozen=True, rename="camel"):
    """The rest of ObjectMeta is the server's, and accepted."""

    name: str = ""
    namespace: Label = "default"
    labels: Mapping[LabelKey, LabelValue] = {}
    annotations: Mapping[LabelKey, str] = {}
    generation: int = 1
    creation_timestamp: str = ""


class Named(Struct, frozen=True, rename="camel"):
    """The names that some rule looks up in objects that are not read further."""

    metadata: ObjectMeta
    spec: Any = None


def meta(written: ObjectMeta, namespaced: bool, where: Where) -> Meta:
    return Meta(
        name=written.name,
        namespace=written.namespace if namespaced else "",
        labels=written.labels,
        annotations=written.annotations,
        generation=written.generation,
        created=written.creation_timestamp,
        where=where,
    )
