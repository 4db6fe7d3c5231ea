"""`headgate bench`: rehearse workloads with policies on virtual time, and show what came of it."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from time import monotonic

from msgspec import to_builtins
from msgspec.structs import replace

from headgate.api import Text, load
from headgate.trial import Stuck, run
from headgate.trial.cards import SERVERS
from headgate.trial.policies import POLICIES, Make, by_picking
from headgate.trial.report import Report, report
from headgate.trial.workload import WORKLOADS, Request, Workload

_SHOW_EACH_S = 0.2


class Unusable(Exception):
    """What was asked for can't be rehearsed; the text says why, for people."""


def rehearse(arguments: argparse.Namespace) -> int:
    policies = {name: _policy(name) for name in arguments.policies or POLICIES}
    found: dict[str, dict[str, object]] = {}
    for name in arguments.workloads or WORKLOADS:
        workload = _workload(name, arguments)
        requests = workload.make(workload.stages, Random(arguments.seed).random)
        if not requests:
            raise Unusable(f"{name}: no request comes in that time: give more --seconds, or a higher --rate")
        reports = [_one(name, policy, make, workload, requests, arguments.seed) for policy, make in policies.items()]
        found[name] = {"workload": _described(workload), "policies": to_builtins(reports)}
        if arguments.output == "table":
            print(_table(name, workload, requests, reports), flush=True)
    if arguments.output == "json":
        print(json.dumps(found, indent=2))
    return 0


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
    return by_picking(snapshot.picker_configs[0].picking)


def _workload(name: str, arguments: argparse.Namespace) -> Workload:
    workload = WORKLOADS[name]
    stages = workload.stages
    if arguments.rate is not None:
        stages = ((arguments.rate, sum(seconds for _, seconds in stages)),)
    if arguments.seconds is not None:
        share = arguments.seconds / sum(seconds for _, seconds in stages)
        stages = tuple([(rate, seconds * share) for rate, seconds in stages])
    return replace(
        workload,
        stages=stages,
        card=arguments.server or workload.card,
        endpoints=arguments.endpoints or workload.endpoints,
    )


def _one(name: str, policy: str, make: Make, workload: Workload, requests: Sequence[Request], seed: int) -> Report:
    # Dice of their own: the requests are the same for all policies.
    dice, progress = Random(seed + 1).random, _progress(f"{name}, {policy}", len(requests))
    try:
        outcomes = run(requests, make(), SERVERS[workload.card], workload.endpoints, dice, progress)
    except Stuck as error:
        raise Unusable(f"{policy}: {error} (simulated servers have no labels)") from None
    return report(policy, outcomes, workload.endpoints, workload.ttft_s, workload.tpot_s)


def _progress(what: str, of: int) -> Callable[[int], None]:
    """A line that is written over, where somebody looks; else nothing."""
    if not sys.stderr.isatty():
        return lambda done: None
    shown_at = 0.0

    def show(done: int) -> None:
        nonlocal shown_at
        now = monotonic()
        if done == of:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        elif now - shown_at > _SHOW_EACH_S:
            shown_at = now
            print(f"\r\x1b[K{what}: {done:,} of {of:,} requests", end="", file=sys.stderr, flush=True)

    return show


def _described(workload: Workload) -> dict[str, object]:
    return {
        "server": workload.card,
        "endpoints": workload.endpoints,
        "stages": [{"requests_per_s": rate, "seconds": seconds} for rate, seconds in workload.stages],
        "ttft_slo_s": workload.ttft_s,
        "tpot_slo_s": workload.tpot_s,
    }


def _table(name: str, workload: Workload, requests: Sequence[Request], reports: Sequence[Report]) -> str:
    rates = " → ".join(f"{rate:g}" for rate, _ in workload.stages)
    head = (
        f"{name}: {len(requests):,} requests, {rates} a second, {workload.endpoints} × {workload.card}; "
        f"SLO {workload.ttft_s:g} s to the first token, {workload.tpot_s * 1000:g} ms for each further one"
    )
    rows: list[tuple[str, ...]] = [
        ("policy", "TTFT mean", "p50", "p99 s", "TPOT mean", "p99 ms", "tokens/s", "hits", "in SLO", "goodput/s")
    ]
    for one in reports:
        rows.append(
            (
                one.policy,
                *(f"{value:.2f}" for value in (one.ttft.mean, one.ttft.p50, one.ttft.p99)),
                *(f"{value * 1000:.0f}" for value in (one.tpot.mean, one.tpot.p99)),
                f"{one.output_tokens_per_s:,.0f}",
                f"{one.hit_rate:.0%}",
                f"{one.kept:.0%}",
                f"{one.goodput:.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(room) if at else cell.ljust(room)
            for at, (cell, room) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([head, *(f"  {line.rstrip()}" for line in lines), ""])
