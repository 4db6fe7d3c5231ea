"""Flags as Go programs take them: `--name value`, `--name=value`, with one dash or two; `--name` alone turns one on.

Programs that ours take the place of are started with such flags, from charts and manifests that others have written.
Those that mean nothing here are taken and told of; those that would mean something that we do not do are refused.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from msgspec import Struct

_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")  # strconv.ParseBool
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:h|ms|us|µs|ns|m|s))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(h|ms|us|µs|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Wrong(Exception):
    """The command line can't be understood; the text says why, for people."""


class Flag(Struct, frozen=True):
    """`default` says what its values are: text, a whole number, a duration in seconds (float), on or off, or a list,
    for one that may be given several times, each time with commas unless it is `whole`.
    """

    name: str
    default: str | int | float | bool | tuple[str, ...]
    help: str
    metavar: str = ""
    whole: bool = False


class Parsed(Struct, frozen=True):
    """`values` by name, all of them; `given` are those that were; `notes` tell of those that mean nothing here."""

    values: Mapping[str, Any]
    given: frozenset[str]
    rest: tuple[str, ...]
    notes: tuple[str, ...] = ()


def parse(
    argv: Sequence[str], flags: Sequence[Flag], unheeded: Mapping[str, str], refused: Mapping[str, str]
) -> Parsed:
    """`unheeded`, `refused`: by name, why. Of the unheeded `false` and `0` need no note. Raises Wrong."""
    known = {flag.name: flag for flag in flags}
    values: dict[str, Any] = {flag.name: flag.default for flag in flags}
    given: set[str] = set()
    rest: list[str] = []
    unused: dict[str, list[str]] = {}  # by what there is to say of them
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += words
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in refused:
            raise Wrong(f"--{name}: {refused[name]}")
        flag = known.get(name)
        if flag is None and name not in unheeded:
            raise Wrong(f"--{name} is not known{_near(name, (*known, *unheeded))}")
        if not equals and not _alone(flag, words):
            if not words:
                raise Wrong(f"--{name}: there is no value: write --{name}=VALUE")
            value, equals = words.pop(0), "="
        if flag is None:
            if value not in _FALSE:
                unused.setdefault(unheeded[name], []).append(f"--{name}")
            continue
        read = _read(flag, value if equals else "true")
        values[name] = (*values[name], *read) if name in given and isinstance(read, tuple) else read
        given.add(name)
    told = [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in unused.items()]
    return Parsed(values, frozenset(given), tuple(rest), tuple(told))


def _alone(flag: Flag | None, words: Sequence[str]) -> bool:
    """Whether it takes no value here. What is not heeded has one where something follows that may be one."""
    if flag is None:
        return not words or words[0].startswith("-")
    return isinstance(flag.default, bool) and not (words and words[0] in ("true", "false"))


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean --{near[0]}?" if near else ""


def _read(flag: Flag, value: str) -> Any:
    default = flag.default
    if isinstance(default, bool):
        if value not in (*_TRUE, *_FALSE):
            raise Wrong(f"--{flag.name}: {value!r} is neither true nor false")
        return value in _TRUE
    if isinstance(default, int):
        if not re.fullmatch(r"[0-9]{1,18}", value):
            raise Wrong(f"--{flag.name}: {value!r} is no whole number of 0 or more")
        return int(value)
    if isinstance(default, float):
        return _seconds(flag, value)
    if isinstance(default, tuple):
        if flag.whole:
            return (value,)
        return tuple(part for part in (one.strip() for one in value.split(",")) if part)
    return value


def _seconds(flag: Flag, value: str) -> float:
    if value == "0":
        return 0.0
    if not _DURATION.fullmatch(value):
        raise Wrong(f"--{flag.name}: {value!r} is no duration: write one such as 30s, 50ms or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))


def asks_for_help(argv: Sequence[str]) -> bool:
    return any(word in ("-h", "-help", "--help") for word in argv)


class Options(Struct, frozen=True):
    """Flags by name, with their types."""

    parsed: Parsed

    def text(self, name: str) -> str:
        return str(self.parsed.values[name])

    def number(self, name: str) -> int:
        return int(self.parsed.values[name])

    def seconds(self, name: str) -> float:
        return float(self.parsed.values[name])

    def on(self, name: str) -> bool:
        return bool(self.parsed.values[name])

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self.parsed.values[name])


def notes(parsed: Parsed) -> str:
    """What there is to tell of flags that mean nothing here, in one line; "" where there is nothing."""
    return "; ".join(parsed.notes)


def usage(name: str, what: str, words: str, flags: Sequence[Flag], more: str) -> str:
    """What `--help` prints."""
    lines = [f"usage: headgate {name} [flags] {words}".rstrip(), "", what, "", "flags:"]
    for flag in flags:
        shown = flag.metavar or _METAVARS.get(type(flag.default), "")
        head = f"  --{flag.name}{' ' + shown if shown else ''}"
        lines += [head, *wrap(flag.help + _told(flag), 100, initial_indent=" " * 8, subsequent_indent=" " * 8)]
    return "\n".join([*lines, "", more])


_METAVARS: Mapping[type, str] = {int: "N", float: "DURATION", str: "TEXT", tuple: "A,B"}


def _told(flag: Flag) -> str:
    default = flag.default
    if default in ("", (), 0) and not isinstance(default, bool):
        return ""
    if isinstance(default, bool):
        return " (default true)" if default else ""
    return f" (default {default:g}s)" if isinstance(default, float) else f" (default {default})"
