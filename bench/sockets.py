"""Pickers side by side over real sockets: the same requests through each of them, to the same simulated servers.

    python -m bench.sockets [--scenes a,b] [--systems x,y] [--seconds 40] [--rounds 1]

Every system gets servers of its own, with cold caches. Writes docs/scheduling-sockets.md after a whole run, and always
bench/results/sockets.json.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

import msgspec

from bench.backend import Backend
from bench.cases import CASES, KEY
from bench.client import Heard, play
from bench.install import install
from bench.launch import Launch, Place
from bench.page import MODEL as BASE
from bench.processes import ROOT, Failed, free_port, running, tail
from bench.report import machine
from bench.scenes import SCENES, Ask, Scene
from bench.systems import SYSTEMS

PICKERS = ("headgate", "smg", "vllm-router", "sglang-router", "envoy")
_READY_S = 60.0
_DOC = ROOT / "docs" / "scheduling-sockets.md"
_AUTHORISED = {"authorization": f"Bearer {KEY}"}


class Result(msgspec.Struct, frozen=True):
    """Of one system in one scene: seconds, tokens a second, shares. A wrong answer is outside of every SLO."""

    system: str
    requests: int
    errors: int
    why: str
    ttft_mean: float
    ttft_p50: float
    ttft_p99: float
    tpot_mean: float
    tokens_per_s: float
    cached: float
    in_slo: float


def result(system: str, scene: Scene, heard: Sequence[Heard], cached: float) -> Result:
    good = [one for one in heard if not one.error]
    wrong = [one for one in heard if one.error]
    first = sorted(one.ttft for one in good) or [float("inf")]
    kept = sum(one.ttft <= scene.ttft_s and one.tpot <= scene.tpot_s for one in good)
    return Result(
        system,
        len(heard),
        len(wrong),
        wrong[0].error if wrong else "",
        fmean(first),
        median(first),
        first[min(len(first) - 1, int(len(first) * 0.99))],
        fmean([one.tpot for one in good] or [float("inf")]),
        sum(one.tokens for one in good) / max(one.ended for one in heard),
        cached,
        kept / len(heard),
    )


@contextlib.contextmanager
def servers(scene: Scene, directory: Path) -> Iterator[Backend]:
    """The simulated servers of a scene while they run, on one port of several loopback addresses."""
    port = free_port()
    addresses = tuple(f"127.0.0.{place + 1}" for place in range(scene.servers))
    with contextlib.ExitStack() as stack:
        for address in addresses:
            argv = (sys.executable, "-m", "headgate", "sim", "--model", BASE, "--host", address, "--port", str(port))
            stack.enter_context(running((*argv, *scene.flags), directory / f"sim-{address}.log"))
        for address in addresses:
            _wait(f"{address}:{port}", {}, directory / f"sim-{address}.log")
        yield Backend(addresses, port, "headgate sim")


def _wait(place: str, headers: Mapping[str, str], log: Path) -> None:
    """Until it answers a request. Raises Failed."""
    until = time.monotonic() + _READY_S
    why = ""
    while time.monotonic() < until:
        heard = asyncio.run(play(place, [(0.0, _body(Ask(0.0, BASE, "", "Hello. ", 1)))], headers))[0]
        if not heard.error:
            return
        why = heard.error
        time.sleep(0.2)
    raise Failed(f"no answer within {_READY_S:g} s ({why}):\n{tail(log)}")


def _body(ask: Ask) -> bytes:
    messages = [{"role": "system", "content": ask.system}] if ask.system else []
    messages.append({"role": "user", "content": ask.question})
    more = {"max_tokens": ask.output, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    return json.dumps({"model": ask.model, "messages": messages, **more}).encode()


def _launch(system: str, scene: Scene, place: Place) -> Launch:
    launch = SYSTEMS[system].launch(place)
    if system == "smg":  # it answers 404 for names that no server calls its base model
        aliases = [part for name in scene.adapters for part in ("--model-alias", f"{name}={BASE}")]
        launch = msgspec.structs.replace(launch, argv=(*launch.argv, *aliases))
    return launch


def measure(name: str, scene: Scene, system: str, asks: Sequence[Ask], directory: Path, home: Path) -> Result:
    """Start servers and `system`, ask, stop them. Raises Failed."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with servers(scene, directory) as backend:
        place = Place(CASES["chat-short"](), backend, free_port(), directory, home)
        launch, log, front = _launch(system, scene, place), directory / "log", f"127.0.0.1:{place.port}"
        headers = {**_AUTHORISED, **launch.headers}
        with running(launch.argv, log, launch.env):
            _wait(front, headers, log)
            heard = _drive(front, asks, headers, directory)
        return result(system, scene, heard, _cached(backend))


def _cached(backend: Backend) -> float:
    """The share of prompt tokens that the servers had computed before."""
    pages = [urllib.request.urlopen(f"http://{one}/metrics", timeout=10).read() for one in backend.endpoints]
    asked, hit = (
        sum(
            float(match[1])
            for page in pages
            for match in re.finditer(rb"^%b\{[^\n]* (\S+)$" % name, page, re.MULTILINE)
        )
        for name in (b"vllm:prefix_cache_queries_total", b"vllm:prefix_cache_hits_total")
    )
    return hit / asked if asked else 0.0


def _drive(place: str, asks: Sequence[Ask], headers: Mapping[str, str], directory: Path) -> list[Heard]:
    """In a process of its own: what it takes to ask shall not hold up this one, nor the other way round."""
    path = directory / "asks.json"
    path.write_text(json.dumps([{"at": ask.at, "body": json.loads(_body(ask))} for ask in asks]))
    argv = (sys.executable, "-m", "bench.client", place, str(path), json.dumps(headers))
    done = subprocess.run(argv, check=False, capture_output=True, cwd=ROOT, timeout=asks[-1].at + 300)
    if done.returncode:
        raise Failed(f"the client failed:\n{done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=list[Heard])


def middle(rounds: Sequence[Result]) -> Result:
    """The round in the middle, by the time to the first token at the 99th percentile; the worst in errors."""
    ordered = sorted(rounds, key=lambda one: one.ttft_p99)
    worst = max(rounds, key=lambda one: one.errors)
    return msgspec.structs.replace(ordered[len(ordered) // 2], errors=worst.errors, why=worst.why)


def table(name: str, scene: Scene, results: Sequence[Result]) -> str:
    lines = [
        f"### {name}",
        "",
        f"{scene.what}; {scene.servers} servers; SLO {scene.ttft_s:g} s to the first token, "
        f"{scene.tpot_s * 1000:g} ms for each further one.",
        "",
        "| | TTFT mean s | p50 | p99 | TPOT ms | tokens/s | cached | in SLO | wrong answers |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        lines.append(
            f"| {one.system} | {one.ttft_mean:.2f} | {one.ttft_p50:.2f} | {one.ttft_p99:.2f} | "
            f"{one.tpot_mean * 1000:.0f} | {one.tokens_per_s:.0f} | {one.cached:.0%} | {one.in_slo:.0%} | "
            f"{one.errors or ''} |"
        )
    return "\n".join(lines)


def page(found: Mapping[str, Sequence[Result]], told: Mapping[str, Any]) -> str:
    """The document."""
    about = (
        f"Written by `make bench-sockets` on {told['date'][:10]}: {told['machine']['cpu']}, "
        f"{told['machine']['cores']} cores, Python {told['machine']['python']}; load average before: "
        f"{told['machine']['load_average']}; {told['seconds']:g} s a scene, {told['rounds']} rounds, of which the "
        "middle one is shown. Each picker gets `headgate sim` servers of its own, with cold caches, and the same "
        "requests at the same times, as streams over HTTP. The routers run with `--policy cache_aware`, Envoy with "
        "round robin. `cached` is the share of prompt tokens that servers had computed before."
    )
    parts = ["# Scheduling over real sockets", "", about, ""]
    for name, results in found.items():
        parts += [table(name, SCENES[name], results), ""]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.sockets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", default=",".join(SCENES), help="of %(default)s")
    parser.add_argument(
        "--systems", default=",".join(PICKERS), help="of %(default)s, or any other that make bench knows"
    )
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / "bench" / "work")
    options = parser.parse_args()
    scenes, systems = options.scenes.split(","), options.systems.split(",")
    unknown = [name for name in scenes if name not in SCENES] + [name for name in systems if name not in SYSTEMS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: scenes are {', '.join(SCENES)}; systems are {', '.join(SYSTEMS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that every process is stopped
    told = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "seed": options.seed,
    }
    try:
        homes = {peer: install(peer, options.work / "peers") for name in systems if (peer := SYSTEMS[name].peer)}
        found = _run(options, scenes, systems, homes)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    path = ROOT / "bench" / "results" / "sockets.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode({**told, "scenes": found})) + b"\n")
    text = page(found, told)
    print(text)
    if set(scenes) == set(SCENES) and set(systems) >= set(PICKERS):
        _DOC.write_text(text)
    return 1 if any(one.errors for results in found.values() for one in results) else 0


def _run(
    options: argparse.Namespace, scenes: Sequence[str], systems: Sequence[str], homes: Mapping[str, Path]
) -> dict[str, list[Result]]:
    """Interleaved, so that an hour of the machine that is slow is not one system's alone."""
    found: dict[tuple[str, str], list[Result]] = {(name, system): [] for name in scenes for system in systems}
    for number in range(options.rounds):
        for name in scenes:
            scene = SCENES[name]
            asks = scene.make(options.seconds, Random(options.seed + number).random)
            for place in range(len(systems)):
                system = systems[(place + number) % len(systems)]
                print(f"bench: round {number + 1} of {options.rounds}: {name}, {system}", file=sys.stderr)
                directory = options.work / "runs" / f"sockets-{number}-{name}-{system}"
                home = homes.get(SYSTEMS[system].peer, Path())
                found[name, system].append(measure(name, scene, system, asks, directory, home))
    return {name: [middle(found[name, system]) for system in systems] for name in scenes}


if __name__ == "__main__":
    sys.exit(main())
