"""The flags of `headgate bench`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from headgate.cli.names import ACCELERATORS, POLICIES, SERVERS, TRACES, WORKLOADS

FIND_CAPACITY = "find-capacity"


class _Asked(argparse.Action):
    """The workloads; `find_capacity` is whether that word stands before them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        words = list(values or ())
        namespace.find_capacity = words[:1] == [FIND_CAPACITY]
        namespace.workloads = words[1:] if namespace.find_capacity else words
        if FIND_CAPACITY in namespace.workloads:
            parser.error(f"{FIND_CAPACITY} stands before the workloads")


def add_flags(bench: argparse.ArgumentParser) -> None:
    bench.set_defaults(find_capacity=False)
    bench.add_argument(
        "workloads",
        nargs="*",
        type=_workload,
        metavar="WORKLOAD",
        action=_Asked,
        help=f"{', '.join(WORKLOADS)}; all of them when left out. find-capacity before them: search the highest rate "
        "that keeps the SLOs, and the fewest endpoints",
    )
    bench.add_argument("--trace", metavar="FILE", help="recorded traffic in place of a workload; - is standard input")
    bench.add_argument(
        "--trace-format", choices=TRACES, help="what FILE is (default: as its beginning tells): %(choices)s"
    )
    bench.add_argument(
        "--speed", type=_above_0, default=1, metavar="F", help="play it so many times as fast (default %(default)s)"
    )
    bench.add_argument(
        "--policies",
        type=lambda text: text.split(","),
        metavar="A,B",
        help=f"of {', '.join(POLICIES)}, and files with an EndpointPickerConfig; when left out those with names",
    )
    what = f"what serves: {', '.join(SERVERS)}, or a card in a file, as `headgate sim --fit` writes it"
    bench.add_argument("--server", metavar="CARD", help=what)
    bench.add_argument("--endpoints", type=_some, metavar="N", help="how many serve")
    bench.add_argument(
        "--prefill",
        type=_some,
        metavar="N",
        help="so many of them are for prompts alone: they have the label llm-d.ai/role: prefill, the others decode, "
        "for the policy disaggregated and configs with such filters",
    )
    bench.add_argument(
        "--rate", type=_above_0, metavar="R", help="requests a second in the mean, in place of the workload's own"
    )
    bench.add_argument("--seconds", type=_above_0, metavar="S", help="how long requests come; it ends with the last")
    bench.add_argument("--ttft", type=_above_0, metavar="S", help="the SLO of the time to the first token")
    bench.add_argument("--tpot", type=_above_0, metavar="S", help="the SLO of the time for each further token")
    bench.add_argument(
        "--share",
        type=share,
        default=0.95,
        metavar="P",
        help="find-capacity: of the requests, which must keep both SLOs (default %(default)s)",
    )
    bench.add_argument(
        "--price",
        type=_prices,
        metavar="P",
        help="of an accelerator for an hour, in any currency: 2.5, or h100=2.5,l4=0.7, or a list in FILE.yaml; what "
        "tokens cost is told then",
    )
    bench.add_argument("--plot", metavar="FILE", help="draw what came of it into FILE, .html, .svg or .png")
    bench.add_argument("--seed", type=int, default=1, metavar="K", help="of all chance (default %(default)s)")
    bench.add_argument("-o", "--output", choices=("table", "json"), default="table")


def _some(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 100000")
    return value


def _above_0(text: str) -> float:
    value = _number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _prices(text: str) -> dict[str, float]:
    """By accelerator; "" is that of all others. A list in a file has them one a line, as `h100: 2.5`."""
    if text.endswith((".yaml", ".yml", ".json")):
        text = _listed(text)
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, price = part.rpartition("=")
        if equals and name not in ACCELERATORS:
            raise argparse.ArgumentTypeError(f"there is no accelerator {name!r}, but {', '.join(ACCELERATORS)}")
        found[name] = _above_0(price)
    return found


def _listed(path: str) -> str:
    """As it would stand on the command line."""
    try:
        found = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {getattr(error, 'strerror', None) or 'no YAML'}") from None
    if not isinstance(found, dict) or not found:
        raise argparse.ArgumentTypeError(f"{path}: a list of prices has lines like `h100: 2.5`")
    return ",".join(f"{name}={price}" for name, price in found.items())


def share(text: str) -> float:
    value = _number(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, above 0 and at most 1")
    return value


def _workload(text: str) -> str:
    if text not in (*WORKLOADS, FIND_CAPACITY):
        raise argparse.ArgumentTypeError(f"there is no {text!r}, but {', '.join(WORKLOADS)}")
    return text
