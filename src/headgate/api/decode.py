"""One decoder for all kinds: a tree and a Struct type → a value, and everything that is wrong with it.

What a field may hold is said by its annotation (`msgspec.Meta`, `Literal`, tuples, mappings, `| None`). A value with
faults is still whole: what could not be read is the default or an empty value, so that the rules can look at the rest.
"""

import base64
import binascii
import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import inspect

from headgate.api.advice import about_unknown, nearest, type_info, wanted, written_fields
from headgate.api.fault import Fault, Path, shown
from headgate.api.fields import ACCEPTED, ONE_OF
from headgate.api.tree import Tree, bare

# ${NAME}, $NAME, {{ name }} and <YOUR NAME>, as guides and templates leave them to be filled in.
_PLACEHOLDER = re.compile(r"\$\{|^\$[A-Z_]+$|\{\{|<[A-Za-z][A-Za-z _-]*>")

_INT32 = (-(2**31), 2**31 - 1)  # what an integer of Kubernetes holds where its type says no less

Decoded = tuple[Any, tuple[Fault, ...]]


def decode(
    tree: Tree, shape: type, path: Path = (), beside: frozenset[str] = frozenset(), *, strict: bool = True
) -> Decoded:
    """`tree` as a `shape` (a Struct). `path` is where the tree stands; `beside` are fields that others read.

    Fields that nobody knows are faults, unless it is not `strict`: then a server has taken them, and knows more.
    """
    reader = _Reader(shape, strict)
    kind = type_info(shape)
    assert isinstance(kind, inspect.StructType)
    return reader.struct(tree, kind, path, beside), tuple(reader.faults)


def decode_value(tree: Tree, form: Any, path: Path) -> tuple[Fault, ...]:
    """What is wrong with one value of an annotated type, such as `formats.Subdomain`."""
    reader = _Reader(type(None))
    reader.read(tree, type_info(form), path, {})
    return tuple(reader.faults)


class _Reader:
    """Collects the faults of one object on the way."""

    def __init__(self, root: type, strict: bool = True) -> None:
        self.root = root
        self.strict = strict
        self.faults: list[Fault] = []

    def fault(self, path: Path, message: str) -> None:
        self.faults.append(Fault(path, message))

    def misfit(self, tree: Tree, path: Path, message: str) -> None:
        """A fault of a value that has the wrong form; a placeholder has it until it is replaced."""
        if isinstance(tree.value, str) and _PLACEHOLDER.search(tree.value):
            message = f"{shown(tree.value)} is a placeholder: write the value that it stands for"
        self.fault(path, message)

    def read(self, tree: Tree, kind: inspect.Type, path: Path, extra: Mapping[str, Any]) -> Any:
        if isinstance(kind, inspect.Metadata):
            return self.read(tree, kind.type, path, {**extra, **(kind.extra or {})})
        return _READ[type(kind)](self, tree, kind, path, extra)

    def struct(self, tree: Tree, kind: inspect.StructType, path: Path, beside: frozenset[str] = frozenset()) -> Any:
        if not isinstance(tree.value, Mapping):
            self.fault(path, _not_a_mapping(tree, kind))
            return _empty(kind)
        fields = written_fields(kind)
        values = {}
        for name, field in fields.items():
            child = tree.value.get(name)
            if child is None or child.value is None:
                if field.required:
                    message = f"missing: write `{name}:` with {wanted(field.type)}"
                    self.fault((*path, name), message)
                    values[field.name] = _empty(field.type)
            elif child.value == "" and field.default == "":
                continue
            else:
                values[field.name] = self.read(child, field.type, (*path, name), {})
        self.exclude([name for name in tree.value if tree.value[name].value is not None], kind, path)
        for name in tree.value if self.strict else ():
            if name not in fields and name not in ACCEPTED.get(kind.cls, ()) and name not in beside:
                self.fault((*path, name), about_unknown(name, path, kind, self.root))
        return kind.cls(**values)

    def exclude(self, present: list[str], kind: inspect.StructType, path: Path) -> None:
        """Of some fields a level has one only."""
        choices, required = ONE_OF.get(kind.cls, (frozenset[str](), False))
        given = [name for name in present if name in choices]
        for name in given[1:]:
            self.fault((*path, name), f"`{given[0]}` is set too: keep one of the two")
        if required and not given:
            self.fault(path, f"it says nothing: write one of {', '.join(sorted(choices))}")

    def items(self, tree: Tree, kind: inspect.VarTupleType, path: Path, extra: Mapping[str, Any]) -> Any:
        if not isinstance(tree.value, tuple):
            self.fault(path, _not_a_list(tree))
            return ()
        self.measure(len(tree.value), kind, path, ("item", "items"))
        return tuple(self.item(child, kind.item_type, (*path, i)) for i, child in enumerate(tree.value))

    def item(self, tree: Tree, kind: inspect.Type, path: Path) -> Any:
        if tree.value is None and not isinstance(kind, inspect.AnyType):
            self.fault(path, f"an empty item: write {wanted(kind)} after the `-`, or remove it")
            return _empty(kind)
        return self.read(tree, kind, path, {})

    def mapping(self, tree: Tree, kind: inspect.DictType, path: Path, extra: Mapping[str, Any]) -> Any:
        if isinstance(kind.value_type, inspect.AnyType) and isinstance(tree.value, Mapping):
            return bare(tree)
        if not isinstance(tree.value, Mapping):
            self.fault(path, f"this is {_called(tree)}, and a mapping is needed: write `key: value` lines below it")
            return {}
        self.measure(len(tree.value), kind, path, ("entry", "entries"))
        result = {}
        for key, child in tree.value.items():
            self.read(Tree(child.line, key, key), kind.key_type, (*path, key), {})
            # A label or a datum that is written without a value is an empty text to Kubernetes.
            value = Tree(child.line, "") if child.value is None else child
            result[key] = self.read(value, kind.value_type, (*path, key), {})
        return result

    def measure(
        self, length: int, kind: inspect.VarTupleType | inspect.DictType, path: Path, nouns: tuple[str, str]
    ) -> None:
        least, most = kind.min_length, kind.max_length
        if least is not None and length < least:
            self.fault(path, f"it is empty: write at least {least} {nouns[least > 1]}")
        if most is not None and length > most:
            self.fault(path, f"{length} {nouns[1]} are too many: write at most {most}")

    def text(self, tree: Tree, kind: inspect.StrType, path: Path, extra: Mapping[str, Any]) -> str:
        if not isinstance(tree.value, str):
            if "number" not in extra or not isinstance(tree.value, (int, float)):
                self.fault(path, _not_text(tree, kind, extra))
            return tree.source
        value, write = tree.value, extra.get("write")
        name = "the value" if "secret" in extra else shown(value)
        if kind.max_length is not None and len(value) > kind.max_length:
            self.misfit(tree, path, f"{name} has {len(value)} characters: write at most {kind.max_length}")
        elif kind.min_length and len(value) < kind.min_length:
            self.fault(path, f"it is empty: {write or 'write a text'}")
        elif kind.pattern and not _pattern(kind.pattern).fullmatch(value):
            bent = _bent(value, kind.pattern) if extra.get("name") else None
            self.misfit(tree, path, f"{name} does not fit: {write}" + (f", such as {bent}" if bent else ""))
        return value

    def number(self, tree: Tree, kind: inspect.IntType, path: Path, extra: Mapping[str, Any]) -> int:
        value = tree.value
        least = kind.ge if kind.ge is not None else _INT32[0]
        most = kind.le if kind.le is not None else _INT32[1]
        if isinstance(value, int) and not isinstance(value, bool):
            if least <= value <= most:
                return value
            told = wanted(kind) if (kind.ge is not None and value < least) or kind.le else f"at most {most}"
            self.fault(path, f"{tree.source} is out of range: write {told}")
        elif isinstance(value, str) and re.fullmatch("-?[0-9]{1,10}", value) and least <= int(value) <= most:
            self.fault(path, f'"{value}" is text, and this is a number: write {value}, without quotes')
        else:
            self.misfit(tree, path, f"{_called(tree)} is no whole number: write {wanted(kind)}")
        return least if kind.ge is not None else 0

    def decimal(self, tree: Tree, kind: inspect.FloatType, path: Path, extra: Mapping[str, Any]) -> float:
        value = tree.value
        least, most = kind.ge if kind.ge is not None else -math.inf, kind.le if kind.le is not None else math.inf
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            if least <= value <= most:
                return float(value)
            self.fault(path, f"{tree.source} is out of range: write {wanted(kind)}")
        else:
            self.misfit(tree, path, f"{_called(tree)} is no number: write {wanted(kind)}")
        return float(least) if kind.ge is not None else 0.0

    def boolean(self, tree: Tree, kind: inspect.BoolType, path: Path, extra: Mapping[str, Any]) -> bool:
        if isinstance(tree.value, bool):
            return tree.value
        if isinstance(tree.value, str) and tree.value.lower() in ("true", "false"):
            self.fault(path, f'"{tree.value}" is text: write {tree.value.lower()}, without quotes')
        else:
            self.fault(path, f"{_called(tree)} is neither true nor false: write true or false")
        return False

    def literal(self, tree: Tree, kind: inspect.LiteralType, path: Path, extra: Mapping[str, Any]) -> Any:
        for choice in kind.values:
            if tree.value == choice and type(tree.value) is type(choice):
                return choice
        value = tree.value if isinstance(tree.value, str) else tree.source
        meant = nearest(value, [str(choice) for choice in kind.values]) if value else None
        told = meant if meant and len(kind.values) > 5 else wanted(kind)
        if meant and meant != told:
            told = f"{meant} ({wanted(kind)})"
        self.misfit(tree, path, f"{_called(tree)} is not known here: write {told}")
        # What is meant, or else something that no rule takes for one of the choices.
        return meant or value

    def union(self, tree: Tree, kind: inspect.UnionType, path: Path, extra: Mapping[str, Any]) -> Any:
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if len(kinds) == 1:
            return self.read(tree, kinds[0], path, extra)
        # A number or a text (Kubernetes' IntOrString): which one is meant is plain from what stands there.
        number = next(each for each in kinds if isinstance(_inner(each), inspect.IntType))
        text = next(each for each in kinds if isinstance(_inner(each), inspect.StrType))
        if isinstance(tree.value, str) and not (tree.value.isdecimal() and len(tree.value) < 6):
            return self.read(tree, text, path, extra)
        return self.read(tree, number, path, extra)

    def base64(self, tree: Tree, kind: inspect.BytesType, path: Path, extra: Mapping[str, Any]) -> bytes:
        if not isinstance(tree.value, str):
            self.fault(path, "this is not text: write base64 text in quotes, or plain text under `stringData:`")
            return b""
        try:
            return base64.b64decode(tree.value.replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError):
            self.fault(path, "this is not base64: encode it, or write it as it is under `stringData:` (of a Secret) "
                             "or `data:` (of a ConfigMap)")  # fmt: skip
            return b""

    def anything(self, tree: Tree, kind: inspect.Type, path: Path, extra: Mapping[str, Any]) -> Any:
        return bare(tree)


_READ: dict[type, Callable[..., Any]] = {
    inspect.StructType: lambda reader, tree, kind, path, extra: reader.struct(tree, kind, path),
    inspect.VarTupleType: _Reader.items,
    inspect.DictType: _Reader.mapping,
    inspect.StrType: _Reader.text,
    inspect.IntType: _Reader.number,
    inspect.FloatType: _Reader.decimal,
    inspect.BoolType: _Reader.boolean,
    inspect.LiteralType: _Reader.literal,
    inspect.UnionType: _Reader.union,
    inspect.BytesType: _Reader.base64,
    inspect.AnyType: _Reader.anything,
}


@functools.cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _bent(name: str, pattern: str) -> str | None:
    """A name near to this one that fits."""
    close = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return close if _pattern(pattern).fullmatch(close) else None


def _inner(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _called(tree: Tree) -> str:
    if isinstance(tree.value, Mapping):
        return "a mapping"
    if isinstance(tree.value, tuple):
        return "a list"
    return shown(tree.value) if isinstance(tree.value, str) else tree.source or "nothing"


def _not_a_mapping(tree: Tree, kind: inspect.StructType) -> str:
    names = ", ".join(list(written_fields(kind))[:3])
    if isinstance(tree.value, tuple):
        return f"this is a list, and a mapping is needed: write its fields ({names}, …) without `- `"
    return f"{_called(tree)} is no mapping: write its fields ({names}, …) on the lines below, each as `key: value`"


def _not_a_list(tree: Tree) -> str:
    if isinstance(tree.value, Mapping):
        return "this is a mapping, and a list is needed: write `- ` before its first field, and indent the others"
    return f"{_called(tree)} is no list: write `- ` before each item, on a line of its own"


def _not_text(tree: Tree, kind: inspect.StrType, extra: Mapping[str, Any]) -> str:
    if isinstance(tree.value, (Mapping, tuple)):
        return f"this is {_called(tree)}, and text is needed: {extra.get('write', 'write one text')}"
    if "secret" in extra:
        return "this is not text to YAML: write it in quotes"
    if kind.pattern and not _pattern(kind.pattern).fullmatch(tree.source):
        return f"{tree.source} does not fit: {extra['write']}"
    what = "a boolean" if isinstance(tree.value, bool) else "a number"
    return f'{tree.source} is {what} to YAML, and text is needed: write it in quotes, "{tree.source}"'


def _empty(kind: inspect.Type) -> Any:
    """A value that stands in for one that could not be read."""
    match kind:
        case inspect.Metadata(type=inner):
            return _empty(inner)
        case inspect.UnionType(types=types):
            return None if any(isinstance(each, inspect.NoneType) for each in types) else _empty(types[0])
        case inspect.StructType(fields=fields):
            return kind.cls(**{field.name: _empty(field.type) for field in fields if field.required})
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.IntType(ge=least) | inspect.FloatType(ge=least):
            return least or 0
        case inspect.VarTupleType():
            return ()
        case inspect.DictType():
            return {}
        case inspect.BytesType():
            return b""
        case inspect.BoolType():
            return False
        case inspect.AnyType():
            return None
    return ""
