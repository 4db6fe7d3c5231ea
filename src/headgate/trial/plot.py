"""Reports as a picture: SVG, which is text, so that it needs nothing to be drawn and looks alike wherever it is shown.

A band for each workload: percentiles, shares, and what happened over time, a colour for each policy.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from msgspec import Struct

from headgate.trial.capacity import Capacity
from headgate.trial.report import Moment, Report

# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = ("#999999", "#E69F00", "#56B4E9", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000")
_WIDE, _NAMES, _ROW, _GAP = 1100, 200, 18, 36
_EDGE = 22  # left and right
_TIME = 120  # height
_TEXT = "#222222"
_PALE = "#dddddd"
_NOTHING = 1e-9


class Band(Struct, frozen=True):
    """One workload: its name, what it is in a line, and what came of it with each policy."""

    name: str
    about: str
    reports: Sequence[Report]


class Sizes(Struct, frozen=True):
    """One workload, and how much of it, or by how few, can be served with each policy within its SLOs."""

    name: str
    about: str
    found: Sequence[Capacity]


def picture(bands: Sequence[Band | Sizes], over_time: bool = True) -> str:
    """SVG. The same figures give the same text."""
    parts: list[str] = []
    top = 10.0
    for band in bands:
        drawn, high = _band(band, top, over_time) if isinstance(band, Band) else _sizes(band, top)
        parts += drawn
        top += high
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {top:.0f}" width="{_WIDE}" height="{top:.0f}" '
        f'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11" fill="{_TEXT}">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def page(bands: Sequence[Band | Sizes]) -> str:
    """HTML that loads nothing."""
    names = ", ".join(band.name for band in bands)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>headgate bench: {escape(names)}</title>\n"
        f'<body style="margin: 2em; background: #ffffff">\n{picture(bands)}</body>\n</html>\n'
    )


class _Panel(Struct, frozen=True):
    """A row of values for each policy, none where there is nothing to draw."""

    title: str
    rows: Sequence[tuple[float, ...]]
    logarithmic: bool = False
    shares: bool = False  # to 1; the first is filled, the third a stroke


def _head(
    name: str, about: str, policies: Sequence[str], panels: Sequence[_Panel], top: float
) -> tuple[list[str], float]:
    """What it is about, the policies below each other, and the panels beside each other."""
    parts = [
        _text(_EDGE, top + 14, name, size=14, weight="bold"),
        _text(_EDGE, top + 30, about, colour="#666666"),
    ]
    high = _ROW * len(policies)
    at = top + 62
    for place, policy in enumerate(policies):
        middle = at + (place + 0.5) * _ROW
        parts.append(f'<circle cx="{_EDGE + 4}" cy="{middle:.1f}" r="4" fill="{_colour(place)}"/>')
        parts.append(_text(_EDGE + 14, middle + 4, _short(policy)))
    count = max(4, len(panels))
    wide = (_WIDE - _NAMES - (count - 1) * _GAP - _EDGE) / count
    for place, panel in enumerate(panels):
        parts += _dots(panel, _NAMES + place * (wide + _GAP), at, wide, high)
    return parts, high + 62 + 28


def _sizes(one: Sizes, top: float) -> tuple[list[str], float]:
    def values(read: Callable[[Capacity], float | None]) -> list[tuple[float, ...]]:
        return [() if value is None else (value,) for value in map(read, one.found)]

    panels = [
        _Panel("most requests/s", values(lambda each: each.rate)),
        _Panel("per M tokens then", values(lambda each: each.rate_cost)),
        _Panel("fewest endpoints", values(lambda each: each.endpoints)),
        _Panel("per M tokens then", values(lambda each: each.endpoints_cost)),
    ]
    shown = [panel for panel in panels if any(panel.rows)]
    parts, high = _head(one.name, one.about, [each.policy for each in one.found], shown, top)
    return parts, high + 14


def _band(band: Band, top: float, over_time: bool) -> tuple[list[str], float]:
    rows = band.reports
    fair = any(one.priorities for one in rows)
    shares = [(one.kept, one.hit_rate, one.fairness) if fair else (one.kept, one.hit_rate) for one in rows]
    panels = [
        _Panel(
            "TTFT, s: p50, p90, p99", [(one.ttft.p50, one.ttft.p90, one.ttft.p99) for one in rows], logarithmic=True
        ),
        _Panel("TPOT, ms: p50, p90, p99", [_milliseconds(one) for one in rows], logarithmic=True),
        _Panel("output tokens/s", [(one.output_tokens_per_s,) for one in rows]),
        _Panel("● in SLO, ○ cached" + ", | fair" * fair, shares, shares=True),
    ]
    if any(one.cost is not None for one in rows):
        panels.append(_Panel("per M tokens", [() if one.cost is None else (one.cost,) for one in rows]))
    parts, high = _head(band.name, band.about, [one.policy for one in rows], panels, top)
    if over_time and all(one.over_time for one in rows):
        half = (_WIDE - _NAMES - _GAP - _EDGE) / 2
        lines: list[tuple[str, Callable[[Moment], float]]] = [
            ("requests/s that kept the SLOs, of those that came (dotted)", lambda one: one.kept),
            ("requests that wait, at the servers and before them", lambda one: float(one.waiting + one.queued)),
        ]
        for place, (title, value) in enumerate(lines):
            left = _NAMES + place * (half + _GAP)
            parts += _lines(title, rows, value, left, top + high + 16, half, came=not place)
        high += _TIME + 46
    return parts, high + 14


def _milliseconds(one: Report) -> tuple[float, ...]:
    return tuple([value * 1000 for value in (one.tpot.p50, one.tpot.p90, one.tpot.p99)])


def _dots(panel: _Panel, left: float, top: float, wide: float, high: float) -> list[str]:
    """Values are filled from the last one, which is the one that counts, to hollow."""
    title, rows, shares = panel.title, panel.rows, panel.shares
    every = [value for values in rows for value in values]
    place, ticks = _scale(1.0 if shares else max(every), min(every), panel.logarithmic)
    parts = [_text(left, top - 8, title, weight="bold")]
    for tick, said in ticks:
        x = left + place(tick) * wide
        parts.append(f'<path d="M{x:.1f} {top:.1f}v{high:.1f}" stroke="{_PALE}"/>')
        parts.append(_text(x, top + high + 13, said, anchor="middle", colour="#666666"))
    for number, values in enumerate(rows):
        y, colour = top + (number + 0.5) * _ROW, _colour(number)
        xs = [left + place(value) * wide for value in values]
        if len(xs) == 3 and not shares:
            parts.append(f'<path d="M{xs[0]:.1f} {y:.1f}H{xs[2]:.1f}" stroke="{colour}" stroke-width="2"/>')
        filled = (0,) if shares else (len(xs) - 1,)
        for at, x in enumerate(xs):
            if shares and at == 2:
                parts.append(f'<path d="M{x:.1f} {y - 6:.1f}v12" stroke="{colour}" stroke-width="2"/>')
                continue
            fill = colour if at in filled else "#ffffff"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
            )
    return parts


def _lines(
    title: str,
    rows: Sequence[Report],
    value: Callable[[Moment], float],
    left: float,
    top: float,
    wide: float,
    came: bool,
) -> list[str]:
    last = max(one.over_time[-1].at for one in rows) or 1.0
    most = max(max(value(moment), moment.came * came) for one in rows for moment in one.over_time)
    place, ticks = _scale(most, 0.0, False)
    across, times = _scale(last, 0.0, False)
    parts = [_text(left, top - 8, title, weight="bold")]
    for tick, said in ticks:
        y = top + (1 - place(tick)) * _TIME
        parts.append(f'<path d="M{left:.1f} {y:.1f}h{wide:.1f}" stroke="{_PALE}"/>')
        parts.append(_text(left - 4, y + 4, said, anchor="end", colour="#666666"))
    for tick, said in times:
        parts.append(
            _text(left + across(tick) * wide, top + _TIME + 14, f"{said} s", anchor="middle", colour="#666666")
        )

    def path(moments: Sequence[Moment], read: Callable[[Moment], float], style: str) -> str:
        points = [f"{left + across(one.at) * wide:.1f} {top + (1 - place(read(one))) * _TIME:.1f}" for one in moments]
        return f'<path d="M{"L".join(points)}" fill="none" {style}/>'

    if came:
        longest = max(rows, key=lambda one: one.over_time[-1].at)
        parts.append(path(longest.over_time, lambda one: one.came, 'stroke="#222222" stroke-dasharray="2 3"'))
    for number, one in enumerate(rows):
        parts.append(path(one.over_time, value, f'stroke="{_colour(number)}" stroke-width="1.5"'))
    return parts


def _scale(most: float, least: float, logarithmic: bool) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """From a value to its place from 0 to 1, and the values to mark, with their texts."""
    if most < _NOTHING:
        most = 1.0
    if logarithmic:
        low = floor(log10(max(least, most * 1e-4)))
        high = max(low + 1, ceil(log10(most)))
        decades = [10.0**power for power in range(low, high + 1)]
        return (lambda value: (log10(max(value, 10.0**low)) - low) / (high - low)), [
            (one, f"{one:g}") for one in decades
        ]
    step = 10.0 ** floor(log10(most))
    step = next(step * share for share in (0.2, 0.5, 1.0, 2.0) if most / (step * share) <= 5)
    top = max(step, ceil(most / step - 1e-9) * step)
    return (lambda value: value / top), [(step * at, _short_number(step * at)) for at in range(round(top / step) + 1)]


def _short_number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,.6g}"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _short(name: str) -> str:
    """What fits: of a path its end."""
    return name if len(name) <= 28 else f"…{name[-27:]}"


def _text(x: float, y: float, text: str, **more: object) -> str:
    told: Mapping[str, str] = {"anchor": "text-anchor", "colour": "fill", "size": "font-size", "weight": "font-weight"}
    attributes = "".join(f' {told[name]}="{value}"' for name, value in more.items())
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)  # XML has no place for the others
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(shown)}</text>'
