"""What may be written: types put into words, and the place or the spelling that a wrong field name was meant for."""

import difflib
import functools
from collections.abc import Iterable, Iterator

from msgspec import inspect

from headgate.api.fault import Path, dotted
from headgate.api.fields import ACCEPTED, COMPUTED, MEANT
from headgate.api.written.metadata import ObjectMeta

_DEEPEST = 14


type_info = functools.cache(inspect.type_info)


def wanted(kind: inspect.Type) -> str:
    """What stands in a value of this type: `a number from 1 to 65535`, `one of HTTP, HTTPS`, `a list`."""
    match kind:
        case inspect.Metadata(type=inner, extra=extra):
            return str((extra or {}).get("write", "")).removeprefix("write ") or wanted(inner)
        case inspect.IntType(ge=least, le=most) | inspect.FloatType(ge=least, le=most):
            if least is not None and most is not None:
                return f"a number from {_digits(least)} to {_digits(most)}"
            return f"a number, {_digits(least)} or more" if least is not None else "a number"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            choices = ", ".join(str(value) for value in values)
            return choices if len(values) == 1 else f"one of {choices}"
        case inspect.VarTupleType(item_type=inspect.StructType() as item) if _required(item):
            return f"a list, in each item {_required(item)}"
        case inspect.VarTupleType():
            return "a list"
        case inspect.DictType():
            return "`key: value` lines"
        case inspect.StructType():
            return f"its fields ({_required(kind)}, …)" if _required(kind) else "a mapping"
        case inspect.UnionType(types=types):
            return " or ".join(wanted(each) for each in types if not isinstance(each, inspect.NoneType))
        case inspect.BytesType():
            return "base64 text"
    return "text"


def _digits(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def _required(kind: inspect.StructType) -> str:
    return ", ".join(field.encode_name for field in kind.fields if field.required)


def written_fields(kind: inspect.StructType) -> dict[str, inspect.Field]:
    """The fields that may stand in the text, by name as written."""
    computed = COMPUTED.get(kind.cls, frozenset())
    return {field.encode_name: field for field in kind.fields if field.encode_name not in computed}


def nearest(name: str, choices: Iterable[str], cutoff: float = 0.72) -> str | None:
    """The choice that `name` was most likely meant to be."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def about_unknown(name: str, path: Path, level: inspect.StructType, root: type) -> str:
    """What to do about a field that its level does not have. `root` is the type of the whole object."""
    meant = MEANT.get(level.cls, {})
    if name in meant:
        return f"there is no such field here: {meant[name]}"
    known = [*written_fields(level), *ACCEPTED.get(level.cls, ())]
    close = nearest(name, known, 0.85)
    if close:
        return f"there is no such field: write `{close}`"
    elsewhere = _nearest_place(path, [place for place in places(root).get(name, ()) if place != path])
    if elsewhere is not None:
        return f"it does not belong here: write it in {_named(elsewhere)}"
    if "*" in meant:
        return f"there is no such field here: {meant['*']}"
    close = nearest(name, known)
    if close:
        return f"there is no such field: write `{close}`"
    return f"there is no such field: remove it, or write one of {', '.join(sorted(written_fields(level)))}"


def _named(place: Path) -> str:
    return dotted(place).replace("[*]", "[]") if place else "the top level of the object"


def _nearest_place(path: Path, found: list[Path]) -> Path | None:
    """Of the places that have the field, the one that shares most of the way with `path`, then the shallowest."""

    def distance(place: Path) -> tuple[int, int]:
        shared = 0
        for ours, theirs in zip(path, place, strict=False):
            if ours != theirs and not (isinstance(ours, int) and theirs == "*"):
                break
            shared += 1
        return (-shared, len(place))

    return min(found, key=distance, default=None)


@functools.cache
def places(root: type) -> dict[str, tuple[Path, ...]]:
    """Every field name of a kind → the levels that have it, with "*" for any index of a list."""
    found: dict[str, list[Path]] = {}
    of_all = _walk(type_info(ObjectMeta), ("metadata",))
    for name, path in (*_walk(type_info(root), ()), *of_all):
        found.setdefault(name, []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def _walk(kind: inspect.Type, path: Path) -> Iterator[tuple[str, Path]]:
    match kind:
        case _ if len(path) > _DEEPEST:
            return
        case inspect.Metadata(type=inner):
            yield from _walk(inner, path)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _walk(each, path)
        case inspect.VarTupleType(item_type=item):
            yield from _walk(item, (*path, "*"))
        case inspect.StructType():
            for name in ACCEPTED.get(kind.cls, ()):
                yield name, path
            for name, field in written_fields(kind).items():
                yield name, path
                yield from _walk(field.type, (*path, name))
