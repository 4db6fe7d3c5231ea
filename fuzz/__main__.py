"""`python -m fuzz`: cases by the million; no crash, no hang, no growth, no broken law."""

import argparse
import asyncio
import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from fuzz.targets import Targets

_HANGS_S = 10  # one case takes less than a millisecond
_GROWTH_MB = 16.0  # between a tenth of the cases and the last
_TURN = 500  # cases of one target in a row


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    names = list(Targets().all)
    add = parser.add_argument
    add("--cases", type=int, default=100_000, help="in all (100000)")
    add("--seed", type=int, help="of all cases (another one each time)")
    add("--first", type=int, default=0, help="number of the first case, to see one again (0)")
    add("--targets", default=",".join(names), help=f"comma-separated: {', '.join(names)} (all)")
    add("-o", "--output", choices=("text", "json"), default="text")
    given = parser.parse_args(argv)
    given.targets = given.targets.split(",")
    if unknown := [name for name in given.targets if name not in names]:
        parser.error(f"{', '.join(unknown)}: write one or more of {', '.join(names)}")
    return given


def resident_mb() -> float:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20) if statm.exists() else 0.0


def _source(seed: int, number: int, dice: Random) -> Random:
    """Half of the messages are new; of the others each comes some sixty times within a thousand cases."""
    if dice.random() < 0.5:
        return dice
    return Random(seed << 40 | number // 1000 << 3 | int(dice.random() * 8))


def _watch(seconds: float) -> None:
    """In CPU time: who gets none on a busy machine does not hang."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


async def fuzz(names: Sequence[str], seed: int, first: int, cases: int) -> dict[str, Any]:
    """What was done, and `failure`, None where every law held."""
    targets = Targets()
    began, told = time.monotonic(), time.monotonic()
    early = 0.0
    counts = dict.fromkeys(names, 0)
    failure = None
    _watch(_HANGS_S)
    for number in range(first, first + cases):
        name = names[number // _TURN % len(names)]
        try:
            dice = Random(seed << 32 | number)
            targets.all[name](_source(seed, number, dice), dice)
        except Exception as error:
            text = "".join(traceback.format_exception(error)[-3:])
            failure = f"case {number} of {name} (--seed {seed} --first {number} --cases 1 --targets {name}):\n{text}"
            break
        counts[name] += 1
        if number % 100 == 0:
            _watch(_HANGS_S)
            await asyncio.sleep(0)  # for what the data plane has put off
        if number - first == cases // 10:
            early = resident_mb()
        if time.monotonic() - told > 10:
            told = time.monotonic()
            rate = (number - first) / (told - began)
            print(
                f"fuzz: {number - first:,} of {cases:,}, {rate:,.0f} a second, {resident_mb():.0f} MB", file=sys.stderr
            )
    _watch(0)
    late = resident_mb()
    if failure is None and late - early > _GROWTH_MB:
        failure = f"memory has grown from {early:.0f} to {late:.0f} MB"
    seconds = time.monotonic() - began
    return {"cases": counts, "seed": seed, "seconds": round(seconds, 1), "memory_mb": [early, late], "failure": failure}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when a law was broken."""
    given = _arguments(argv)
    seed = given.seed if given.seed is not None else int.from_bytes(os.urandom(3))
    faulthandler.register(signal.SIGPROF, chain=True)  # a case that hangs is told with its stack, and ends this
    result = uvloop.run(fuzz(given.targets, seed, given.first, given.cases))
    if given.output == "json":
        print(json.dumps(result, indent=2))
    else:
        early, late = result["memory_mb"]
        print(f"fuzz: seed {seed}: {result['cases']} in {result['seconds']} s; {early:.0f} → {late:.0f} MB")
        if result["failure"]:
            print(result["failure"])
    return 1 if result["failure"] else 0


if __name__ == "__main__":
    sys.exit(main())
