"""One measurement: a system started afresh, warmed up, loaded; its process tree's CPU time read before and after."""

import http.client
import subprocess
import time
from pathlib import Path

from msgspec import Struct

from bench.backend import Backend
from bench.cases import HEADERS, Case
from bench.drive import drive, load_tool
from bench.processes import Failed, free_port, running, tail, usage
from bench.systems import SYSTEMS

_READY_S = 60.0
_WARM_UP_S = 1.0  # at most; half of the time measured where that is less


class Measurement(Struct, frozen=True):
    """Costs are per unit of the case (a request, or a chunk of a stream), over the whole process tree."""

    settings: str
    cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    errors: int
    why: str = ""  # of the first error


def measure(
    case: Case, system: str, backend: Backend, seconds: float, directory: Path, load: str = "auto"
) -> Measurement:
    """Start `system`, ask it `case` for `seconds`, stop it. Raises Failed when it could not be measured at all."""
    directory.mkdir(parents=True, exist_ok=True)
    tool, port = load_tool(case, load), free_port()
    launch = SYSTEMS[system](backend, port, directory)
    log = directory / f"{system}.log"
    with running(launch.argv, log, launch.env) as process:
        _wait_until_ready(process, case, port, log)
        warm = drive(case, port, min(_WARM_UP_S, seconds / 2), directory / "load", tool)
        before = usage(process.pid)
        tally = drive(case, port, seconds, directory / "load", tool)
        after = usage(process.pid)
        if process.poll() is not None:
            raise Failed(f"{system} ended under load, status {process.returncode}: {tail(log)}")
    errors, why = warm.wrong + tally.wrong, warm.why or tally.why
    units = tally.requests * case.units
    if not units:
        raise Failed(f"{system}: no right answer under load: {why}")
    cpu_us = (after.cpu_s - before.cpu_s) / units * 1e6
    rate = tally.requests / tally.seconds
    return Measurement(launch.settings, cpu_us, rate, tally.p50_ms, tally.p99_ms, after.peak_rss_mb, errors, why)


def _wait_until_ready(process: subprocess.Popen[bytes], case: Case, port: int, log: Path) -> None:
    end = time.monotonic() + _READY_S
    while wrong := _what_is_wrong(case, port):
        if process.poll() is not None:
            raise Failed(f"did not start, status {process.returncode}: {tail(log)}")
        if time.monotonic() > end:
            raise Failed(f"no right answer within {_READY_S:g} s: {wrong}; {tail(log)}")
        time.sleep(0.05)


def _what_is_wrong(case: Case, port: int) -> str:
    """Ask once; "" when the answer is right."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", case.bodies[0], HEADERS)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if answer.status == 200 and body == case.answer else f"status {answer.status}: {body[:300]!r}"
