"""What says which object a document is: apiVersion, kind and metadata.name."""

from collections.abc import Iterator, Mapping

from headgate.api.advice import nearest
from headgate.api.fault import Fault
from headgate.api.kinds import FOREIGN, GROUPS, KINDS, OTHERS, Kind, group
from headgate.api.tree import Tree

_LONGEST = 60  # characters of what was written that a message repeats


def named(tree: Tree) -> tuple[str, str, str, str]:
    """kind, apiVersion, namespace and name as written; "" for what is missing or no text ("default" the namespace)."""
    metadata = _field(tree, "metadata")
    namespace = _text(metadata, "namespace") or "default"
    return _text(tree, "kind"), _text(tree, "apiVersion"), namespace, _text(metadata, "name")


def header(tree: Tree) -> tuple[Fault, ...]:
    """What is wrong with it. Objects that mean nothing here need no more than a kind and an apiVersion."""
    return tuple(_header(tree))


def known(tree: Tree) -> Kind | None:
    """The kind that the object claims to be, whether or not there is such a version of it."""
    kind, version, _, _ = named(tree)
    return None if group(version) in FOREIGN else KINDS.get(kind)


def _header(tree: Tree) -> Iterator[Fault]:
    kind, version, _, name = named(tree)
    if not kind and not version:
        yield Fault((), "this is no Kubernetes object: write `apiVersion:` and `kind:` first, or keep it out of here")
        return
    reading = known(tree)
    if not kind:
        instead = "write `kind:` with the kind of the object, such as Deployment"
        yield Fault(("kind",), f"{_absence(tree, 'kind')}: {instead}")
    elif reading is None and group(version) in GROUPS and kind not in OTHERS:
        meant = nearest(kind, KINDS, 0.8)
        if meant:
            yield Fault(("kind",), f"there is no kind {kind}: write `kind: {meant}`")
            return
    if not version:
        first = next(iter(reading.versions)) if reading else "v1"
        yield Fault(("apiVersion",), f"{_absence(tree, 'apiVersion')}: write `apiVersion: {first}`")
    elif reading and version not in reading.versions:
        choices = " or ".join(f"`apiVersion: {each}`" for each in reading.versions)
        yield Fault(("apiVersion",), f"there is no {kind} in {_cut(version)}: write {choices}")
    if reading and not name:
        yield from _nameless(tree)


def _nameless(tree: Tree) -> Iterator[Fault]:
    metadata = _field(tree, "metadata")
    if metadata is None or metadata.value is None:
        yield Fault(("metadata",), "missing: write `metadata:` and below it `name:` with the object's name")
    elif not isinstance(metadata.value, Mapping):
        yield Fault(("metadata",), "this is no mapping: write `name:` with the object's name on the line below it")
    else:
        written = metadata.value.get("name")
        if written is not None and written.value not in (None, ""):
            yield Fault(("metadata", "name"), f"{_cut(written.source) or 'this'} is no text: write the name in quotes")
        elif "generateName" in metadata.value:
            message = "missing: no server makes up a name here; write `name:` instead of generateName"
            yield Fault(("metadata", "name"), message)
        else:
            yield Fault(("metadata", "name"), "missing: write `name:` with the object's name")


def _absence(tree: Tree, name: str) -> str:
    field = _field(tree, name)
    return "missing" if field is None or field.value is None else f"{_cut(field.source) or 'this'} is no text"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _field(tree: Tree | None, name: str) -> Tree | None:
    return tree.value.get(name) if tree and isinstance(tree.value, Mapping) else None


def _text(tree: Tree | None, name: str) -> str:
    field = _field(tree, name)
    return field.value if field and isinstance(field.value, str) else ""
