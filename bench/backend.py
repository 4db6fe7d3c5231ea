"""Starts the canned model servers: bench/backend.c where a C compiler is there, the same in Python where not."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bench.canned import ENDPOINTS, STREAM_INTERVAL_MS, write_canned
from bench.processes import Failed, running, tail

_SOURCE = Path(__file__).with_name("backend.c")
_ATTEMPTS = 5


class Backend(Struct, frozen=True):
    """Canned servers on one port of several loopback addresses; `kind` says which program they are."""

    addresses: tuple[str, ...]
    port: int
    kind: str

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(f"{address}:{self.port}" for address in self.addresses)


@contextlib.contextmanager
def backend(directory: Path, kind: str = "auto") -> Iterator[Backend]:
    """The servers while they run. `kind`: c, python, or auto for C where it compiles. Raises Failed."""
    write_canned(directory)
    program, said = _program(directory, kind)
    addresses = tuple(f"127.0.0.{at + 1}" for at in range(len(ENDPOINTS)))
    argv = [*program, str(directory), "0", str(STREAM_INTERVAL_MS), *addresses]
    log = directory / "backend.log"
    for _ in range(_ATTEMPTS):  # the port that is free on one address may be taken on the next
        with running(argv, log, talks=True) as process:
            assert process.stdout
            line = process.stdout.readline()
            if line.strip():
                yield Backend(addresses, int(line), said)
                return
            process.wait(5)
        if process.returncode != 3:
            break
    raise Failed(f"the canned backend did not start:\n{tail(log)}")


def _program(directory: Path, kind: str) -> tuple[list[str], str]:
    compiler = shutil.which("cc")
    if kind != "python" and compiler:
        binary = directory / "backend"
        built = subprocess.run([compiler, "-O2", "-o", binary, _SOURCE], capture_output=True, text=True, check=False)
        if built.returncode == 0:
            return [str(binary)], "c"
        if kind == "c":
            raise Failed(f"{compiler} could not build {_SOURCE}:\n{built.stderr}")
    if kind == "c":
        raise Failed("no C compiler (cc) on PATH: install one, or say --backend python")
    return [sys.executable, "-m", "bench.fallback"], "python"
