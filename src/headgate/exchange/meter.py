"""The usage in what goes by, wherever it was cut; and the event that only the gateway asked for, taken out again.

An answer's body goes through `feed` piece by piece; `end` gives the rest. A piece with nothing to find in it costs
0.2 µs, and is passed on as it is.
"""

import re

import msgspec
from msgspec import Raw, Struct

from headgate.exchange.usage import LONGEST, NAME, OBJECT, Told, Usage, decode_usage, last_usage, merged

_OPENS = re.compile(rb'"usage"[ \t\r]*:[ \t\r]*\{')
_CHOICE = re.compile(rb'"choices"[ \t\r]*:[ \t\r]*\[[ \t\r]*[^ \t\r\]]')
_DATA = b"data:"
_BLANK = (b"\n", b"\r\n")
_LONGEST_LINE = 16 << 10  # bytes that are held; the event that is hidden has some hundred


class Reader:
    """Changes nothing. `lines`: it is an event stream, in which nothing reaches across the end of a line.

    `pieces` counts those of the body. `usage` is what was told so far.
    """

    __slots__ = ("_first", "_latest", "_lines", "_tail", "pieces")

    def __init__(self, *, lines: bool) -> None:
        self.pieces = 0
        self._lines = lines
        self._first: Usage | None = None
        self._latest = b""  # not read yet: with continuous_usage_stats there is one in each event
        self._tail = b""

    @property
    def usage(self) -> Usage | None:
        return merged(self._first, decode_usage(self._latest))

    def feed(self, data: bytes) -> bytes:
        self.pieces += 1
        if self._lines and not self._tail and data.rfind(NAME) < 0 and data.endswith(b"\n"):
            return data
        text = self._tail + data
        if self._lines:
            self._read_events(text)
            self._tail = b"" if text.endswith(b"\n") else text[-LONGEST:]
        else:
            self._first = last_usage(text) or self._first
            self._tail = text[-LONGEST:]
        return data

    def _read_events(self, text: bytes) -> None:
        at = text.find(NAME)
        while at >= 0:
            end = text.find(b"\n", at)
            found = OBJECT.match(text, at, end if end >= 0 else len(text))
            if found is not None and self._first is None:
                self._first = decode_usage(found[1])
            elif found is not None:
                self._latest = found[1]
            at = text.find(NAME, at + 1)

    def end(self) -> bytes:
        return b""


class _Event(Struct, gc=False):
    choices: list[Raw] | None = None
    usage: Told | None = None


_decode_event = msgspec.json.Decoder(_Event).decode


class Hider:
    """For event streams of chat and completions: takes out the event that has usage and no choices.

    What is held back is at most the line that may be this event, until it is whole or can't be it.
    `pieces` and `usage` as for Reader.
    """

    __slots__ = ("_begun", "_held", "_is_data", "_plain", "_swallow", "pieces", "usage")

    def __init__(self) -> None:
        self.pieces = 0
        self.usage: Usage | None = None
        self._plain = True  # nothing of the three below
        self._held = b""  # the beginning of a line
        self._begun = b""  # of a line whose beginning was let go: the last bytes of that
        self._is_data = False  # of the same line
        self._swallow = False  # the blank line that ends the event which was taken out

    def feed(self, data: bytes) -> bytes:
        self.pieces += 1
        if self._plain and data.endswith(b"\n") and (data.rfind(NAME) < 0 or not _OPENS.search(data)):
            return data
        return self._sift(data)

    def _sift(self, data: bytes) -> bytes:
        text = self._held + data
        kept: list[bytes] = []
        at = 0
        while end := text.find(b"\n", at) + 1:
            line, at = text[at:end], end
            if not self._drops(line):
                kept.append(line)
        rest = text[at:]
        if self._begun or not (_may_be_hidden(rest) or self._ends_hidden(rest)):
            kept.append(rest)
            self._swallow = False
            self._is_data = self._is_data if self._begun else rest.startswith(_DATA)
            self._begun = (self._begun + rest)[-LONGEST:]
            rest = b""
        self._held = rest
        self._plain = not (rest or self._begun or self._swallow)
        return b"".join(kept)

    def _drops(self, line: bytes) -> bool:
        if self._begun:
            self.usage = (last_usage(self._begun + line) if self._is_data else None) or self.usage
            self._begun = b""
            return False
        blank, self._swallow = self._swallow and line in _BLANK, False
        self._swallow = not blank and self._is_hidden(line)
        return blank or self._swallow

    def _is_hidden(self, line: bytes) -> bool:
        if not line.startswith(_DATA) or line.find(NAME) < 0:
            return False
        if _CHOICE.search(line):
            self.usage = last_usage(line) or self.usage
            return False
        try:
            event = _decode_event(line[len(_DATA) :])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if event.usage is None:
            return False
        self.usage = event.usage.usage() or self.usage
        return event.choices == []

    def _ends_hidden(self, rest: bytes) -> bool:
        """Whether this is half of the end of the blank line that is to be taken out."""
        return self._swallow and rest == b"\r"

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return b"" if self._is_hidden(held) or self._ends_hidden(held) else held


def _may_be_hidden(line: bytes) -> bool:
    """Whether this beginning of a line may be that of the event which is hidden."""
    if len(line) > _LONGEST_LINE:
        return False
    return _CHOICE.search(line) is None if line.startswith(_DATA) else _DATA.startswith(line)
