"""The plot of a run: CPU per request, or per chunk, of every system, on logarithmic scales beside each other.

    python -m bench.plot RESULTS.json PLOT.png

It is drawn by a Python of its own, where matplotlib is (bench/install.py): nothing here needs more than that one and
the standard library. The same results give the same bytes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLOT = ROOT / "docs" / "performance.png"

_PANELS = (
    ("chat-short", "cpu_us_per_request", "chat request of 0.7 KB\nCPU µs per request"),
    ("chat-long", "cpu_us_per_request", "chat request of 400 KB\nCPU µs per request"),
    ("stream", "cpu_us_per_chunk", "100 streams, 5 ms per chunk\nCPU µs per chunk"),
)
# Okabe and Ito's colours, which the colour-blind tell apart; the marks differ in shape too.
_GROUPS = {
    "headgate": ("#0072B2", "o", "headgate, everything on"),
    "cache-aware": ("#D55E00", "s", "peers that choose by prefix"),
    "plain": ("#999999", "D", "peers that do not"),
    "yardstick": ("#000000", "|", "the barest proxy in Python"),
}
_LEFT_OUT = ("direct", "headgate-2-workers")


def plot(results: Path, picture: Path, homes: Path) -> None:
    """Draw `results` (JSON) into `picture`. Says on standard error why it can't, where it can't."""
    from bench.install import install  # here: what runs below has no msgspec
    from bench.processes import Failed

    try:
        python = install("matplotlib", homes) / "bin" / "python"
        argv = [str(python), "-m", "bench.plot", str(results.resolve()), str(picture.resolve())]
        subprocess.run(argv, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"bench: no plot: {error}", file=sys.stderr)


def _draw(results: dict[str, Any], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9})
    rows = [row for row in results["cases"] if row["system"] not in _LEFT_OUT]
    panels = [panel for panel in _PANELS if any(row["case"] == panel[0] for row in rows)]
    if not panels:
        sys.exit("no case that is plotted was measured")
    systems, groups = _order(rows, panels), {row["system"]: row["group"] for row in rows}
    size = (10.5, 1.5 + 0.27 * len(systems))
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (case, key, title) in zip(axes[0], panels, strict=True):
        axis.set_title(title, loc="left")
        _panel(axis, systems, groups, {row["system"]: row.get(key) for row in rows if row["case"] == case})
    axes[0][0].set_yticks(range(len(systems)), systems)
    axes[0][0].set_ylim(len(systems) - 0.5, -0.5)
    marks = [
        Line2D([], [], color=colour, marker=mark, linestyle="", markeredgewidth=_edge(mark), label=label)
        for group, (colour, mark, label) in _GROUPS.items()
        if group in groups.values()
    ]
    bottom = 0.2 / size[1]
    figure.legend(handles=marks, loc="lower left", ncols=len(marks), frameon=False, bbox_to_anchor=(0.0, bottom))
    found = results["machine"]
    where = (
        f"{results['date'][:10]}, {found['cores']} cores, {found['cpu']}; lower is better; the scales are logarithmic"
    )
    figure.text(0.012, bottom / 2, where, color="#666666", fontsize=8)
    figure.tight_layout(rect=(0, 0.55 / size[1], 1, 1))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=140, metadata={"Software": None})


def _panel(axis: Any, systems: list[str], groups: dict[str, str], values: dict[str, float | None]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for at, system in enumerate(systems):
        value = values.get(system)
        if value is None:
            said = "void" if system in values else ""
            axis.annotate(said, (0.03, at), xycoords=("axes fraction", "data"), va="center", color="#666666")
            continue
        colour, mark, _ = _GROUPS[groups[system]]
        axis.plot([value], [at], mark, color=colour, markersize=7, markeredgewidth=_edge(mark))
        text = f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        axis.annotate(text, (value, at), (7, 0), textcoords="offset points", va="center_baseline")
    axis.set_xscale("log")
    axis.margins(x=0.3)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _edge(mark: str) -> float:
    return 2.0 if mark == "|" else 0.0


def _order(rows: list[dict[str, Any]], panels: list[tuple[str, str, str]]) -> list[str]:
    """The cheapest of the first panel first; those without a figure there come last."""
    case, key, _ = panels[0]
    costs = {row["system"]: row.get(key) for row in rows if row["case"] == case}
    names = dict.fromkeys(row["system"] for row in rows if row["case"] in {case for case, _, _ in panels})
    return sorted(names, key=lambda name: (costs.get(name) is None, costs.get(name) or 0.0))


if __name__ == "__main__":
    _draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
