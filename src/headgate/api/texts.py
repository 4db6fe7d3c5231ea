"""Texts of YAML or JSON, cut into documents: what is broken in one leaves the others whole."""

import re
from collections.abc import Iterator

import yaml
from msgspec import Struct

from headgate.api.fault import Fault
from headgate.api.syntax import explain
from headgate.api.tree import Document, documents

# The C parser is a hundred times faster; PyYAML comes without it where libyaml was missing when it was built.
_PARSER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%YAML[^\n]*", re.MULTILINE)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


class Text(Struct, frozen=True):
    """What stands in a file, decoded. The edge reads files; this package never does."""

    file: str
    text: str


def read(text: str, parser: type = _PARSER) -> Iterator[Document]:
    """All documents of a text, in order. `---` at the start of a line always separates two, so each is read alone."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    start, line = 0, 1
    cuts = [match.start() for match in _SEPARATOR.finditer(text)]
    for cut in [*cuts, len(text)]:
        chunk = text[start:cut]
        yield from _chunk(chunk, line, parser)
        start, line = cut, line + chunk.count("\n")


def _chunk(chunk: str, line: int, parser: type) -> Iterator[Document]:
    odd = _UNPRINTABLE.search(chunk)
    if odd:
        at = line + chunk.count("\n", 0, odd.start())
        message = f"the character U+{ord(odd.group()):04X} is not allowed in YAML: remove it, or save the file as UTF-8"
        yield Document(None, (Fault((), message, line=at),))
        return
    chunk = _DIRECTIVE.sub("", chunk)
    if chunk.lstrip().startswith(("{", "[")):
        chunk = _SURROGATE_PAIR.sub(_joined, chunk)
    try:
        yield from documents(yaml.parse(chunk, Loader=parser), line)
    except yaml.MarkedYAMLError as error:
        yield Document(None, (explain(error, chunk, line),))


def _joined(pair: re.Match[str]) -> str:
    """JSON writes characters beyond U+FFFF as two escapes, which YAML does not know."""
    high, low = int(pair.group()[2:6], 16), int(pair.group()[8:12], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
