"""`headgate bench find-capacity`: the highest rate that keeps the SLOs, and the fewest endpoints, for each policy."""

import argparse
import json
import sys
from random import Random

from msgspec import to_builtins

from headgate.cli.drawn import plotter
from headgate.cli.rehearse import described
from headgate.cli.staged import Unusable, hourly, policies, server, workloads
from headgate.cli.tables import aligned
from headgate.trial.capacity import Capacity, Goal, fewest, highest, meets
from headgate.trial.plot import Sizes
from headgate.trial.policies import Make
from headgate.trial.workload import Workload

_MOST = 4096  # endpoints


def find_capacity(arguments: argparse.Namespace) -> int:
    chosen = policies(arguments)
    if not arguments.workloads and not arguments.trace:
        raise Unusable("find-capacity rehearses again and again: say of which workloads, or of a --trace")
    told: dict[str, object] = {}
    plot, sizes = plotter(arguments.plot), []
    for name, workload in workloads(arguments).items():
        found = [_of(name, policy, make, workload, arguments) for policy, make in chosen.items()]
        told[name] = {
            "workload": described(workload) | {"share": arguments.share},
            "policies": to_builtins(found),
        }
        sizes.append(Sizes(name, _headline(workload, arguments), found))
        if arguments.output == "table":
            print(_table(name, workload, found, arguments), flush=True)
    if plot is not None:
        plot(sizes)
    if arguments.output == "json":
        print(json.dumps(told, indent=2))
    return 0


def _of(name: str, policy: str, make: Make, workload: Workload, arguments: argparse.Namespace) -> Capacity:
    goal = Goal(workload.ttft_s, workload.tpot_s, arguments.share)
    price, config = hourly(arguments, workload), server(workload.card)

    def does(rate: float, endpoints: int) -> bool:
        _say(f"{name}, {policy}: {rate:.4g} a second, {endpoints} endpoints")
        asked = workload.at_rate(rate)
        # The same chance for each rate: what differs is only how soon one follows the other.
        requests = asked.make(asked.stages, Random(arguments.seed).random)
        if not requests:
            raise Unusable(f"{name}: no request comes in that time: give more --seconds, or a higher --rate")
        prefill = workload.prefilling(endpoints)
        return meets(requests, make, config, endpoints, Random(arguments.seed + 1).random, goal, prefill)

    rate = endpoints = None
    if arguments.rate is None or arguments.endpoints is not None:
        rate = highest(lambda rate: does(rate, workload.endpoints), workload.rate)
    if arguments.endpoints is None:
        endpoints = fewest(lambda count: does(workload.rate, count), workload.endpoints, _MOST)
    _say("")
    return Capacity(
        policy,
        rate,
        endpoints,
        _cost(workload, price, rate, workload.endpoints, arguments.seed),
        _cost(workload, price, workload.rate, endpoints, arguments.seed),
    )


def _cost(
    workload: Workload, price: float | None, rate: float | None, endpoints: int | None, seed: int
) -> float | None:
    """Of a million tokens of answers, while requests come at that rate."""
    if price is None or rate is None or endpoints is None:
        return None
    asked = workload.at_rate(rate)
    made = sum(one.output for one in asked.make(asked.stages, Random(seed).random))
    return price * endpoints * asked.seconds / 3600 / made * 1e6


def _say(text: str) -> None:
    """Over the line before it, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _headline(workload: Workload, arguments: argparse.Namespace) -> str:
    return (
        f"{arguments.share:.4g} of the requests within {workload.ttft_s:g} s to the first token and "
        f"{workload.tpot_s * 1000:g} ms for each further one, {workload.card}"
    )


def _table(name: str, workload: Workload, found: list[Capacity], arguments: argparse.Namespace) -> str:
    head = f"{name}: {_headline(workload, arguments)}"
    columns: list[list[str]] = [["policy", *(one.policy for one in found)]]
    if any(one.rate is not None for one in found) or arguments.endpoints is not None:
        columns.append([f"requests/s by {workload.endpoints}", *(_shown(one.rate, ".1f") for one in found)])
        if arguments.price:
            columns.append(["per M tokens", *(_shown(one.rate_cost, ".2f") for one in found)])
    if arguments.endpoints is None:
        columns.append([f"endpoints for {workload.rate:.4g}/s", *(_shown(one.endpoints, "d") for one in found)])
        if arguments.price:
            columns.append(["per M tokens", *(_shown(one.endpoints_cost, ".2f") for one in found)])
    return "\n".join([head, *(f"  {line}" for line in aligned(list(zip(*columns, strict=True)))), ""])


def _shown(value: float | None, how: str) -> str:
    return "none" if value is None else format(value, how)
