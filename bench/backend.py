"""Starts the canned model servers: bench/backend.c where a C compiler is there, the same in Python where not."""

import contextlib
import http.client
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bench.canned import write_canned
from bench.cases import Case
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

    def pages(self) -> int:
        """Metrics pages served until now."""
        connection = http.client.HTTPConnection(self.addresses[0], self.port, timeout=10)
        try:
            connection.request("GET", "/pages")
            return int(connection.getresponse().read())
        finally:
            connection.close()


@contextlib.contextmanager
def backend(case: Case, directory: Path, kind: str = "auto") -> Iterator[Backend]:
    """The servers of `case` while they run. `kind`: c, python, or auto for C where it compiles. Raises Failed."""
    write_canned(directory, case.endpoints, case.events)
    program, said = _program(directory, kind)
    addresses = tuple(f"127.0.0.{at + 1}" for at in range(case.endpoints))
    argv = [*program, str(directory), "0", str(case.interval_ms), *addresses]
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
