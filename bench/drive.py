"""Puts load on an address: with wrk where it is installed and the case suits it, else with programs of our own."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.asker import Tally
from bench.cases import Case
from bench.processes import Failed, running, tail

_SCRIPT = Path(__file__).with_name("wrk.lua")


class Target(Struct, frozen=True):
    """Who is asked: `host:port`, headers that it needs besides, and how its answers are compared (answers.CHECKS)."""

    authority: str
    headers: Mapping[str, str] = {}
    check: str = "exact"

    @property
    def host_and_port(self) -> tuple[str, str]:
        host, _, port = self.authority.rpartition(":")
        return host, port


def load_tool(case: Case, wanted: str) -> str:
    """`wrk` or `own`. `wanted`: one of them, or auto. Only plain requests suit wrk: it can't time chunks, nor wait."""
    if wanted == "wrk" and not shutil.which("wrk"):
        raise Failed("wrk is not on PATH: install it, or say --load own")
    return "wrk" if wanted != "own" and case.kind == "requests" and shutil.which("wrk") else "own"


def drive(case: Case, target: Target, seconds: float, directory: Path, tool: str) -> Tally:
    """Ask `case` of `target` for `seconds`. Raises Failed when the load generator itself did not work."""
    _write(case, target, directory)
    if tool == "wrk" and target.check == "exact":
        argv = ["wrk", "-t1", f"-c{case.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        argv += ["-s", str(_SCRIPT), f"http://{target.authority}/", "--", str(directory)]
    else:
        argv = [sys.executable, "-m", "bench.load", str(directory), *target.host_and_port]
        argv += [str(case.connections), str(seconds), target.check, str(case.stagger_s)]
    log = directory / "load.log"
    with running(argv, log, talks=True) as process:
        said, _ = process.communicate()
    return _tally(said.strip().rpartition(b"\n")[2], log)


@contextlib.contextmanager
def crowd(case: Case, target: Target, directory: Path) -> Iterator["Crowd"]:
    """As many clients as the case has connections, each with its answer (or none to come), while they stay."""
    _write(case, target, directory)
    argv = [sys.executable, "-m", "bench.crowd", str(directory), *target.host_and_port]
    argv += [str(case.connections), target.check]
    log = directory / "load.log"
    with running(argv, log, talks=True) as process:
        yield Crowd(process, log)


class Crowd:
    """`came` is what they saw until each had its answer."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.came = self._read()

    def leave(self) -> Tally:
        """The same, and how many of them had stayed until now."""
        assert self._process.stdin
        self._process.stdin.close()
        return self._read()

    def _read(self) -> Tally:
        assert self._process.stdout
        return _tally(self._process.stdout.readline(), self._log)


def _write(case: Case, target: Target, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for at, request in enumerate(case.requests(target.authority, target.headers)):
        (directory / f"request-{at:03d}.bin").write_bytes(request)
    (directory / "answer.bin").write_bytes(case.answer)


def _tally(said: bytes, log: Path) -> Tally:
    try:
        return msgspec.json.decode(said, type=Tally)
    except msgspec.DecodeError:
        raise Failed(f"the load generator failed: {tail(log) or said.decode(errors='replace')}") from None
