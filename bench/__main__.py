"""`python -m bench`: every system in every case, interleaved, several rounds, medians."""

import argparse
import datetime
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench.backend import Backend, backend
from bench.cases import BESIDE, CASES, Case
from bench.drive import load_tool
from bench.install import install
from bench.measure import Measurement, measure
from bench.plot import PLOT, plot
from bench.processes import ROOT, Failed
from bench.report import Row, in_data, machine, markdown, summarise
from bench.systems import SYSTEMS
from bench.targets import verdicts


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
    work, output = ROOT / "bench" / "work", ROOT / "bench" / "results" / "latest.json"
    add("--work", type=Path, default=work, help="where peers are installed, and configurations and logs are left")
    add("--output", type=Path, default=output, help="where the JSON goes; the tables go beside it, as .md")
    add("--plot", type=Path, help=f"where the plot goes ({PLOT.relative_to(ROOT)} after a whole run, else nowhere)")
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
    runs = options.work / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    pairs = [(case, system) for case in cases for system in options.systems if _suit(cases[case], system)]
    if not pairs:
        raise Failed("none of these cases says anything about these systems")
    homes, failures = _install({system for _, system in pairs}, options.work / "peers")
    with ExitStack() as stack:
        # One for each case: idle while others are measured. They differ in endpoints and streams.
        canned = {
            name: stack.enter_context(backend(cases[name], runs / f"backend-{name}", options.backend))
            for name, _ in pairs
        }
        rows = _measure_all(options, cases, pairs, canned, homes, failures)
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": found,
        "settings": {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "backend": next(iter(canned.values())).kind,
            "load": {name: load_tool(case, options.load) for name, case in cases.items()},
            "connections": {name: case.connections for name, case in cases.items()},
            "endpoints": {name: case.endpoints for name, case in cases.items()},
        },
        "cases": [in_data(row) for row in rows],
    }
    text = "\n\n".join(part for part in (_preamble(result), markdown(cases, rows), verdicts(rows)) if part)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    options.output.with_suffix(".md").write_text(text + "\n")
    print(text)
    whole = set(options.cases) == set(CASES) and set(options.systems) == set(SYSTEMS)
    if options.plot or whole:
        plot(options.output, options.plot or PLOT, options.work / "peers")
    return 1 if any(row.void for row in rows) else 0


def _suit(case: Case, system: str) -> bool:
    group = SYSTEMS[system].group
    if BESIDE in (case.group, group):
        return case.group == BESIDE and (group == BESIDE or system == "envoy")
    return not case.group or group == case.group


def _install(systems: set[str], homes: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The homes of those that need one, and by peer why there is none."""
    found: dict[str, Path] = {}
    failures: dict[str, str] = {}
    for peer in sorted({SYSTEMS[system].peer for system in systems} - {""}):
        try:
            found[peer] = install(peer, homes)
        except Failed as error:
            failures[peer] = str(error)
            print(f"bench: {peer}: {error}", file=sys.stderr)
    return found, failures


def _measure_all(
    options: argparse.Namespace,
    cases: Mapping[str, Case],
    pairs: Sequence[tuple[str, str]],
    canned: Mapping[str, Backend],
    homes: Mapping[str, Path],
    uninstalled: Mapping[str, str],
) -> list[Row]:
    """Interleaved: in each round every system in every case, once. One that fails, or errs, is not tried again."""
    measured: dict[tuple[str, str], list[Measurement]] = {pair: [] for pair in pairs}
    failures = {pair: uninstalled[peer] for pair in pairs if (peer := SYSTEMS[pair[1]].peer) in uninstalled}
    for number in range(options.rounds):
        shift = number % len(options.systems)  # nobody is always the first, or always after the same one
        for name, case in cases.items():
            for system in options.systems[shift:] + options.systems[:shift]:
                pair = name, system
                if pair not in measured or pair in failures:
                    continue
                print(f"bench: round {number + 1} of {options.rounds}: {name}, {system}", file=sys.stderr)
                directory = options.work / "runs" / f"{number}-{name}-{system}"
                home = homes.get(SYSTEMS[system].peer, Path())
                try:
                    one = measure(case, system, canned[name], options.seconds, directory, options.load, home)
                    measured[pair].append(one)
                    if one.errors:
                        failures[pair] = f"{one.errors} errors: {one.why}"
                except Failed as error:
                    failures[pair] = str(error)
                if pair in failures:
                    print(f"bench: {name}, {system}: {failures[pair]}", file=sys.stderr)
                shutil.rmtree(directory / "load", ignore_errors=True)
    return [summarise(cases[pair[0]], pair[1], found, failures.get(pair, "")) for pair, found in measured.items()]


def _preamble(result: Mapping[str, Any]) -> str:
    found, settings = result["machine"], result["settings"]
    tools = ", ".join(f"{case} by {tool}" for case, tool in settings["load"].items())
    return (
        f"{result['date'][:10]}, {found['cpu']}, {found['cores']} cores, Linux {found['kernel']}, "
        f"Python {found['python']}; load average before: {found['load_average']}; "
        f"median of {settings['rounds']} rounds of {settings['seconds']:g} s; "
        f"backend in {settings['backend']}; load: {tools}"
    )


if __name__ == "__main__":
    sys.exit(main())
