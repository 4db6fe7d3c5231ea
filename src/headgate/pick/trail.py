"""`explain`: a Decision → plain values for JSON; `render`: the same as text for people."""

from collections.abc import Sequence
from typing import Any

from headgate.pick.decision import Decision, Term
from headgate.pick.forecast import Forecast
from headgate.pick.skipped import Skipped

_TIMES = ("ttft_ms", "ttft_headroom_ms", "tpot_ms", "tpot_headroom_ms")


def explain(decision: Decision) -> dict[str, Any]:
    """What was considered and why the winner won, in builtins only; with `stages`, what was decided beside it.

    `candidates` are ordered by total, the best first; each has its load as it was known then, our own requests in
    flight there, and for each scorer `score` in [0, 1], `weight` and their product `points`. `chosen` and `runner_up`
    are endpoint names or None. `skipped` says why filters and scorers were not asked; a score is None there.
    """
    told = _explain(decision)
    return {**told, "stages": [_explain(stage) for stage in decision.stages]} if decision.stages else told


def _explain(decision: Decision) -> dict[str, Any]:
    chosen = decision.endpoint.name if decision.endpoint else None
    places, totals, terms = list(range(len(decision.candidates))), decision.totals, decision.terms
    if totals:
        places.sort(key=lambda place: _order(decision, totals[place], place))
    return {
        "pool": decision.basis.pool,
        "profile": decision.basis.profile,
        "chosen": chosen,
        "address": decision.endpoint.hostport if decision.endpoint else None,
        "why": _why(decision),
        "tied": decision.tied,
        "runner_up": decision.fallbacks[0].name if decision.fallbacks else None,
        "fallbacks": [endpoint.name for endpoint in decision.fallbacks],
        "candidates": [_candidate(decision, totals, terms, place) for place in places],
        "removed": {name: list(endpoints) for name, endpoints in decision.removed.items() if endpoints},
        "skipped": skipped(decision, terms),
    }


def skipped(decision: Decision, terms: Sequence[Term]) -> dict[str, str]:
    """The filters and scorers that could not be asked, and why."""
    found: dict[str, Sequence[object]] = {**decision.removed, **{term.scorer: term.scores for term in terms}}
    return {name: value.why for name, value in found.items() if isinstance(value, Skipped)}


def _order(decision: Decision, total: float, place: int) -> tuple[float, bool, str]:
    endpoint = decision.candidates[place]
    return -total, endpoint is not decision.endpoint, endpoint.name


def _candidate(decision: Decision, totals: Sequence[float], terms: Sequence[Term], place: int) -> dict[str, Any]:
    endpoint, load = decision.candidates[place], decision.loads[place]
    return {
        "endpoint": endpoint.name,
        "address": endpoint.hostport,
        "total": totals[place] if totals else None,
        "scores": {
            term.scorer: {
                "score": None if isinstance(term.scores, Skipped) else term.scores[place],
                "weight": term.weight,
                "points": term.weight * term.scores[place],
            }
            for term in terms
        },
        "load": {"waiting": load.waiting, "running": load.running, "kv_usage": load.kv_usage},
        "in_flight": decision.in_flight[place] if decision.in_flight else None,
        **({} if decision.forecast is None else {"predicted": _predicted(decision.forecast, place)}),
        **({} if endpoint.kv_events is None else {"prefix": _prefix(endpoint.kv_events)}),
    }


def _predicted(forecast: Forecast, place: int) -> dict[str, Any]:
    """Milliseconds; TPOT None where nothing is known of it, headrooms where nothing was asked for."""
    return {
        "sure": forecast.sure,
        "ttft_ms": forecast.ttft[place] * 1000.0,
        "tpot_ms": forecast.tpot[place] * 1000.0 if forecast.tpot else None,
        "ttft_headroom_ms": forecast.ttft_room[place] * 1000.0 if forecast.ttft_room else None,
        "tpot_headroom_ms": forecast.tpot_room[place] * 1000.0 if forecast.tpot_room else None,
    }


def _prefix(why: str) -> str:
    """What it is known by."""
    return f"by what was sent: {why}" if why else "by KV events"


def _why(decision: Decision) -> str:
    if decision.why or decision.endpoint is None:
        return decision.why
    best = max(decision.totals)
    if decision.tied > 1:
        return f"{decision.tied} of {len(decision.candidates)} share the best total, {best:.3f}: chance decided"
    runner_up = decision.fallbacks[0]
    behind = decision.totals[decision.candidates.index(runner_up)]
    gaps = _gaps(decision, runner_up.name)
    most = max(gaps, key=lambda name: gaps[name])
    return f"best total, {best:.3f}; next {runner_up.name} with {behind:.3f}, behind most in {most}"


def _gaps(decision: Decision, runner_up: str) -> dict[str, float]:
    """By how many points the winner leads the runner-up in each scorer."""
    names = [endpoint.name for endpoint in decision.candidates]
    assert decision.endpoint is not None
    first, second = names.index(decision.endpoint.name), names.index(runner_up)
    return {term.scorer: term.weight * (term.scores[first] - term.scores[second]) for term in decision.terms}


def render(decision: Decision) -> str:
    """The decision, then a table of the candidates: `*` the chosen one, `=` those that shared its total.

    Then the same of what was decided beside it.
    """
    return "\n".join([_render(one) for one in (decision, *decision.stages)])


def _render(decision: Decision) -> str:
    told = _explain(decision)
    lines = [
        f"pool      {told['pool']} (profile {told['profile']})",
        f"chosen    {told['chosen'] or 'none'}" + (f" at {told['address']}" if told["address"] else ""),
        f"because   {told['why']}",
    ]
    for name, endpoints in told["removed"].items():
        lines.append(f"removed   by {name}: {', '.join(endpoints)}")
    for name, why in told["skipped"].items():
        lines.append(f"skipped   {name}: {why}")
    if decision.forecast is not None and not decision.forecast.sure:
        lines.append("predicted too little is known yet, or the error is too large: what is predicted does not count")
    by: dict[str, list[str]] = {}
    for one in told["candidates"]:
        if "prefix" in one:
            by.setdefault(one["prefix"], []).append(one["endpoint"])
    lines += [f"prefixes  {known}: {', '.join(sorted(names))}" for known, names in sorted(by.items())]
    if told["candidates"]:
        lines += ["", *_table(told, decision)]
    return "\n".join(lines) + "\n"


def _table(told: dict[str, Any], decision: Decision) -> list[str]:
    heads = [f"{term.scorer} ×{term.weight:g}" for term in decision.terms]
    predicted = decision.forecast is not None
    times = ["TTFT ms", "headroom", "TPOT ms", "headroom"] if predicted else []
    rows = [["", "endpoint", "total", *heads, "waiting", "running", "kv", "in flight", *times]]
    best = max(decision.totals, default=None)
    for one in told["candidates"]:
        mark = "*" if one["endpoint"] == told["chosen"] else "=" if one["total"] == best else ""
        scores = [_score(one["scores"][term.scorer]["score"]) for term in decision.terms]
        load = one["load"]
        usage = "-" if load["kv_usage"] is None else f"{load['kv_usage']:.0%}"
        total = "-" if one["total"] is None else f"{one['total']:.3f}"
        numbers = [_number(load["waiting"]), _number(load["running"]), usage, _number(one["in_flight"])]
        if predicted:
            numbers += [_time(one["predicted"][key]) for key in _TIMES]
        rows.append([mark, one["endpoint"], total, *scores, *numbers])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_cell, range(len(row)), row, widths)).rstrip() for row in rows]


def _cell(column: int, text: str, width: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _time(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
