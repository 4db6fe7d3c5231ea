"""`python -m chaos`: everything at once against a real gateway, and the account of each request."""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from chaos.run import Failed, Result, Run, Settings


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=600.0, help="how long (600)")
    add("--seed", type=int, help="of all chance but that of time and the kernel (another one each time)")
    add("--clients", type=int, default=24, help="at a time (24)")
    add(
        "--rate", type=float, default=200.0, help="requests per second, as far as clients do not wait for answers (200)"
    )
    add("--work", type=Path, help="where manifests and state are left (a directory that is removed)")
    add("--gateway", type=shlex.split, default=[], metavar="WORDS", help="more words for headgate gateway, as one")
    add("-o", "--output", choices=("text", "json"), default="text")
    return parser.parse_args(argv)


def report(result: Result) -> str:
    """For people."""
    lines = [f"chaos: {result.seconds:g} s, seed {result.seed}, {result.requests} requests", ""]
    for title, counts in (
        ("what became of them", result.outcomes),
        ("with which status", result.statuses),
        ("what they were", result.kinds),
        ("what went wrong meanwhile", result.events),
    ):
        lines.append(f"{title}:")
        lines += [f"  {count:>8}  {name}" for name, count in counts.items()]
    lines.append("what was left afterwards (before → after):")
    lines.append(f"  sockets {result.sockets[0]} → {result.sockets[1]}, tasks {result.tasks[0]} → {result.tasks[1]}")
    lines.append(f"  memory {result.memory_mb[0]:.0f} MB at a quarter of the time → {result.memory_mb[1]:.0f} MB")
    lines.append("")
    lines += [f"VIOLATION: {text}" for text in result.violations]
    lines.append(f"{result.violated} violations" if result.violated else "every request is accounted for")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when a request is not accounted for, or something was left behind; 2 when it could not run."""
    given = _arguments(argv)
    if not Path("/proc/self/fd").exists():
        print("chaos: sockets are counted in /proc, which only Linux has", file=sys.stderr)
        return 2
    seed = given.seed if given.seed is not None else int.from_bytes(os.urandom(2))
    block = f"127.{os.getpid() % 200 + 30}"  # runs at the same time keep apart
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        directory = given.work or Path(temporary)
        settings = Settings(given.seconds, seed, given.clients, given.rate, directory, tuple(given.gateway), block)
        try:
            result = uvloop.run(_play(settings))
        except Failed as error:
            print(f"chaos: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    print(msgspec.json.format(msgspec.json.encode(result)).decode() if given.output == "json" else report(result))
    return 1 if result.violated else 0


async def _play(settings: Settings) -> Result:
    return await Run(settings, lambda line: print(f"chaos: {line}", file=sys.stderr, flush=True)).run()


if __name__ == "__main__":
    sys.exit(main())
