"""Session persistence of a rule (Gateway API: SessionPersistence, GEP-1619)."""

from hashlib import blake2s

from headgate.api.gateway import HTTPRoute, SessionPersistence
from headgate.plan.durations import seconds
from headgate.plan.plan import Session


def session(route: HTTPRoute, index: int) -> Session | None:
    """The session of one rule, None where it has none."""
    rule = route.rules[index]
    written = rule.session_persistence
    if written is None:
        return None
    name = f"{route.meta.key}/{rule.name or index}"
    absolute = _limit(written.absolute_timeout)
    header = written.type == "Header"
    called = _name(written) or _generated(name)
    return Session(
        rule=name,
        name=called.lower() if header else called,
        header=header,
        path=written.cookie.path if written.cookie else "/",
        permanent=written.permanent and absolute is not None,
        absolute_s=absolute,
        idle_s=_limit(written.idle_timeout),
    )


def _name(written: SessionPersistence) -> str:
    if written.header is not None:
        return written.header.name
    return (written.cookie.name if written.cookie else None) or written.session_name


def _generated(rule: str) -> str:
    """Rules must not share their sessions, so each has a name of its own, and the same after every restart."""
    return f"session-{blake2s(rule.encode(), digest_size=4).hexdigest()}"


def _limit(written: str) -> float | None:
    """None for what is not written, and for `0s`: as with timeouts, no limit."""
    return (seconds(written) or None) if written else None
