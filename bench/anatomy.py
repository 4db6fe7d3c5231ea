"""What a short chat costs inside of the process, and what each feature adds to it.

    python -m bench.anatomy [--rounds N] [--calls]

The data plane of `headgate gateway` as `make bench` measures it, in this process, between transports that only take
what is written: no sockets, no kernel, and caches that stay warm. So the figures are what Python costs, less than it
costs in place, and differences show that would drown in the noise of a loaded machine. The best of many short rounds
counts: noise only adds. With `--calls` also the functions that cost most, by cProfile, which makes small ones look
larger than they are.
"""

import argparse
import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop
from msgspec import Struct
from msgspec.structs import replace

from bench.backend import Backend, backend
from bench.canned import CHAT
from bench.cases import CASES
from bench.processes import free_port
from bench.subject import objects
from headgate.api.load import load
from headgate.api.texts import Text
from headgate.fleet.endpoint import Server
from headgate.pick.profile import DEFAULT, Profile
from headgate.plan.translate import translate
from headgate.proxy.downstream import Listening
from headgate.proxy.upstream import Upstream
from headgate.runtime.accesslog import AccessLog
from headgate.runtime.front import Front
from headgate.runtime.gateway import Gateway, Options

_CLIENTS = 32
_TOGETHER = 8  # requests that one turn of the loop finds
_BATCHES = 50  # in a round
_WARM = 10  # more before it, in which the variation finds its way into the caches
_PATIENCE_S = 10.0
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: %d\r\n"
    b"content-type: application/json\r\n\r\n%b" % (len(CHAT), CHAT)
)


class Variation(Struct, frozen=True):
    """What is other than in `make bench`."""

    name: str
    keys: bool = True
    log: bool = True
    scorers: tuple[str, ...] = tuple(name for name, _ in DEFAULT.scorers)
    model: bool = True  # there is an InferenceModel
    endpoints: int = 4


_ALL = Variation("everything on")
VARIATIONS = (
    _ALL,
    Variation("without API keys", keys=False),
    Variation("without the access log", log=False),
    Variation("without the InferenceModel", model=False),
    *(
        Variation(f"without {name}", scorers=tuple(other for other in _ALL.scorers if other != name))
        for name in _ALL.scorers
    ),
    Variation("without any scorer", scorers=()),
    Variation("100 endpoints", endpoints=100),
)


class Sink:
    """A transport that keeps what it was told last."""

    def __init__(self, owner: Upstream | None, asked: list[Upstream]) -> None:
        self._owner, self._asked = owner, asked
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data = data
        if self._owner is not None:
            self._asked.append(self._owner)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 40_000) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Bench:
    """One variation: `round` gives the CPU µs of a request."""

    def __init__(self, front: Front, listening: Listening, requests: list[bytes]) -> None:
        self._front = front
        self._requests = requests
        self._asked: list[Upstream] = []
        self._clients = [listening.accept() for _ in range(_CLIENTS)]
        for client in self._clients:
            client.connection_made(cast(Any, Sink(None, self._asked)))
        upstreams = front.plane.upstreams
        upstreams.sweep(time.monotonic())  # it reads the clock for those that are kept from now on
        for view in listening.site.pools.values():
            for endpoint in view.standing.endpoints:
                for _ in range(_CLIENTS):
                    upstream = Upstream(upstreams, (endpoint.address, endpoint.port, endpoint.tls))
                    upstream.connection_made(cast(Any, Sink(upstream, self._asked)))
                    upstreams.keep(upstream)
        self._turn = 0
        self._batch()
        said = cast(Sink, self._clients[0].transport).data
        if not said.startswith(b"HTTP/1.1 200 ") or not said.endswith(CHAT):
            raise SystemExit(f"anatomy: a wrong answer: {said[:200]!r}")

    def _batch(self) -> None:
        outbox, turn = self._front.plane.outbox, self._turn
        for place in range(turn, turn + _TOGETHER):
            self._clients[place % _CLIENTS].data_received(self._requests[place % len(self._requests)])
        self._turn = turn + _TOGETHER
        outbox.flush()
        asked = self._asked[:]
        self._asked.clear()
        for upstream in asked:
            upstream.data_received(_ANSWER)
        outbox.flush()

    def round(self) -> float:
        for _ in range(_WARM):
            self._batch()
        self._front.settle()
        began = time.process_time()
        for _ in range(_BATCHES):
            self._batch()
        self._front.settle()
        return (time.process_time() - began) / _BATCHES / _TOGETHER * 1e6


async def _prepare(variation: Variation, canned: Backend, directory: Path) -> tuple[Gateway, AccessLog | None, Bench]:
    port = free_port()
    written = objects(canned, port)
    if not variation.keys:
        del written[0]["metadata"]["annotations"]
    if not variation.model:
        written = [one for one in written if one["kind"] != "InferenceModel"]
    text = b"\n---\n".join(map(msgspec.yaml.encode, written)).decode()
    snapshot, problems = load([Text("bench.yaml", text)])
    if problems:
        raise SystemExit(f"anatomy: {problems}")
    plan, _ = translate(snapshot)
    log = AccessLog(str(directory / f"{port}.log"), print) if variation.log else None
    gateway = Gateway(Options(slow_start_s=0.0), print, log)
    await gateway.start()
    await gateway.apply(plan)
    labels = {"app": "canned-vllm"}
    gateway.servers(
        [
            Server("default", f"canned-{at}", address, labels, port=canned.port, ready=True)
            for at, address in enumerate(canned.addresses)
        ]
    )
    (pool,) = plan.pools
    ends = time.monotonic() + _PATIENCE_S
    views = gateway.fleet.views
    while not (views[pool].listed and all(load.models for load in views[pool].standing.loads)):
        if time.monotonic() > ends:
            raise SystemExit("anatomy: the canned endpoints did not report")
        await asyncio.sleep(0.02)
    views[pool].profile = Profile("bench", tuple(pair for pair in DEFAULT.scorers if pair[0] in variation.scorers))
    site = gateway.site(plan.listeners[0])
    assert site is not None
    front = cast(Front, gateway.serving)
    case = CASES["chat-short"]()
    return gateway, log, Bench(front, Listening(front.plane, site), case.requests(f"127.0.0.1:{port}"))


async def _measure(rounds: int, calls: bool, directory: Path) -> None:
    case = CASES["chat-short"]()
    running: list[tuple[Variation, Gateway, AccessLog | None, Bench]] = []
    with backend(replace(case, endpoints=100), directory) as many:
        few = replace(many, addresses=many.addresses[:4])
        for variation in VARIATIONS:
            canned = few if variation.endpoints == 4 else many
            running.append((variation, *await _prepare(variation, canned, directory)))
        best = dict.fromkeys(VARIATIONS, float("inf"))
        for number in range(rounds):
            for variation, _, _, bench in running:
                best[variation] = min(best[variation], bench.round())
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {rounds} rounds", end="", file=sys.stderr, flush=True)
        print("| a short chat, without sockets | CPU µs | against everything on |\n| --- | --- | --- |")
        for variation in VARIATIONS:
            print(f"| {variation.name} | {best[variation]:.1f} | {best[variation] - best[_ALL]:+.1f} |")
        if calls:
            _show_calls(running[0][3])
        for _, gateway, log, _ in running:
            await gateway.stop(0.0)
            if log is not None:
                log.close()


def _show_calls(bench: Bench) -> None:
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(10):
        bench.round()
    profile.disable()
    requests = 10 * (_WARM + _BATCHES) * _TOGETHER
    stats = cast(dict[tuple[str, int, str], tuple[int, int, float, float, object]], pstats.Stats(profile).stats)  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    print(f"\n{sum(count for _, count, *_ in stats.values()) / requests:.0f} calls a request\n")
    print("| function | calls a request | share of the time | with what it calls |\n| --- | --- | --- | --- |")
    ours = [(row[3], key, row) for key, row in stats.items() if "/headgate/" in key[0]]
    for _, (file, _, name), (_, count, own, cumulated, _) in sorted(ours, key=lambda one: -one[0])[:40]:
        module = file.rpartition("/headgate/")[2]
        print(f"| {module} {name} | {count / requests:.2f} | {own / total:.1%} | {cumulated / total:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="of 400 requests for each variation (%(default)s)")
    parser.add_argument("--calls", action="store_true", help="show the functions that cost most, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        uvloop.run(_measure(arguments.rounds, arguments.calls, Path(directory)))


if __name__ == "__main__":
    main()
