"""What the shadow policies found, as metrics and as rows."""

from collections.abc import Iterable, Mapping

from headgate.exchange.site import PoolView
from headgate.pick.shadow import Tally
from headgate.runtime.exposition import Page

Row = dict[str, object]


def tallies(views: Iterable[PoolView]) -> dict[str, Tally]:
    """By pool, of those that have one."""
    return {view.pool.name: view.shadow.tally for view in views if view.shadow is not None}


def describe(found: Mapping[str, Tally], page: Page) -> None:
    """Nothing where there is no shadow."""
    if not found:
        return
    name = "headgate_shadow_requests_total"
    page.family(name, "counter", "Choices that the shadow policy made too, by whether it chose the same endpoint.")
    for pool, tally in found.items():
        page.sample(name, (("pool", pool), ("choice", "same")), tally.same)
        page.sample(name, (("pool", pool), ("choice", "other")), tally.requests - tally.same)
    name = "headgate_shadow_weighed_requests_total"
    page.family(name, "counter", "Those of them that regret and cost are summed over.")
    for pool, tally in found.items():
        page.sample(name, (("pool", pool),), tally.weighed)
    name = "headgate_shadow_regret_total"
    page.family(name, "counter", "How much worse the endpoints that served are by the shadow policy, summed up.")
    for pool, tally in found.items():
        page.sample(name, (("pool", pool),), round(tally.regret, 6))
    name = "headgate_shadow_cost_total"
    page.family(name, "counter", "How much worse the shadow's choices are by the live policy, summed up.")
    for pool, tally in found.items():
        page.sample(name, (("pool", pool),), round(tally.cost, 6))
    name = "headgate_shadow_reasons_total"
    page.family(name, "counter", "Other choices of the shadow policy, by what told most.")
    for pool, tally in found.items():
        for reason, count in sorted(tally.reasons.items()):
            page.sample(name, (("pool", pool), ("reason", reason)), count)


def rows(found: Mapping[str, Tally]) -> list[Row]:
    """One for each pool; `reason` is the most frequent one, `reasons` how often it was which."""
    return [_row(pool, found[pool]) for pool in sorted(found)]


def _row(pool: str, tally: Tally) -> Row:
    reasons = dict(sorted(tally.reasons.items(), key=lambda one: (-one[1], one[0])))
    return {
        "pool": pool,
        "profile": tally.profile,
        "requests": tally.requests,
        "same_percent": round(100.0 * tally.same / tally.requests, 2) if tally.requests else None,
        "mean_regret": round(tally.regret / tally.weighed, 6) if tally.weighed else None,
        "mean_cost": round(tally.cost / tally.weighed, 6) if tally.weighed else None,
        "reason": next(iter(reasons), ""),
        "reasons": reasons,
    }
