"""`python -m bench`: every system in every case, interleaved, several rounds, medians."""

import argparse
import datetime
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.backend import Backend, backend
from bench.cases import CASES, Case
from bench.drive import load_tool
from bench.measure import Measurement, measure
from bench.processes import ROOT, Failed
from bench.report import Row, machine, markdown, summarise
from bench.systems import SYSTEMS


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = ", ".join(name for name in names if name not in known)
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"{unknown or 'nothing'}: write one or more of {', '.join(known)}")
        return list(dict.fromkeys(names))

    return read


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    cases, systems = list(CASES), list(SYSTEMS)
    add = parser.add_argument
    add("--cases", type=_names(cases), default=cases, help=f"comma-separated: {', '.join(cases)} (all)")
    add("--systems", type=_names(systems), default=systems, help=f"comma-separated: {', '.join(systems)} (all)")
    add("--rounds", type=int, default=3, help="each system is measured so often in each case (3)")
    add("--seconds", type=float, default=5.0, help="of load per measurement, after one of warming up (5)")
    add("--load", choices=("auto", "wrk", "own"), default="auto", help="the load generator (wrk where it is installed)")
    add(
        "--backend", choices=("auto", "c", "python"), default="auto", help="the canned server (C where cc is installed)"
    )
    add("--work", type=Path, default=ROOT / "bench" / "work", help="where configurations and logs are left")
    add("--output", type=Path, default=ROOT / "bench" / "results" / "latest.json", help="where the JSON goes")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when a system could not be measured or gave a wrong answer."""
    options = _arguments(argv)
    if not Path("/proc/self/stat").exists():
        print("bench: CPU time of process trees is read from /proc, which only Linux has", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that every process is stopped
    try:
        return _run(options)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    cases = {name: CASES[name]() for name in options.cases}
    found = machine()
    shutil.rmtree(options.work, ignore_errors=True)
    with backend(options.work / "backend", options.backend) as canned:
        rows = _measure_all(options, cases, canned)
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": found,
        "settings": {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "backend": canned.kind,
            "endpoints": len(canned.addresses),
            "load": {name: load_tool(case, options.load) for name, case in cases.items()},
            "connections": {name: case.connections for name, case in cases.items()},
        },
        "cases": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    print(_preamble(result), markdown(cases, rows), sep="\n\n")
    return 1 if any(row.void for row in rows) else 0


def _measure_all(options: argparse.Namespace, cases: Mapping[str, Case], canned: Backend) -> list[Row]:
    """Interleaved: in each round every system in every case, once. One that fails is not tried again."""
    measured: dict[tuple[str, str], list[Measurement]] = {(c, s): [] for c in cases for s in options.systems}
    failures: dict[tuple[str, str], str] = {}
    for number in range(options.rounds):
        shift = number % len(options.systems)  # nobody is always the first, or always after the same one
        for name, case in cases.items():
            for system in options.systems[shift:] + options.systems[:shift]:
                if (name, system) in failures:
                    continue
                print(f"bench: round {number + 1} of {options.rounds}: {name}, {system}", file=sys.stderr)
                directory = options.work / f"{number}-{name}-{system}"
                try:
                    one = measure(case, system, canned, options.seconds, directory, options.load)
                    measured[name, system].append(one)
                except Failed as error:
                    failures[name, system] = str(error)
                shutil.rmtree(directory / "load", ignore_errors=True)
    return [summarise(cases[c], s, found, failures.get((c, s), "")) for (c, s), found in measured.items()]


def _preamble(result: Mapping[str, Any]) -> str:
    found, settings = result["machine"], result["settings"]
    tools = ", ".join(f"{case} by {tool}" for case, tool in settings["load"].items())
    return (
        f"{result['date'][:10]}, {found['cpu']}, {found['cores']} cores, Linux {found['kernel']}, "
        f"Python {found['python']}; load average before: {found['load_average']}; "
        f"median of {settings['rounds']} rounds of {settings['seconds']:g} s; "
        f"backend in {settings['backend']}, {settings['endpoints']} endpoints; load: {tools}"
    )


if __name__ == "__main__":
    sys.exit(main())
