"""Puts load on an address: with wrk where it is installed and the case suits it, else with bench/load.py."""

import shutil
import sys
from pathlib import Path

import msgspec

from bench.cases import Case
from bench.load import Tally
from bench.processes import Failed, running, tail

_SCRIPT = Path(__file__).with_name("wrk.lua")


def load_tool(case: Case, wanted: str) -> str:
    """`wrk` or `own`. `wanted`: one of them, or auto. Streams are always driven by our own: it times their chunks."""
    if wanted == "wrk" and not shutil.which("wrk"):
        raise Failed("wrk is not on PATH: install it, or say --load own")
    return "wrk" if wanted != "own" and not case.streams and shutil.which("wrk") else "own"


def drive(case: Case, port: int, seconds: float, directory: Path, tool: str) -> Tally:
    """Ask `case` of 127.0.0.1:`port` for `seconds`. Raises Failed when the load generator itself did not work."""
    if not (directory / "answer.bin").exists():
        directory.mkdir(parents=True, exist_ok=True)
        for at, request in enumerate(case.requests(f"127.0.0.1:{port}")):
            (directory / f"request-{at:03d}.bin").write_bytes(request)
        (directory / "answer.bin").write_bytes(case.answer)
    if tool == "wrk":
        argv = ["wrk", "-t1", f"-c{case.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        argv += ["-s", str(_SCRIPT), f"http://127.0.0.1:{port}/", "--", str(directory)]
    else:
        argv = [sys.executable, "-m", "bench.load", str(directory), "127.0.0.1", str(port)]
        argv += [str(case.connections), str(seconds)]
    log = directory / "load.log"
    with running(argv, log, talks=True) as process:
        said, _ = process.communicate()
    try:
        return msgspec.json.decode(said.strip().rpartition(b"\n")[2], type=Tally)
    except msgspec.DecodeError:
        raise Failed(f"the load generator ({tool}) failed: {tail(log) or said.decode(errors='replace')}") from None
