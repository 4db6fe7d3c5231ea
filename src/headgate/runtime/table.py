"""Rows as a table for people: columns as wide as they need to be, no lines, no colour."""

import os
import sys
from collections.abc import Mapping, Sequence

_SHOWN = 3  # of a list; the rest is counted
_NARROWEST = 12  # names are cut in the middle, down to this, where a table is too wide
_LAST = 66  # of the last column, what the others make room for
_ITEM = 26  # of a list, where the table must fit somewhere
_DETAILS = {  # what only JSON and YAML show
    "gateways": ("address", "port"),
    "pods": ("owner",),
    "shadow": ("reasons",),
}


def table(kind: str, rows: Sequence[Mapping[str, object]], *, indent: str = "", width: int = 0) -> str:
    """One line of headings, one per row. Columns that are empty everywhere are left out.

    Within `width` characters where that is possible (0: no limit): names lose their middle. The last column is never
    cut, for it says what is wrong.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name not in _DETAILS.get(kind, ())))
    item = _ITEM if width else 0
    columns = [[name.upper().replace("_", " "), *(_text(row.get(name), item) for row in rows)] for name in names]
    columns = [column for column in columns if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    if width:
        widths[-1:] = [min(last, _LAST) for last in widths[-1:]]
        _narrow(widths, width - len(indent) - 2 * (len(widths) - 1))
    lines = []
    for cells in zip(*columns, strict=True):
        *first, last = (_cut(cell, room) for cell, room in zip(cells, [*widths[:-1], 0], strict=True))
        line = "  ".join([*(cell.ljust(room) for cell, room in zip(first, widths, strict=False)), last])
        lines.append(f"{indent}{line}".rstrip())
    return "\n".join(lines)


def _narrow(widths: list[int], room: int) -> None:
    """Take from the widest columns until all fit, or until there is nothing more to take."""
    while sum(widths) > room and len(widths) > 1:
        widest = max(range(len(widths) - 1), key=lambda at: widths[at])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _cut(text: str, room: int) -> str:
    if not room or len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[-tail:]}"


def _text(value: object, item: int) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        shown = _SHOWN - 1 if item else _SHOWN
        more = f" and {len(value) - shown} more" if len(value) > shown else ""
        return ", ".join(_cut(str(one), item) for one in value[:shown]) + more
    return " ".join(str(value).split())


def terminal_width() -> int:
    """Of the terminal that standard output is, 0 where it is none: what goes to a file needs no cutting."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError, AttributeError):
        return 0
