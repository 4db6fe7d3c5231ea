"""Rows as a table for people: columns as wide as they need to be, no lines, no colour."""

from collections.abc import Sequence

_WIDEST = 72


def table(rows: Sequence[dict[str, object]], *, indent: str = "") -> str:
    """One line of headings, one per row. Columns that are empty everywhere are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [(name, [_text(row.get(name)) for row in rows]) for name in names]
    columns = [(name, texts) for name, texts in columns if any(texts)]
    lines = []
    widths = [max(len(name), *(min(len(text), _WIDEST) for text in texts)) for name, texts in columns]
    for cells in [
        [name.upper().replace("_", " ") for name, _ in columns],
        *zip(*(texts for _, texts in columns), strict=True),
    ]:
        lines.append(indent + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    return "\n".join(lines)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
