"""JSON text for requests that ask for JSON: an instance of their schema, made of words of the question."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_PARTS = 400  # of an instance; a schema may refer to itself, more than once
_DEEPEST = 12
_OPTIONAL_DEPTH = 4  # properties that need not be there are left out below


def compose(schema: Mapping[str, Any], sentence: str, chance: Iterator[int]) -> str:
    """The JSON text of an instance. `{}` stands for any object: it gets one field with the `sentence`."""
    if not schema:
        return msgspec.json.encode({"answer": sentence}).decode()
    return msgspec.json.encode(_Instance(schema, sentence, chance).of(schema, 0)).decode()


class _Instance:
    def __init__(self, root: Mapping[str, Any], sentence: str, chance: Iterator[int]) -> None:
        self._root = root
        self._sentence = sentence
        self._chance = chance
        self._left = _PARTS

    def of(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        choices = _list(schema.get("enum"))
        if choices:
            return choices[next(self._chance) % len(choices)]
        if "$ref" in schema:
            return self.of(_referred(str(schema["$ref"]), self._root), depth + 1)
        for name in ("anyOf", "oneOf", "allOf"):
            if _list(schema.get(name)):
                return self.of(schema[name][0], depth + 1)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[0] if kind else "null"
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            count = min(_whole(schema, "minItems", 1), 8)
            return [self.of(schema.get("items", {}), depth + 1) for _ in range(count)]
        return self._scalar(kind, schema)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        required = _list(schema.get("required"))
        if not isinstance(properties, dict):
            return {}
        return {
            name: self.of(part, depth + 1)
            for name, part in properties.items()
            if depth < _OPTIONAL_DEPTH or name in required
        }

    def _scalar(self, kind: Any, schema: Mapping[str, Any]) -> Any:
        if kind in ("integer", "number"):
            low = _whole(schema, "minimum", 0)
            high = _whole(schema, "maximum", low + 100)
            return low + next(self._chance) % (max(high - low, 0) + 1)
        if kind == "boolean":
            return next(self._chance) % 2 == 0
        if kind == "null":
            return None
        return self._sentence[: max(_whole(schema, "maxLength", len(self._sentence)), 0)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(schema: Mapping[str, Any], name: str, default: int) -> int:
    value = schema.get(name, default)
    return int(value) if isinstance(value, (int, float)) and abs(value) < 2**53 else default


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What `#/a/b` points to; None for anything else."""
    if not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference.removeprefix("#").removeprefix("/").split("/"):
        if part:
            found = found.get(part) if isinstance(found, dict) else None
    return found
