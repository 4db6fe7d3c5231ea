"""One document → the objects in it: which kind, which name, read by the kind's shape and held against its rules."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from headgate.api.decode import decode, decode_value
from headgate.api.fault import Fault, Path, dotted, printable
from headgate.api.header import header, known, named
from headgate.api.kinds import KINDS, Kind, Version
from headgate.api.meta import Problem, Where
from headgate.api.snapshot import Ignored
from headgate.api.tree import Document, Tree, line_of, planted
from headgate.api.written.metadata import ObjectMeta, meta

_BESIDE = frozenset({"apiVersion", "kind", "metadata", "status"})
_DEEPEST_LIST = 8

Identity = tuple[str, str]  # the kind, and namespace/name


class Found(Struct, frozen=True):
    """What a document gave: an object, or problems in its place.

    `identity` is None for what is ignored, and where the text does not say which object it is (`lost`). `value` is
    None where the object has errors. `tree` and `path` say where its fields stand.
    """

    where: Where
    identity: Identity | None = None
    kind: Kind | None = None
    value: Any = None
    problems: tuple[Problem, ...] = ()
    lost: bool = False
    tree: Tree = Tree(0, None)
    path: Path = ()

    def problem(self, fault: Fault) -> Problem:
        """A fault of this object with its file, line and name."""
        where = Where(self.where.file, fault.line or line_of(self.tree, fault.path))
        return _problem(where, (*self.path, *fault.path), fault, " ".join(self.identity or ()))


def _problem(where: Where, path: Path, fault: Fault, name: str = "") -> Problem:
    return Problem(where, printable(dotted(path)), printable(fault.message), fault.severity, printable(name))


def objects(document: Document, file: str) -> Iterator[Found]:
    """The objects of a document: one, none (it is empty), or those of a List."""
    tree, faults = document.tree, document.faults
    if tree is None:
        yield _lost(file, faults)
    elif isinstance(tree.value, Mapping):
        yield from _expand(tree, (), file, faults, {})
    elif tree.value is not None or faults:
        message = "this is no object: write a mapping that begins with `apiVersion:` and `kind:`"
        yield _lost(file, faults or (Fault((), message, line=tree.line),))


def _lost(file: str, faults: Iterable[Fault]) -> Found:
    """What cannot be known as an object: `faults` (at least one) have their lines and whole paths."""
    problems = tuple(_problem(Where(file, fault.line), fault.path, fault) for fault in faults)
    return Found(problems[0].where, problems=problems, lost=True)


def _expand(
    tree: Tree, path: Path, file: str, faults: tuple[Fault, ...], implied: Mapping[str, Tree]
) -> Iterator[Found]:
    """A List's items one by one, each with those of the parser's faults that lie in it; any other object as it is."""
    fields: dict[str, Tree] = {**implied, **tree.value} if isinstance(tree.value, Mapping) else {}
    kind, items = fields.get("kind"), fields.get("items")
    is_list = kind and isinstance(kind.value, str) and kind.value.endswith("List")
    if not is_list or not items or not isinstance(items.value, tuple) or len(path) > 2 * _DEEPEST_LIST:
        yield _object(Tree(tree.line, fields), path, file, faults)
        return
    implied = {}
    if kind and kind.value != "List" and "apiVersion" in fields:
        implied = {"apiVersion": fields["apiVersion"], "kind": Tree(tree.line, str(kind.value).removesuffix("List"))}
    start = (*path, "items")
    depth = len(start)
    outside = [fault for fault in faults if fault.path[:depth] != start or len(fault.path) == depth]
    if outside:
        yield _lost(file, outside)
    for i, item in enumerate(items.value):
        place = (*start, i)
        inside = tuple(fault for fault in faults if fault.path[: depth + 1] == place)
        if isinstance(item.value, Mapping):
            yield from _expand(item, place, file, inside, implied)
        else:
            message = "this is no object: write a mapping, or remove the item"
            yield _lost(file, inside or (Fault(place, message, line=item.line),))


def _object(tree: Tree, path: Path, file: str, syntax: tuple[Fault, ...]) -> Found:
    where = Where(file, tree.line)
    tree = _with_a_name(tree)
    syntax = tuple(Fault(fault.path[len(path) :], fault.message, line=fault.line) for fault in syntax)
    kind, version, namespace, name = named(tree)
    reading, faults = known(tree), header(tree)
    if reading is None and not faults:
        # Nothing is read from it: what the parser had to say cannot matter much.
        ignored = Found(where, value=Ignored(kind, f"{namespace}/{name}" if name else "", where), tree=tree, path=path)
        return replace(ignored, problems=tuple(ignored.problem(replace(fault, severity="warning")) for fault in syntax))
    if reading is None or not name:
        found = Found(where, tree=tree, path=path, lost=True)
    else:
        identity = (kind, f"{namespace}/{name}" if reading.namespaced else name)
        found = Found(where, identity, reading, tree=tree, path=path)
        if not faults:
            return _read(found, reading, reading.versions[version], syntax)
    told = _first_at_each_place(syntax, faults)
    return replace(found, problems=tuple(found.problem(fault) for fault in told))


def live(value: Mapping[str, Any], kind: str, api_version: str, origin: str) -> Found:
    """One object as an API server has it, of a kind and a version that we read; `origin` says where in place of a file.

    The server has held it against its own rules, so what we don't know of it is no mistake.
    """
    fields = {name: child for name, child in value.items() if name not in ("status", "apiVersion", "kind")}
    tree = planted({"apiVersion": api_version, "kind": kind, **fields})
    reading = KINDS[kind]
    _, _, namespace, name = named(tree)
    identity = (kind, f"{namespace}/{name}" if reading.namespaced else name)
    found = Found(Where(origin), identity, reading, tree=tree)
    return replace(_read(found, reading, reading.versions[api_version], strict=False), tree=Tree(0, None))


def _with_a_name(tree: Tree) -> Tree:
    """What is no object of a cluster needs no name, since there is one of it."""
    kind = known(tree)
    if kind is None or not kind.nameless or not isinstance(tree.value, Mapping) or "metadata" in tree.value:
        return tree
    metadata = Tree(tree.line, {"name": Tree(tree.line, "default", "default")})
    return Tree(tree.line, {"metadata": metadata, **tree.value})


def _read(found: Found, kind: Kind, version: Version, syntax: tuple[Fault, ...] = (), *, strict: bool = True) -> Found:
    """The object of a known kind. Of faults at one place the first counts: the others follow from it."""
    assert isinstance(found.tree.value, Mapping)
    metadata = found.tree.value["metadata"]
    written, form = decode(metadata, ObjectMeta, ("metadata",), strict=strict)
    own = meta(written, kind.namespaced, found.where)
    named_well = decode_value(Tree(metadata.line, own.name, own.name), kind.name, ("metadata", "name"))
    body, content = decode(found.tree, version.shape, (), _BESIDE, strict=strict)
    rules = version.check(own, body) if strict or not kind.settled else ()
    faults = _first_at_each_place(syntax, (*form, *named_well, *content), rules)
    broken = any(fault.severity == "error" for fault in faults)
    return replace(
        found,
        value=None if broken else version.read(own, body, found.tree),
        problems=tuple(found.problem(fault) for fault in faults),
    )


def _first_at_each_place(*layers: Iterable[Fault]) -> tuple[Fault, ...]:
    """All faults of the first layer; of each further one those that lie neither in, at nor around an earlier place."""
    kept: list[Fault] = []
    for layer in layers:
        earlier = [fault.path for fault in kept]
        kept.extend(fault for fault in layer if not any(_touch(fault.path, path) for path in earlier))
    return tuple(kept)


def _touch(a: Path, b: Path) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]
