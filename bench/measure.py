"""One measurement: a system started afresh, warmed up, loaded; its process tree's CPU time read before and after."""

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.answers import CHECKS
from bench.asker import Tally
from bench.backend import Backend
from bench.canned import CHAT
from bench.cases import HEADERS, PROBE, Case
from bench.drive import Target, crowd, drive, load_tool
from bench.launch import Launch, Place
from bench.processes import Failed, Usage, free_port, most_files, running, tail, usage
from bench.systems import SYSTEMS

_READY_S = 60.0
_SETTLE_S = 2.0  # after traffic, until a system is at rest
_FILES_BESIDES = 500  # that a gateway has open besides its connections, amply


class Measurement(Struct, frozen=True):
    """`figures` by their names in the results; which there are depends on the kind of the case."""

    settings: str
    figures: Mapping[str, float]
    errors: int = 0
    why: str = ""  # of the first error


class _Run(Struct, frozen=True):
    case: Case
    backend: Backend
    target: Target
    seconds: float
    directory: Path
    tool: str
    used: Callable[[], Usage]
    files: int  # that each process may have open
    warm_s: float


class _Found(Struct, frozen=True):
    figures: Mapping[str, float]
    errors: int
    why: str


def measure(
    case: Case, system: str, backend: Backend, seconds: float, directory: Path, load: str = "auto", home: Path = Path()
) -> Measurement:
    """Start `system`, ask it `case` for `seconds`, stop it. Raises Failed when it could not be measured at all.

    `home` is where bench/install.py put it, for those that need that.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = most_files()
    place = Place(case, backend, free_port(), directory, home)
    launch = SYSTEMS[system].launch(place)
    with _started(launch, place, system) as (target, used):
        run = _Run(
            case, backend, target, seconds, directory / "load", load_tool(case, load), used, files, launch.warm_s
        )
        found = MEASURES[case.kind](run)
    return Measurement(launch.settings, found.figures, found.errors, found.why)


@contextlib.contextmanager
def _started(launch: Launch, place: Place, system: str) -> Iterator[tuple[Target, Callable[[], Usage]]]:
    if not launch.argv:
        yield Target(place.backend.endpoints[0], launch.headers, launch.check), Usage
        return
    target = Target(f"127.0.0.1:{place.port}", launch.headers, launch.check)
    log = place.directory / f"{system}.log"
    with running(launch.argv, log, launch.env) as process:
        _wait_until_ready(process, target, log)
        yield target, lambda: usage(process.pid)
        if process.poll() is not None:
            raise Failed(f"{system} ended under load, status {process.returncode}: {tail(log)}")


def _requests(run: _Run, also: Callable[[], Usage] = Usage) -> _Found:
    """`also`: what one of the processes has used."""
    warm = _warm_up(run)
    before, one_before = run.used(), also()
    tally = drive(run.case, run.target, run.seconds, run.directory, run.tool)
    after, one_after = run.used(), also()
    if not tally.requests:
        raise Failed(f"no right answer under load: {warm.why or tally.why}")
    figures = {
        "cpu_us_per_request": (after.cpu_s - before.cpu_s) / tally.requests * 1e6,
        "requests_per_s": tally.requests / tally.seconds,
        "p50_ms": tally.p50_ms,
        "p99_ms": tally.p99_ms,
        "rss_mb": after.peak_rss_mb,
    }
    if run.case.streams:
        figures |= {"first_p50_ms": tally.first_p50_ms, "first_p99_ms": tally.first_p99_ms}
    if also is not Usage:
        figures["picker_us_per_request"] = (one_after.cpu_s - one_before.cpu_s) / tally.requests * 1e6
        figures["picker_rss_mb"] = one_after.peak_rss_mb
    return _Found(figures, warm.wrong + tally.wrong, warm.why or tally.why)


def _beside(run: _Run) -> _Found:
    """The same, and what of it a picker beside the proxy takes: nothing where there is none."""
    path = run.directory.parent / "pids.json"
    picker = json.loads(path.read_text())["picker"] if path.exists() else None
    return _requests(run, lambda: Usage() if picker is None else usage(picker))


def _warm_up(run: _Run) -> Tally:
    return drive(run.case, run.target, min(run.warm_s, run.seconds), run.directory, run.tool)


def _streams(run: _Run) -> _Found:
    """The same, per chunk; then again with half of the streams, for the time that a chunk takes when there is room."""
    full = _requests(run)
    half = drive(
        replace(run.case, connections=run.case.connections // 2), run.target, run.seconds, run.directory, run.tool
    )
    more = {
        "cpu_us_per_chunk": full.figures["cpu_us_per_request"] / run.case.events,
        "half_load_p50_ms": half.p50_ms,
        "half_load_p99_ms": half.p99_ms,
    }
    return _Found({**full.figures, **more}, full.errors + half.wrong, full.why or half.why)


def _idle(run: _Run) -> _Found:
    with crowd(run.case, run.target, run.directory) as clients:
        time.sleep(_SETTLE_S)
        before, since = run.used(), time.perf_counter()
        time.sleep(run.seconds)
        after, passed = run.used(), time.perf_counter() - since
        left = clients.leave()
    gone = run.case.connections - left.stayed
    figures = {
        "cpu_percent": (after.cpu_s - before.cpu_s) / passed * 100,
        "rss_mb": after.peak_rss_mb,
        "connections": left.stayed,
    }
    return _Found(figures, left.wrong + gone, left.why or "connections closed by the system")


def _scrape(run: _Run) -> _Found:
    _warm_up(run)
    before, pages, since = run.used(), run.backend.pages(), time.perf_counter()
    tally = drive(run.case, run.target, run.seconds, run.directory, run.tool)
    after, pages, passed = run.used(), run.backend.pages() - pages, time.perf_counter() - since
    figures = {
        "cores": (after.cpu_s - before.cpu_s) / passed,
        "pages_per_s": pages / passed,
        "cpu_us_per_page": (after.cpu_s - before.cpu_s) / max(1, pages) * 1e6,
        "rss_mb": after.peak_rss_mb,
    }
    return _Found(figures, tally.wrong, tally.why)


def _burst(run: _Run) -> _Found:
    """As many streams as the case has connections, or as a proxy may have open files for: two for each stream."""
    case = replace(run.case, connections=min(run.case.connections, (run.files - _FILES_BESIDES) // 2))
    before = run.used()
    with crowd(case, run.target, run.directory) as clients:
        tally = clients.came
        after = run.used()
    if not tally.at_once:
        raise Failed(f"no stream began: {tally.why}")
    figures = {
        "streams": case.connections,
        "descriptor_limit": run.files,
        "at_once": tally.at_once,
        "kb_per_stream": max(0.0, after.peak_rss_mb - before.rss_mb) * 1024 / tally.at_once,
        "cpu_us_per_chunk": (after.cpu_s - before.cpu_s) / max(1, tally.requests) / case.events * 1e6,
        "p50_ms": tally.p50_ms,
        "p99_ms": tally.p99_ms,
        "rss_mb": after.peak_rss_mb,
    }
    return _Found(figures, tally.wrong, tally.why)


MEASURES: dict[str, Callable[[_Run], _Found]] = {
    "requests": _requests,
    "streams": _streams,
    "idle": _idle,
    "scrape": _scrape,
    "burst": _burst,
    "beside": _beside,
    "first": _beside,
}


def _wait_until_ready(process: subprocess.Popen[bytes], target: Target, log: Path) -> None:
    end = time.monotonic() + _READY_S
    while wrong := _what_is_wrong(target):
        if process.poll() is not None:
            raise Failed(f"did not start, status {process.returncode}: {tail(log)}")
        if time.monotonic() > end:
            raise Failed(f"no right answer within {_READY_S:g} s: {wrong}; {tail(log)}")
        time.sleep(0.05)


def _what_is_wrong(target: Target) -> str:
    """Ask a short chat once; "" when the answer is right."""
    host, port = target.host_and_port
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", PROBE, {**HEADERS, **target.headers})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    if answer.status == 200 and CHECKS[target.check](CHAT)(body):
        return ""
    return f"status {answer.status}: {body[:300]!r}"
