"""The shape of a kind as written → the schema by which an API server holds the same (structural, OpenAPI v3).

One truth: a limit, an enumeration or a form that `headgate check` knows is what the API server asks for. Defaults are
those of the shapes, which are the published ones.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import NODEFAULT, Struct, inspect

from headgate.api.fields import ACCEPTED

Schema = dict[str, Any]

_ANYTHING = {"x-kubernetes-preserve-unknown-fields": True}
_LENGTHS = {"min_length": "minLength", "max_length": "maxLength"}
_ITEMS = {"min_length": "minItems", "max_length": "maxItems"}
_MEMBERS = {"min_length": "minProperties", "max_length": "maxProperties"}
_BOUNDS = {"ge": "minimum", "le": "maximum"}


def schema_of(shape: Any, *, defaults: bool = True) -> Schema:
    """The schema of a msgspec shape: objects, lists, maps, texts, numbers that fit int32."""
    return _of(inspect.type_info(shape), defaults)


def _of(type_: inspect.Type, defaults: bool) -> Schema:
    match type_:
        case inspect.Metadata():
            return _of(type_.type, defaults)
        case inspect.UnionType():
            (one,) = (part for part in type_.types if not isinstance(part, inspect.NoneType))
            return _of(one, defaults)
        case inspect.LiteralType():
            kind = "integer" if isinstance(type_.values[0], int) else "string"
            return {"type": kind, "enum": sorted(type_.values)}
        case inspect.StrType():
            return {"type": "string", **_given(type_, {**_LENGTHS, "pattern": "pattern"})}
        case inspect.IntType():
            return {"type": "integer", "format": "int32", **_given(type_, _BOUNDS)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.VarTupleType():
            return {"type": "array", "items": _of(type_.item_type, defaults), **_given(type_, _ITEMS)}
        case inspect.DictType() if not isinstance(type_.value_type, inspect.AnyType):
            values = _of(type_.value_type, defaults)
            return {"type": "object", "additionalProperties": values, **_given(type_, _MEMBERS)}
        case inspect.StructType():
            return _object(type_, defaults)
        case inspect.DictType():
            return {"type": "object", **_ANYTHING}
        case inspect.AnyType():
            return dict(_ANYTHING)
    raise TypeError(f"no schema is known for {type_!r}")


def _given(type_: Any, names: Mapping[str, str]) -> Schema:
    """The bounds that a type has; that a length is at least 0 needs no saying."""
    found = {word: getattr(type_, name) for name, word in names.items()}
    return {word: value for word, value in found.items() if value is not None and (value or word == "minimum")}


def _object(type_: inspect.StructType, defaults: bool) -> Schema:
    properties: Schema = {}
    for field in type_.fields:
        properties[field.encode_name] = member = _of(field.type, defaults)
        value = _default(field.default, member) if defaults else None
        # "" is a group, the core's. Of any other text it means that none is written.
        if value or (value == "" and field.name == "group"):
            member["default"] = value
    # What is published and not read is kept as it was written.
    for name in sorted(ACCEPTED.get(type_.cls, ())):
        properties[name] = dict(_ANYTHING)
    required = [field.encode_name for field in type_.fields if field.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _default(value: Any, member: Schema) -> Any:
    """What the server writes where nothing is written; what is in an object by default is said by its members."""
    if value is NODEFAULT or isinstance(value, Mapping):
        return None
    if isinstance(value, tuple):
        return [_default(one, member["items"]) for one in value]
    if isinstance(value, Struct):
        return {name: part["default"] for name, part in member["properties"].items() if "default" in part}
    return value
