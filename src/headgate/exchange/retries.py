"""What becomes of a request that failed, or that a server refused: once more, elsewhere, later, or not at all."""

from typing import TYPE_CHECKING

from headgate.exchange.events import Command, Forward, Respond, Wait
from headgate.exchange.lesson import let_go
from headgate.exchange.refuse import refuse
from headgate.exchange.state import State
from headgate.plan.plan import Retry

if TYPE_CHECKING:
    from headgate.exchange.exchange import Exchange

AGAIN_S = 0.25  # how soon endpoints that refused are tried again while a request waits


def unfit(of: "Exchange", status: int, now: float) -> Command | None:
    """What to do instead of passing on an answer that says no; None to pass it on."""
    if status == 404 and (again := unlisted(of, now)) is not None:
        return again
    retry = of.job.way.route.retry
    if status not in (of.site.limits.retry_codes if retry is None else retry.codes):
        return None
    of.record.error = f"the model server answered {status}"
    let_go(of.record)
    if retry is not None:
        return try_again(of, retry, now)
    return elsewhere(of, now) if of.job.way.inference and may_repeat(of) and spend(of, now) else None


def unlisted(of: "Exchange", now: float) -> Forward | None:
    """404 may mean that the server has just lost an adapter which others still serve: ask one of those."""
    model = of.job.ask.model
    view = of.site.pools.get(of.record.pool)
    if not model or view is None or model not in view.served or of.record.tries >= of.site.limits.tries:
        return None
    return elsewhere(of, now)


def elsewhere(of: "Exchange", now: float) -> Forward | None:
    """The same request to another endpoint, where there is one that is fit."""
    view = of.site.pools.get(of.record.pool)
    of.excluded |= {of.record.endpoint}
    if view is None:
        return None
    decision = of.pick(view)
    return None if decision.endpoint is None else of.forward(decision, now, view)


def may_repeat(of: "Exchange") -> bool:
    return of.job.repeatable and of.record.tries < of.site.limits.tries


def spend(of: "Exchange", now: float) -> bool:
    """Whether the pool's budget has room for one more retry; if so, it has less now."""
    view = of.site.pools.get(of.record.pool)
    spent = view is None or view.spend(now)
    of.spent += spent
    return spent


def afford(of: "Exchange", now: float) -> Command | None:
    """None where the request may be sent again now: a route that wants retries gets them, others what is left.

    One that has to wait was cut off with many others, and will find room when those are answered.
    """
    if of.job.way.route.retry is not None or spend(of, now):
        return None
    ends = of.job.ends
    if ends is not None and now >= ends:
        return give_up(of, 504, now)
    if now >= of.wait_until:
        return give_up(of, 503, now)
    of.state, of.record.waited = State.WAITING, True
    of.not_before = now + AGAIN_S if ends is None else min(ends, now + AGAIN_S)
    return Wait("", of.not_before)


def try_again(of: "Exchange", retry: Retry, now: float) -> Command | None:
    """The next attempt, now or later; None where there were enough, or there is no time for one."""
    ends, at = of.job.ends, now + (retry.backoff_s or 0.0)
    attempts = of.site.limits.tries - 1 if retry.attempts is None else retry.attempts
    if of.record.tries > attempts or (ends is not None and at >= ends):
        return None
    if at <= now:
        return again(of, now)
    of.state, of.not_before = State.WAITING, at
    return Wait("", at)


def again(of: "Exchange", now: float) -> Command:
    """To another endpoint where there is one that is fit, else to the one that failed."""
    sent = elsewhere(of, now)
    if sent is not None:
        return sent
    of.excluded = frozenset()
    return of.send(now)


def give_up(of: "Exchange", status: int, now: float) -> Respond:
    tries = f", after {of.record.tries} tries" if of.record.tries > 1 else ""
    message = f"The model server could not answer ({of.record.error}){tries}."
    headers = [(b"retry-after", b"1")] if status == 503 else []
    code = "timeout" if status == 504 else "endpoint_failed"
    return of.respond(refuse(status, message, code=code, headers=headers), now)
