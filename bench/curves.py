"""Draws what servers told of themselves over time, vLLM beside the simulator: `curves.py CURVES.json PICTURE.png`.

Run by a Python that has matplotlib, see bench/plot.py. CURVES.json: workload → who → a list of {at, running, waiting,
usage}.
"""

import json
import sys
from pathlib import Path

_ROWS = (("running", "running"), ("waiting", "waiting"), ("usage", "KV cache in use"))
_COLOURS = {"vLLM": "#000000", "simulated": "#0072B2"}


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    source, picture = sys.argv[1:]
    found = json.loads(Path(source).read_text())
    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "font.size": 8})
    figure, axes = pyplot.subplots(len(_ROWS), len(found), figsize=(3.6 * len(found), 5.0), sharex="col", squeeze=False)
    for column, (workload, curves) in enumerate(found.items()):
        for row, (name, label) in enumerate(_ROWS):
            axis = axes[row][column]
            for who, seen in curves.items():
                axis.plot(
                    [one["at"] for one in seen], [one[name] for one in seen],
                    color=_COLOURS[who], linewidth=0.9, label=who, drawstyle="steps-post",
                )  # fmt: skip
            axis.set_ylim(bottom=0)
            if row == 0:
                axis.set_title(workload)
            if column == 0:
                axis.set_ylabel(label)
        axes[-1][column].set_xlabel("seconds")
    axes[0][0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(picture, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
