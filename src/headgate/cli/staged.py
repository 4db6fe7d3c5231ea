"""What `headgate bench` is to rehearse: workloads and traces, policies, prices, as the command line says them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from msgspec.structs import replace

from headgate.api import Text, load
from headgate.runtime import cards
from headgate.runtime.policies import Policies
from headgate.sim.engine import Config
from headgate.trial.cards import ACCELERATORS, SERVERS
from headgate.trial.chance import Dice, Stage
from headgate.trial.policies import POLICIES, SPLITTING, Make, by_picking
from headgate.trial.recorded import Broken
from headgate.trial.request import Request
from headgate.trial.trace import Trace, read
from headgate.trial.workload import WORKLOADS, Workload

_TRACE = Workload(lambda stages, dice: [], "h100-llama-3.1-8b", 8, ((1.0, 1.0),), 1.0, 0.05)


class Unusable(Exception):
    """What was asked for can't be rehearsed; the text says why, for people."""


class _Clock:
    """Virtual time, for policies that want to know it."""

    def __init__(self) -> None:
        self._now = 0.0

    def set(self, now: float) -> None:
        self._now = now

    def read(self) -> float:
        return self._now


def policies(arguments: argparse.Namespace) -> dict[str, Make]:
    """Raises Unusable."""
    named = arguments.policies or [name for name in POLICIES if arguments.prefill or name not in SPLITTING]
    for name in named:
        if name in SPLITTING and not arguments.prefill:
            raise Unusable(f"the policy {name}: say with --prefill how many of the endpoints are for prompts alone")
    return {name: _policy(name) for name in named}


def _policy(name: str) -> Make:
    """One of ours, or that of an EndpointPickerConfig in a file."""
    if name in POLICIES:
        return POLICIES[name]
    try:
        text = Path(name).read_text("utf-8")
    except (OSError, ValueError) as error:
        why = f"{getattr(error, 'strerror', None) or error}; or write one of {', '.join(POLICIES)}"
        raise Unusable(f"the policy {name}: {why}") from None
    snapshot, problems = load([Text(name, text)])
    wrong = [str(one) for one in problems if one.severity == "error"]
    if wrong:
        raise Unusable("\n".join(wrong))
    if not snapshot.picker_configs:
        raise Unusable(f"{name} holds no EndpointPickerConfig")
    own, clock = Policies(lambda text: print(f"headgate: {text}", file=sys.stderr)), _Clock()
    snapshot, unfit, _ = own.attached(snapshot)
    if unfit:
        raise Unusable("\n".join(map(str, unfit)))
    return by_picking(snapshot.picker_configs[0].picking, own.functions(clock.read), clock.set)


def server(name: str) -> Config:
    """One of ours, or what a card in a file says. Raises Unusable."""
    if name in SERVERS:
        return SERVERS[name]
    try:
        return cards.read_card(name).config
    except cards.Unusable as error:
        raise Unusable(f"--server: {error}; or write one of {', '.join(SERVERS)}") from None


def workloads(arguments: argparse.Namespace) -> dict[str, Workload]:
    """By name, with all that the command line says of servers, rates and SLOs. Says on standard error what it leaves
    out of a trace. Raises Unusable.
    """
    if arguments.trace:
        if arguments.workloads:
            raise Unusable("give workloads or --trace, not both")
        found = {Path(arguments.trace).name: _trace(arguments)}
    elif arguments.trace_format or arguments.speed != 1:
        raise Unusable("--trace-format and --speed are about a --trace")
    else:
        found = {name: _adjusted(WORKLOADS[name], arguments) for name in arguments.workloads or WORKLOADS}
    return found


def _adjusted(workload: Workload, arguments: argparse.Namespace) -> Workload:
    if arguments.rate is not None:
        workload = workload.at_rate(arguments.rate)
    if arguments.seconds is not None:
        workload = workload.lasting(arguments.seconds)
    return _served(workload, arguments)


def _served(workload: Workload, arguments: argparse.Namespace) -> Workload:
    endpoints, prefill = arguments.endpoints or workload.endpoints, arguments.prefill or 0
    if prefill >= endpoints:
        raise Unusable(f"--prefill {prefill}: of {endpoints} endpoints one at least has to be left for answers")
    return replace(
        workload,
        card=arguments.server or workload.card,
        endpoints=endpoints,
        prefill=prefill,
        ttft_s=arguments.ttft or workload.ttft_s,
        tpot_s=arguments.tpot or workload.tpot_s,
    )


def _trace(arguments: argparse.Namespace) -> Workload:
    path = arguments.trace
    try:
        with open(0 if path == "-" else path, "rb") as file:
            trace = read(file, Random(arguments.seed).random, arguments.rate, arguments.trace_format)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from None
    except Broken as error:
        raise Unusable(f"{path}: {error}") from None
    for note in trace.notes:
        print(f"{path}: left out: {note}", file=sys.stderr)
    trace = _fitting(trace, arguments)
    if not trace.requests:
        raise Unusable(f"{path}: it holds no request that can be played")
    seconds = max(trace.requests[-1].at, 1e-3)
    workload = replace(_TRACE, make=_player(trace), stages=((trace.rate, seconds),), shaped=True)
    speed = arguments.speed
    if arguments.rate is not None and trace.timed:
        if not trace.requests[-1].at:
            raise Unusable(f"{path}: all of it came at once: there is no rate to change")
        speed *= arguments.rate / trace.rate
    if speed != 1:
        workload = replace(workload, stages=((trace.rate * speed, seconds / speed),))
    if arguments.seconds is not None and arguments.seconds < workload.seconds:
        workload = workload.lasting(arguments.seconds)
    return _served(workload, arguments)


def _fitting(trace: Trace, arguments: argparse.Namespace) -> Trace:
    """Without what no server has room for."""
    config = server(arguments.server or _TRACE.card)
    room = config.num_blocks * config.block_size
    fit = [one for one in trace.requests if one.prompt + one.output <= room]
    gone = len(trace.requests) - len(fit)
    if gone:
        print(
            f"{arguments.trace}: left out: {gone:,} of more than {room:,} tokens: no server has room", file=sys.stderr
        )
    return replace(trace, requests=fit)


def _player(trace: Trace) -> Callable[[Sequence[Stage], Dice], list[Request]]:
    """A trace at the rate, and for the seconds, of the stage that it is asked for."""

    def play(stages: Sequence[Stage], dice: Dice) -> list[Request]:
        ((rate, seconds),) = stages
        speed = rate / trace.rate
        return [one for one in trace.at_speed(speed) if one.at <= seconds * (1 + 1e-9)]

    return play


def hourly(arguments: argparse.Namespace, workload: Workload) -> float | None:
    """What an endpoint costs in an hour; None without --price. Raises Unusable for a price list that lacks it."""
    if not arguments.price:
        return None
    if workload.card not in ACCELERATORS:  # a card in a file: an endpoint is what there is to price
        if "" in arguments.price:
            return float(arguments.price[""])
        raise Unusable(f"--price says nothing of what {workload.card} runs on: write a price without a name")
    card, count = ACCELERATORS[workload.card]
    price = arguments.price.get(card, arguments.price.get(""))
    if price is None:
        raise Unusable(f"--price says nothing of {card}, which {workload.card} runs on")
    return float(price) * count
