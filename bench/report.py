"""The results: medians over the rounds, as Markdown for people and as JSON for what compares runs."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from bench.cases import Case
from bench.measure import Measurement
from bench.systems import SYSTEMS

_FIGURES = ("cpu_us_per_request", "requests_per_s", "p50_ms", "p99_ms", "rss_mb")  # that every row has, null where not

# By kind of case: what its table shows. The first is what systems are compared by.
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "requests": (
        ("cpu_us_per_request", "CPU µs per request", ",.1f"),
        ("requests_per_s", "requests/s", ",.0f"),
        ("p50_ms", "p50 ms", ".2f"),
        ("p99_ms", "p99 ms", ".2f"),
        ("rss_mb", "RSS MB", ".0f"),
    ),
    "streams": (
        ("cpu_us_per_chunk", "CPU µs per chunk", ",.1f"),
        ("requests_per_s", "streams/s", ",.0f"),
        ("p50_ms", "p50 ms a chunk takes", ".2f"),
        ("p99_ms", "p99 ms", ".2f"),
        ("half_load_p50_ms", "at half load: p50 ms", ".2f"),
        ("half_load_p99_ms", "p99 ms", ".2f"),
        ("rss_mb", "RSS MB", ".0f"),
    ),
    "idle": (("rss_mb", "RSS MB", ".0f"), ("cpu_percent", "CPU %", ".1f"), ("connections", "connections", ",.0f")),
    "scrape": (
        ("cores", "cores", ".2f"),
        ("pages_per_s", "pages/s", ",.0f"),
        ("cpu_us_per_page", "CPU µs per page", ".0f"),
        ("rss_mb", "RSS MB", ".0f"),
    ),
    "beside": (
        ("cpu_us_per_request", "CPU µs per request", ",.1f"),
        ("picker_us_per_request", "the picker's", ",.1f"),
        ("requests_per_s", "requests/s", ",.0f"),
        ("p50_ms", "p50 ms", ".2f"),
        ("p99_ms", "p99 ms", ".2f"),
        ("rss_mb", "RSS MB", ".0f"),
        ("picker_rss_mb", "the picker's", ".0f"),
    ),
    "first": (
        ("first_p99_ms", "p99 ms to the first chunk", ",.1f"),
        ("first_p50_ms", "p50 ms", ",.1f"),
        ("cpu_us_per_request", "CPU µs per request", ",.0f"),
        ("picker_us_per_request", "the picker's", ",.0f"),
        ("requests_per_s", "streams/s", ",.0f"),
        ("p99_ms", "p99 ms a chunk takes", ".2f"),
        ("picker_rss_mb", "the picker's RSS MB", ".0f"),
    ),
    "burst": (
        ("kb_per_stream", "KB per stream", ".1f"),
        ("streams", "streams", ",.0f"),
        ("at_once", "at once", ",.0f"),
        ("cpu_us_per_chunk", "CPU µs per chunk", ".1f"),
        ("p99_ms", "p99 ms a chunk takes", ",.0f"),
        ("rss_mb", "RSS MB", ".0f"),
    ),
}


class Row(Struct, frozen=True):
    """One system in one case. Where it was not measured or answered wrong, `void` says why and there are no figures."""

    case: str
    system: str
    settings: str
    figures: Mapping[str, float]
    errors: int
    rounds: tuple[float, ...]  # of what systems are compared by, in the order they were measured
    void: str = ""


def summarise(case: Case, system: str, measured: Sequence[Measurement], failure: str = "") -> Row:
    """The medians of what was measured. Any wrong answer, in any round, voids them all."""
    settings = measured[-1].settings if measured else ""
    errors = sum(one.errors for one in measured)
    void = failure or next((f"{errors} errors: {one.why}" for one in measured if one.errors), "")
    first = COLUMNS[case.kind][0][0]
    rounds = tuple(round(one.figures[first], 3) for one in measured)
    if void or not measured:
        return Row(case.name, system, settings, {}, errors, rounds, void or "not measured")
    figures = {name: round(median(one.figures[name] for one in measured), 3) for name in measured[0].figures}
    return Row(case.name, system, settings, figures, errors, rounds)


def in_data(row: Row) -> dict[str, Any]:
    """A row of the JSON: the figures that every row has, the errors, then those of its case."""
    figures = {**dict.fromkeys(_FIGURES), **row.figures}
    named = {"case": row.case, "system": row.system, "group": SYSTEMS[row.system].group, "settings": row.settings}
    more = {"void": row.void} if row.void else {}
    return {**named, **figures, "errors": row.errors, "rounds": row.rounds, **more}


def machine() -> dict[str, str | int | float]:
    """Where the numbers are from. `load_average` is that of the minute before: a quiet machine has about 0."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def markdown(cases: Mapping[str, Case], rows: Sequence[Row]) -> str:
    """One table per case, the systems in the order they were asked for; ratios to the first that has any figures."""
    parts = []
    for name, case in cases.items():
        mine = [row for row in rows if row.case == name]
        if not mine:
            continue
        (key, main, _), *others = columns = COLUMNS[case.kind]
        first = next((row for row in mine if row.figures), None)
        heads = [f"{name}: {case.what}", main, f"× {first.system if first else mine[0].system}"]
        heads += [heading for _, heading, _ in others] + ["spread", "settings"]
        against = first.figures[key] if first else 0.0
        lines = [heads, ["---"] * len(heads), *(_cells(row, columns, against) for row in mine)]
        parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    return "\n\n".join(parts)


def _cells(row: Row, columns: Sequence[tuple[str, str, str]], against: float) -> list[str]:
    if not row.figures:
        return [
            row.system,
            f"void: {' '.join(row.void.replace('|', '/').split())}",
            *[""] * (len(columns) + 1),
            row.settings,
        ]
    texts = [format(row.figures[key], style) for key, _, style in columns]
    ratio = f"{row.figures[columns[0][0]] / against:.2f}" if against else ""
    low, high = (format(pick(row.rounds), columns[0][2]) for pick in (min, max))
    return [row.system, texts[0], ratio, *texts[1:], f"{low} to {high}", row.settings]
