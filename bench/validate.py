"""The simulator held against a real vLLM: fitted on one workload, it predicts two others.

    python -m bench.validate --engines .venv-engines

Starts vLLM on the CPU with a tiny model (tests/engines/build_model.py), plays three workloads, and reads its metrics
meanwhile. The constants come from the first alone; what the engine then does with the requests of the others, on
virtual time, is compared with what vLLM did. Writes docs/validation.md and docs/validation.png.
"""

import argparse
import asyncio
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

import msgspec
from msgspec.structs import replace

from bench.client import Heard, play
from bench.install import install
from bench.processes import ROOT, Failed, free_port, running, tail
from bench.report import machine
from headgate.sim.engine import Config, Engine
from headgate.sim.fit import Fit, Measured, fit
from headgate.sim.sequence import Work

_READY_S = 240
_LOOK_S = 0.1
_HIDDEN, _LAYERS = 256, 4  # large enough that the engine, and not HTTP, is what takes the time
_SEQS, _BATCHED, _LENGTH, _BLOCKS = 16, 512, 1024, 48
_GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
_COUNTERS = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")


class Asked(msgspec.Struct, frozen=True):
    """`group` names what its first `shared` characters are equal in; -1 for nothing."""

    at: float
    text: str
    output: int
    group: int = -1
    shared: int = 0


class Seen(msgspec.Struct, frozen=True):
    """The gauges at one moment: running, waiting, usage of the KV cache from 0 to 1."""

    at: float
    running: float
    waiting: float
    usage: float


class Played(msgspec.Struct, frozen=True):
    """What came of a workload: requests as they went, gauges over time, the share of prompt tokens that was cached."""

    requests: list[Measured]
    seen: list[Seen]
    hits: float


def steady(dice: Random, seconds: float) -> list[Asked]:
    """What the constants are fitted on: prompts and answers of all lengths, now few at a time and now many."""
    return _poisson(dice, seconds, lambda at: 3.0 if at < seconds / 2 else 7.0, (40, 1800), (5, 60))


def bursts(dice: Random, seconds: float) -> list[Asked]:
    """Nothing for a while, then twenty a second for two seconds: the queue grows and empties."""
    return _poisson(dice, seconds, lambda at: 20.0 if at % 10 < 2 else 1.0, (40, 900), (10, 50))


def shared(dice: Random, seconds: float) -> list[Asked]:
    """Eight long beginnings, each asked for many times: the prefix cache works."""
    starts = [_text(dice, 1500) for _ in range(8)]
    found = []
    for one in _poisson(dice, seconds, lambda at: 6.0, (40, 200), (10, 40)):
        group = dice.randrange(8)
        found.append(replace(one, text=starts[group] + one.text, group=group, shared=1500))
    return found


WORKLOADS = {"steady": steady, "bursts": bursts, "shared": shared}


def _poisson(dice: Random, seconds: float, rate: Any, prompt: tuple[int, int], output: tuple[int, int]) -> list[Asked]:
    found, now = [], 0.0
    while (now := now + dice.expovariate(rate(now))) < seconds:
        found.append(Asked(now, _text(dice, dice.randint(*prompt)), dice.randint(*output)))
    return found


def _text(dice: Random, size: int) -> str:
    words = ("soup", "bread", "spoon", "table", "review", "praise", "blame", "forget", "quick", "lazy", "life")
    text = ""
    while len(text) < size:
        text += dice.choice(words) + " "
    return text[:size]


class Server:
    """The real one, from outside."""

    def __init__(self, port: int) -> None:
        self.place = f"127.0.0.1:{port}"

    def get(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.place}{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def metrics(self) -> dict[str, float]:
        page = self.get("/metrics").decode()
        wanted = "|".join(map(re.escape, (*_GAUGES, *_COUNTERS)))
        return {match[1]: float(match[2]) for match in re.finditer(rf"^({wanted})\{{.*\}} (\S+)$", page, re.MULTILINE)}

    def config(self) -> Config:
        """Its limits, as it tells them."""
        page = self.get("/metrics").decode()
        size, blocks = (
            re.search(rf'vllm:cache_config_info{{.*{name}="(\d+)"', page) for name in ("block_size", "num_gpu_blocks")
        )
        if size is None or blocks is None:
            raise Failed("vLLM does not tell its block size and blocks")
        return Config(int(size[1]), int(blocks[1]), _SEQS, _BATCHED, _LENGTH)


async def _watch(server: Server, began: float, seen: list[Seen]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        found = await asyncio.to_thread(server.metrics)
        seen.append(Seen(loop.time() - began, *(found.get(name, 0.0) for name in _GAUGES)))
        await asyncio.sleep(_LOOK_S)


async def _play(server: Server, asks: Sequence[Asked]) -> tuple[list[Heard], list[Seen]]:
    seen: list[Seen] = []
    bodies = [(one.at, json.dumps(_body(one)).encode()) for one in asks]
    watching = asyncio.ensure_future(_watch(server, asyncio.get_running_loop().time(), seen))
    try:
        return await play(server.place, bodies, {}), seen
    finally:
        watching.cancel()


def _body(one: Asked) -> dict[str, Any]:
    more: dict[str, Any] = {"max_tokens": one.output, "ignore_eos": True, "temperature": 0, "stream": True}
    more["stream_options"] = {"include_usage": True}
    return {"model": "tiny", "messages": [{"role": "user", "content": one.text}], **more}


def real(server: Server, asks: Sequence[Asked]) -> Played:
    """What vLLM does with it. Raises Failed where it did not answer all of it."""
    before = server.metrics()
    heard, seen = asyncio.run(_play(server, asks))
    after = server.metrics()
    wrong = [one.error for one in heard if one.error]
    if wrong:
        raise Failed(f"vLLM: {len(wrong)} wrong answers, the first: {wrong[0]}")
    requests = [
        Measured(ask.at, one.prompt, one.tokens, one.ttft, one.ended - one.at, one.cached)
        for ask, one in zip(asks, heard, strict=True)
    ]
    asked, hit = (after[name] - before[name] for name in _COUNTERS)
    return Played(requests, seen, hit / asked if asked else 0.0)


def simulated(asks: Sequence[Asked], requests: Sequence[Measured], config: Config) -> Played:
    """What the simulator's engine does with it, on virtual time: which tokens are equal is all that it is told."""
    engine = Engine(config)
    found: dict[int, Measured] = {}
    seen: list[Seen] = []
    look, place = 0.0, 0
    while place < len(asks) or engine.next_at is not None:
        arrives = asks[place].at if place < len(asks) else float("inf")
        now = min(arrives, look, engine.next_at or float("inf"))
        if now == look:
            seen.append(Seen(now, engine.running, engine.waiting, engine.blocks.usage))
            look += _LOOK_S
        elif now == arrives:
            one = requests[place]
            engine.add(Work(str(place), one.prompt, one.output, _keys(asks[place], one.prompt, place, config)), now)
            place += 1
        else:
            for output in engine.step(now):
                if (line := output.timeline) is not None:
                    one = requests[int(output.id)]
                    before = config.cost.request - one.at
                    found[int(output.id)] = replace(
                        one, ttft=line.first_token + before, duration=line.ended + before, cached=line.cached_tokens
                    )
    counts = engine.counts
    hits = counts.prefix_hits / counts.prefix_queries if counts.prefix_queries else 0.0
    return Played([found[number] for number in range(len(asks))], seen, hits)


def _keys(one: Asked, prompt: int, place: int, config: Config) -> list[int]:
    """Of its full blocks: equal as far as the group's text goes, which is that share of the prompt's."""
    full = prompt // config.block_size
    common = int(prompt * one.shared / len(one.text)) // config.block_size if one.group >= 0 else 0
    group = (one.group + 1) << 40
    return [group | at + 1 if at < common else (place + 1) << 60 | at + 1 for at in range(full)]


def figures(played: Played) -> dict[str, float]:
    """What is compared."""
    ttft = sorted(one.ttft for one in played.requests)
    itl = [one.tpot for one in played.requests if one.output > 1]
    last = max(one.at + one.duration for one in played.requests)
    while_busy = [one for one in played.seen if one.at <= last] or played.seen
    return {
        "TTFT mean s": fmean(ttft),
        "TTFT p50 s": median(ttft),
        "TTFT p99 s": ttft[min(len(ttft) - 1, int(len(ttft) * 0.99))],
        "ITL mean s": fmean(itl),
        "tokens/s": sum(one.output for one in played.requests) / last,
        "running, mean": fmean(one.running for one in while_busy),
        "waiting, mean": fmean(one.waiting for one in while_busy),
        "KV usage, mean": fmean(one.usage for one in while_busy),
        "prefix hits": played.hits,
    }


def compared(truth: Mapping[str, float], told: Mapping[str, float]) -> dict[str, float | None]:
    """How far off each is, None where there is next to nothing of it."""
    return {name: abs(told[name] / value - 1) if value > 0.005 else None for name, value in truth.items()}


def page(found: Mapping[str, tuple[Played, Played]], fitted: Fit, told: Mapping[str, Any], middle: float) -> str:
    cost = fitted.cost
    parts = [
        "# The simulator beside a real vLLM",
        "",
        f"Written by `python -m bench.validate` on {told['date'][:10]}: {told['machine']['cpu']}, "
        f"{told['machine']['cores']} cores; vLLM 0.32 on the CPU with a random Llama of {_LAYERS} layers, "
        f"`--max-num-seqs {_SEQS} --max-num-batched-tokens {_BATCHED} --num-gpu-blocks-override {_BLOCKS}`; "
        f"{told['seconds']:g} s for each workload.",
        "",
        f"Fitted on `steady` alone ({fitted.requests} streams; TTFT is off by {fitted.ttft_error:.0%} in the median, "
        f"the time per token by {fitted.tpot_error:.0%}): a step takes {cost.base * 1000:.2f} ms, "
        f"{cost.prefill * 1e6:.2f} µs for each prompt token, {cost.sequence * 1e6:.1f} µs for each sequence, "
        f"{cost.kv * 1e9:.2f} ns for each token of KV cache, and a request {cost.request * 1000:.1f} ms outside of the "
        "engine.",
        "",
        f"Of what the two others came to, the simulator's figures are off by **{middle:.0%}** in the median.",
        "",
        "![running, waiting and the KV cache over time](validation.png)",
    ]
    for name, (truth, guess) in found.items():
        a, b = figures(truth), figures(guess)
        off = compared(a, b)
        parts += ["", f"## {name}", "", "| | vLLM | simulated | off by |", "|---|---|---|---|"]
        parts += [
            f"| {what} | {a[what]:.3g} | {b[what]:.3g} | {'–' if off[what] is None else format(off[what], '.0%')} |"
            for what in a
        ]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.validate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", type=Path, default=ROOT / ".venv-engines", help="the environment that has vLLM")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--work", type=Path, default=ROOT / "bench" / "work")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "validation.md")
    options = parser.parse_args()
    directory = options.work / "runs" / "validate"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    told = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds": options.seconds,
    }
    try:
        return _run(options, directory, told)
    except Failed as error:
        print(f"validate: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, directory: Path, told: Mapping[str, Any]) -> int:
    python = options.engines / "bin" / "python"
    if not python.exists():
        raise Failed(f"there is no {python}: `make test-engines` makes it")
    build = [str(python), str(ROOT / "tests" / "engines" / "build_model.py"), str(directory / "models")]
    subprocess.run([*build, str(_HIDDEN), str(_LAYERS)], check=True, capture_output=True)
    port = free_port()
    flags: tuple[str, ...] = (
        "--model",
        str(directory / "models" / "base"),
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
    )
    flags += ("--port", str(port), "--max-model-len", str(_LENGTH), "--max-num-seqs", str(_SEQS))
    flags += ("--max-num-batched-tokens", str(_BATCHED), "--enforce-eager", "--dtype", "float32")
    flags += ("--num-gpu-blocks-override", str(_BLOCKS))
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    env |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "PATH": os.environ["PATH"]}
    argv = (str(python), "-m", "vllm.entrypoints.openai.api_server", *flags, "--enable-prompt-tokens-details")
    played: dict[str, tuple[list[Asked], Played]] = {}
    with running(argv, directory / "vllm.log", env):
        server = Server(port)
        _wait(server, directory / "vllm.log")
        config = server.config()
        real(server, steady(Random(7), 5.0))  # what is compiled and laid out at first is not what is measured
        for name, make in WORKLOADS.items():
            print(f"validate: vLLM, {name}", file=sys.stderr)
            asks = make(Random(1), options.seconds)
            played[name] = asks, real(server, asks)
    print("validate: fitting", file=sys.stderr)
    (directory / "played.json").write_bytes(msgspec.json.encode(played))
    fitted = fit(played["steady"][1].requests, config)
    config = replace(config, cost=fitted.cost)
    found = {name: (truth, simulated(asks, truth.requests, config)) for name, (asks, truth) in played.items()}
    off = [
        value
        for name, (truth, guess) in found.items()
        if name != "steady"
        for value in compared(figures(truth), figures(guess)).values()
        if value is not None
    ]
    text = page(found, fitted, told, median(off))
    options.out.write_text(text)
    _plot(found, options.out.with_suffix(".png"), options.work / "peers", directory)
    print(text)
    return 0


def _wait(server: Server, log: Path) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        try:
            server.get("/health")
            return
        except OSError:
            time.sleep(0.5)
    raise Failed(f"vLLM did not get ready:\n{tail(log, 25)}")


def _plot(found: Mapping[str, tuple[Played, Played]], path: Path, homes: Path, directory: Path) -> None:
    data = directory / "curves.json"
    data.write_bytes(
        msgspec.json.encode({name: {"vLLM": a.seen, "simulated": b.seen} for name, (a, b) in found.items()})
    )
    python = install("matplotlib", homes) / "bin" / "python"
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("curves.py")), str(data), str(path)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"no picture: {done.stderr.decode()[-500:]}")


if __name__ == "__main__":
    sys.exit(main())
