"""A fault is a problem before it knows its file: where in the object, what is wrong, what to write instead."""

from typing import Literal

from msgspec import Struct

_LONGEST_KEY = 100

Path = tuple[str | int, ...]


class Fault(Struct, frozen=True):
    """`path` leads from the object's top to the field; `line` is 0 where the path alone says which line is meant."""

    path: Path
    message: str
    severity: Literal["error", "warning", "note"] = "error"
    line: int = 0


def dotted(path: Path) -> str:
    """`("spec", "rules", 0, "name")` → `spec.rules[0].name`; a key with dots in it stands in brackets."""
    text = ""
    for step in path:
        if isinstance(step, int) or not step.replace("-", "").isalnum():
            text += f"[{str(step)[:_LONGEST_KEY]}]"
        else:
            text += f".{step}" if text else step
    return text


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shown(value: object, longest: int = 60) -> str:
    """A value as the user would write it, cut where it is long: text in quotes."""
    if isinstance(value, str):
        cut = value if len(value) <= longest else value[: longest - 1] + "…"
        return '"' + cut.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)[:longest]
