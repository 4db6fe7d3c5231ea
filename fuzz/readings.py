"""All the ways in which servers are known to read a request: one parser, each of whose habits can be turned.

What a gateway sends must mean the same to all of them. That is what it means that nothing is smuggled.
"""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple


class Habits(NamedTuple):
    """How a lax server reads. Each field is a difference between two servers that was once exploited."""

    chunks_first: bool  # Transfer-Encoding beats Content-Length, or the other way round
    last_length: bool  # of several Content-Lengths the last counts
    bare_lf: bool  # LF ends a line
    bare_cr: bool  # CR ends a line
    folds: bool  # a line that begins with a blank goes on with the one before
    trims_names: bool  # blanks before the colon are dropped
    dashes: bool  # an underscore in a name is a dash
    prefix: bool  # `chunked` anywhere in Transfer-Encoding is enough


HABITS = [Habits(*habits) for habits in itertools.product((False, True), repeat=len(Habits._fields))]


def telling(raw: bytes) -> list[Habits]:
    """Those of the habits that can make a difference for `raw`, the strict ones first: the others read as one of these.

    Of an ordinary request very few, so that all that matter can be asked of each.
    """
    if not raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n"):
        return HABITS
    text = raw.lower()
    matters = Habits(
        chunks_first=b"transfer" in text and b"length" in text,
        last_length=text.count(b"length") > 1,
        bare_lf=False,
        bare_cr=False,
        folds=_FOLD.search(raw) is not None,
        trims_names=_UNTRIMMED.search(raw) is not None,
        dashes=b"_" in raw,
        prefix=b"chunked" in text,
    )
    return [Habits(*habits) for habits in itertools.product(*((False, True) if one else (False,) for one in matters))]


_FOLD = re.compile(rb"\n[ \t]")
_UNTRIMMED = re.compile(rb"\s:|\n[ \t\v\f]")


class Message(NamedTuple):
    line: bytes
    host: bytes
    body: bytes


def read(raw: bytes, habits: Habits) -> list[Message | bytes]:
    """The requests in `raw`; the last one is bytes where something is left that is no whole request."""
    found: list[Message | bytes] = []
    while raw:
        one = _one(raw, habits)
        if one is None:
            return [*found, raw]
        message, raw = one
        found.append(message)
    return found


def _one(raw: bytes, habits: Habits) -> tuple[Message, bytes] | None:
    ends = (
        b"(?>" + b"|".join([b"\r\n", *([b"\n"] if habits.bare_lf else []), *([b"\r"] if habits.bare_cr else [])]) + b")"
    )
    blank = re.search(ends + b"{2}", raw)
    if blank is None:
        return None
    head, rest = raw[: blank.start()], raw[blank.end() :]
    line, *lines = re.split(ends, head)
    headers = list(_headers(lines, habits))
    lengths = [value for name, value in headers if name == b"content-length"]
    encodings = [value for name, value in headers if name == b"transfer-encoding"]
    host = next((value for name, value in headers if name == b"host"), b"")
    chunked = any(b"chunked" in value.lower() if habits.prefix else value.lower() == b"chunked" for value in encodings)
    if chunked and (habits.chunks_first or not lengths):
        body = _chunked(rest, ends)
        return None if body is None else (Message(line, host, body[0]), body[1])
    number = re.match(rb"[+]?\d+", lengths[-1 if habits.last_length else 0]) if lengths else None
    length = int(number[0]) if number else 0
    return (Message(line, host, rest[:length]), rest[length:]) if len(rest) >= length else None


def _headers(lines: list[bytes], habits: Habits) -> Iterator[tuple[bytes, bytes]]:
    unfolded: list[bytes] = []
    for line in lines:
        if habits.folds and line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] += line
        else:
            unfolded.append(line)
    for line in unfolded:
        name, _, value = line.partition(b":")
        if habits.trims_names:
            name = name.strip()
        if habits.dashes:
            name = name.replace(b"_", b"-")
        yield name.lower(), value.strip()


def _behind_trailers(rest: bytes, ends: bytes) -> bytes | None:
    while True:
        end = re.search(ends, rest)
        if end is None:
            return None
        line, rest = rest[: end.start()], rest[end.end() :]
        if not line:
            return rest
        if b":" not in line:
            return None


def _chunked(rest: bytes, ends: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        size, found, rest = rest.partition(b"\r\n")
        if not found or not re.match(rb"[0-9a-fA-F]+", size):
            return None
        length = int(re.match(rb"[0-9a-fA-F]+", size)[0], 16)  # type: ignore[index]
        if not length:
            behind = _behind_trailers(rest, ends)
            return None if behind is None else (body, behind)
        body, rest = body + rest[:length], rest[length + 2 :]
