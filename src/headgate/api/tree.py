"""A YAML document as a tree that knows where each value was written.

Built from the parser's events with a stack of our own: neither depth nor aliases can exhaust anything.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import yaml
from msgspec import Struct
from msgspec.structs import replace

from headgate.api.fault import Fault, Path, shown
from headgate.api.scalars import TAGS, Scalar, plain

MOST_DEPTH = 100
MOST_ALIASED = 100_000

_STR = "tag:yaml.org,2002:str"


class Tree(Struct, frozen=True):
    """A value and the line of its key (of itself, in a list). `size` counts the values in it, aliases each time."""

    line: int
    value: "Scalar | tuple[Tree, ...] | Mapping[str, Tree]"
    source: str = ""  # a scalar as it was written
    size: int = 1


class Document(Struct, frozen=True):
    """One document of a text. `tree` is None where its YAML is broken: the faults say how."""

    tree: Tree | None
    faults: tuple[Fault, ...] = ()


def line_of(tree: Tree, path: Path) -> int:
    """The line of the value at `path`, or of the innermost one around it that is there."""
    for step in path:
        children = tree.value
        if isinstance(children, tuple) and isinstance(step, int) and step < len(children):
            tree = children[step]
        elif isinstance(children, Mapping) and step in children:
            tree = children[str(step)]
        else:
            break
    return tree.line


def bare(tree: Tree) -> object:
    """The tree as plain dicts, lists and scalars."""
    if isinstance(tree.value, Mapping):
        return {key: bare(child) for key, child in tree.value.items()}
    if isinstance(tree.value, tuple):
        return [bare(child) for child in tree.value]
    return tree.value


def planted(value: object) -> Tree:
    """The reverse: plain values as a tree, of which nobody knows any more where it was written."""
    if isinstance(value, Mapping):
        return Tree(0, {key: planted(child) for key, child in value.items()})
    if isinstance(value, (list, tuple)):
        return Tree(0, tuple(map(planted, value)))
    scalar = cast(Scalar, value)
    return Tree(0, scalar, shown(scalar) if isinstance(scalar, bool) or scalar is None else str(scalar))


class _Frame:
    """A mapping or a list that is still open. `key` is set while a mapping waits for its value."""

    def __init__(self, line: int, anchor: str | None, mapping: bool) -> None:
        self.line, self.anchor, self.mapping = line, anchor, mapping
        self.key: str | None = None
        self.key_line = 0
        self.items: list[Tree] = []
        self.fields: dict[str, Tree] = {}
        self.merged: list[Tree] = []
        self.dropped = False  # the key is no text: its value is read and left out


class _Builder:
    """Takes the events of one document; `root` is its tree when the last one has come."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.stack: list[_Frame] = []
        self.anchors: dict[str, Tree] = {}
        self.faults: list[Fault] = []
        self.root: Tree | None = None
        self.aliased = 0
        self.too_deep: Fault | None = None

    def fault(self, line: int, message: str) -> None:
        self.faults.append(Fault(self.path(), message, line=line))

    def path(self) -> Path:
        steps: list[str | int] = []
        for frame in self.stack:
            if not frame.mapping:
                steps.append(len(frame.items))
            elif frame.key is not None:
                steps.append(frame.key)
        return tuple(steps)

    def take(self, event: yaml.Event) -> None:
        line = (event.start_mark.line if event.start_mark else 0) + self.offset
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.AliasEvent):
            self._place(self._alias(event.anchor or "", line), line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _open(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if len(self.stack) >= MOST_DEPTH:
            message = f"nested more than {MOST_DEPTH} levels deep: write it flatter"
            self.too_deep = Fault((), message, line=line)
            return
        self.stack.append(_Frame(line, event.anchor, isinstance(event, yaml.MappingStartEvent)))

    def _close(self) -> None:
        frame = self.stack.pop()
        for source in frame.merged:
            if isinstance(source.value, Mapping):
                for key, child in source.value.items():
                    frame.fields.setdefault(key, child)
        children: Iterable[Tree] = frame.fields.values() if frame.mapping else frame.items
        size = 1 + sum(child.size for child in children)
        tree = Tree(frame.line, frame.fields if frame.mapping else tuple(frame.items), size=size)
        if frame.anchor:
            self.anchors[frame.anchor] = tree
        self._place(tree, frame.line)

    def _wants_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].mapping and self.stack[-1].key is None

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        text = event.value
        if self._wants_key():
            self._key(text, line)
            return
        value: Scalar = text
        if event.tag in (None, "!"):
            value = plain(text) if event.implicit[0] and event.tag is None else text
        elif event.tag not in TAGS:
            self.fault(line, f"the tag {event.tag} means nothing here: remove it")
        elif event.tag != _STR:
            value = plain(text)
        tree = Tree(line, value, text)
        if event.anchor:
            self.anchors[event.anchor] = tree
        self._place(tree, line)

    def _key(self, text: str, line: int) -> None:
        frame = self.stack[-1]
        frame.key, frame.key_line = text, line
        if text in frame.fields:
            first = frame.fields[text].line
            self.fault(line, f"written twice, first on line {first}: keep one of them")

    def _alias(self, name: str, line: int) -> Tree:
        tree = self.anchors.get(name)
        if tree is None:
            inside = any(frame.anchor == name for frame in self.stack)
            why = "it stands inside &" + name if inside else f"no &{name} stands before it"
            self.fault(line, f"*{name} refers to nothing, {why}: write the value out, or in quotes if it is text")
            return Tree(line, None)
        already = self.aliased > MOST_ALIASED
        self.aliased += tree.size
        if self.aliased <= MOST_ALIASED:
            return tree
        if not already:
            self.fault(line, f"the aliases expand to more than {MOST_ALIASED} values: write out what is needed")
        return Tree(line, None)

    def _place(self, tree: Tree, line: int) -> None:
        if not self.stack:
            self.root = tree
            return
        frame = self.stack[-1]
        if not frame.mapping:
            frame.items.append(tree)
        elif frame.key is None:
            self._place_key(tree, line)
        else:
            key, frame.key = frame.key, None
            if frame.dropped:
                frame.dropped = False
            elif key == "<<" and not isinstance(tree.value, str):
                self._merge(tree, frame)
            else:
                frame.fields.setdefault(key, replace(tree, line=frame.key_line))

    def _place_key(self, tree: Tree, line: int) -> None:
        if isinstance(tree.value, str):  # an alias of text
            self._key(tree.value, line)
            return
        self.fault(
            line,
            "a mapping or a list stands where a key is expected: render it first if it is a template, "
            "or write it in quotes",
        )
        frame = self.stack[-1]
        frame.key, frame.key_line, frame.dropped = "", line, True

    def _merge(self, tree: Tree, frame: _Frame) -> None:
        sources = tree.value if isinstance(tree.value, tuple) else (tree,)
        mappings = [source for source in sources if isinstance(source.value, Mapping)]
        frame.merged.extend(mappings)
        if len(mappings) < len(sources):
            self.fault(frame.key_line, "`<<` merges mappings only: write `<<: *name` of an anchored mapping")


def documents(events: Iterable[yaml.Event], offset: int) -> Iterator[Document]:
    """The documents among the parser's events; `offset` is the number of the events' line 0.

    The parser's own errors pass through, after the documents that came before them.
    """
    builder = _Builder(offset)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder(offset)
        elif isinstance(event, yaml.DocumentEndEvent):
            yield Document(builder.root, tuple(builder.faults))
        else:
            builder.take(event)
            if builder.too_deep:  # and no event more: libyaml's time grows with the square of the depth
                yield Document(None, (builder.too_deep,))
                return
