"""`headgate bench`: rehearse workloads with policies on virtual time, and show what came of it."""

import argparse
import json
from collections.abc import Sequence
from random import Random

from msgspec import to_builtins

from headgate.cli.drawn import plotter
from headgate.cli.staged import Unusable, hourly, policies, server, workloads
from headgate.cli.tables import aligned
from headgate.runtime.progress import progress
from headgate.trial import Stuck, run
from headgate.trial.outcome import Sample
from headgate.trial.plot import Band
from headgate.trial.policies import Make
from headgate.trial.report import Report, report
from headgate.trial.request import Request
from headgate.trial.workload import Workload


def rehearse(arguments: argparse.Namespace) -> int:
    chosen = policies(arguments)
    plot = plotter(arguments.plot)
    found: dict[str, dict[str, object]] = {}
    bands = []
    for name, workload in workloads(arguments).items():
        price = hourly(arguments, workload)
        requests = workload.make(workload.stages, Random(arguments.seed).random)
        if not requests:
            raise Unusable(f"{name}: no request comes in that time: give more --seconds, or a higher --rate")
        reports = [
            _one(name, policy, make, workload, requests, arguments.seed, price) for policy, make in chosen.items()
        ]
        found[name] = {"workload": described(workload), "policies": to_builtins(reports)}
        bands.append(Band(name, headline(workload, len(requests)), reports))
        if arguments.output == "table":
            print(_table(bands[-1]), flush=True)
    if plot is not None:
        plot(bands)
    if arguments.output == "json":
        print(json.dumps(found, indent=2))
    return 0


def _one(
    name: str,
    policy: str,
    make: Make,
    workload: Workload,
    requests: Sequence[Request],
    seed: int,
    price: float | None,
) -> Report:
    # Dice of their own: the requests are the same for all policies.
    dice, show = Random(seed + 1).random, progress(f"{name}, {policy}", len(requests), "requests")
    samples: list[Sample] = []
    try:
        outcomes = run(
            requests,
            make(),
            server(workload.card),
            workload.endpoints,
            dice,
            show,
            samples.append,
            queueing=make.queueing,
            prefill=workload.prefill,
        )
    except Stuck as error:
        raise Unusable(
            f"{policy}: {error} (simulated servers have no labels, but for llm-d.ai/role with --prefill)"
        ) from None
    return report(policy, outcomes, workload.endpoints, workload.ttft_s, workload.tpot_s, samples, price)


def described(workload: Workload) -> dict[str, object]:
    roles = {"prefill": workload.prefill} if workload.prefill else {}
    return {
        "server": workload.card,
        "endpoints": workload.endpoints,
        **roles,
        "stages": [{"requests_per_s": rate, "seconds": seconds} for rate, seconds in workload.stages],
        "ttft_slo_s": workload.ttft_s,
        "tpot_slo_s": workload.tpot_s,
    }


def rates(workload: Workload) -> str:
    """In words: those of its stages, or the span of many."""
    told = [rate for rate, _ in workload.stages]
    if len(told) > 6:
        return f"{min(told):.3g} to {max(told):.3g}, in the mean {workload.rate:.3g}"
    return " → ".join(f"{rate:.4g}" for rate in told)


def headline(workload: Workload, requests: int) -> str:
    roles = f" ({workload.prefill} for prefill)" if workload.prefill else ""
    return (
        f"{requests:,} requests, {rates(workload)} a second, {workload.endpoints} × {workload.card}{roles}; "
        f"SLO {workload.ttft_s:g} s to the first token, {workload.tpot_s * 1000:g} ms for each further one"
    )


def _table(band: Band) -> str:
    head, reports = f"{band.name}: {band.about}", band.reports
    priced = any(one.cost is not None for one in reports)
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
    if any(one.pulled for one in reports):
        rows = [
            (*rows[0], "longest ITL p50", "p99 ms", "pulled"),
            *(
                (
                    *row,
                    *(f"{value * 1000:.0f}" for value in (one.longest_itl.p50, one.longest_itl.p99)),
                    f"{one.pulled:.0%}",
                )
                for row, one in zip(rows[1:], reports, strict=True)
            ),
        ]
    if priced:
        rows = [
            (*rows[0], "per M tokens"),
            *((*row, f"{one.cost:.2f}") for row, one in zip(rows[1:], reports, strict=True)),
        ]
    parts = [head, *(f"  {line}" for line in aligned(rows))]
    if any(one.priorities for one in reports):
        parts += ["", *(f"  {line}" for line in aligned(_by_priority(reports)))]
    return "\n".join([*parts, ""])


def _by_priority(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("policy", "priority", "requests", "shed", "TTFT mean", "p50", "p99 s", "in SLO", "fairness")
    ]
    for one in reports:
        for place, some in enumerate(one.priorities):
            rows.append(
                (
                    "" if place else one.policy,
                    str(some.priority),
                    f"{some.requests:,}",
                    f"{some.shed:,}",
                    *(f"{value:.2f}" for value in (some.ttft.mean, some.ttft.p50, some.ttft.p99)),
                    f"{some.kept:.0%}",
                    "" if place else f"{one.fairness:.2f}",
                )
            )
    return rows
