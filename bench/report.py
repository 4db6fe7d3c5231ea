"""The results: medians over the rounds, as Markdown for people and as JSON for what compares runs."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

from bench.cases import Case
from bench.measure import Measurement


class Row(Struct, frozen=True, omit_defaults=True):
    """One system in one case. Where it was not measured or answered wrong, `void` says why, figures are None."""

    case: str
    system: str
    settings: str
    cpu_us_per_request: float | None
    cpu_us_per_chunk: float | None
    requests_per_s: float | None
    p50_ms: float | None
    p99_ms: float | None
    rss_mb: float | None
    errors: int
    rounds: tuple[float, ...]  # CPU µs per unit, in the order they were measured
    void: str = ""


def summarise(case: Case, system: str, measured: Sequence[Measurement], failure: str = "") -> Row:
    """The medians of what was measured. Any wrong answer, in any round, voids them all."""
    settings = measured[-1].settings if measured else ""
    errors = sum(one.errors for one in measured)
    void = failure or next((f"{errors} wrong answers: {one.why}" for one in measured if one.errors), "")
    rounds = tuple(round(one.cpu_us, 2) for one in measured)
    if void:
        return Row(case.name, system, settings, None, None, None, None, None, None, errors, rounds, void)
    cpu_us = median(one.cpu_us for one in measured)
    return Row(
        case.name,
        system,
        settings,
        round(cpu_us * case.units, 2),
        round(cpu_us, 2) if case.streams else None,
        round(median(one.requests_per_s for one in measured), 1),
        round(median(one.p50_ms for one in measured), 3),
        round(median(one.p99_ms for one in measured), 3),
        round(median(one.rss_mb for one in measured), 1),
        errors,
        rounds,
    )


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
    """One table per case, the systems in the order they were asked for; times relative to the first that has any."""
    parts = []
    for name, case in cases.items():
        mine = [row for row in rows if row.case == name]
        first = next((_cpu(row) for row in mine if not row.void), None)
        time = "ms between chunks" if case.streams else "ms"
        heads = [case.what, f"CPU µs per {case.unit}", f"× {mine[0].system}", "requests/s"]
        heads += [f"p50 {time}", f"p99 {time}", "RSS MB", "spread of CPU µs", "settings"]
        lines = [heads, ["---"] * len(heads), *(_cells(row, first) for row in mine)]
        parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    return "\n\n".join(parts)


def _cpu(row: Row) -> float | None:
    return row.cpu_us_per_chunk if row.cpu_us_per_chunk is not None else row.cpu_us_per_request


def _cells(row: Row, first: float | None) -> list[str]:
    cpu = _cpu(row)
    if cpu is None:
        return [row.system, f"void: {' '.join(row.void.replace('|', '/').split())}", *[""] * 6, row.settings]
    ratio = f"{cpu / first:.2f}" if first else ""
    figures = [f"{cpu:.1f}", ratio, f"{row.requests_per_s:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}"]
    return [row.system, *figures, f"{row.rss_mb:.0f}", f"{min(row.rounds):.1f} to {max(row.rounds):.1f}", row.settings]
