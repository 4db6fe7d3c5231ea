"""Which of two routes that match the same request wins (Gateway API: HTTPRouteRule.matches, HTTPRouteSpec.hostnames).

The most specific hostname first; then an Exact path, a RegularExpression (the API leaves its place to us), the longest
prefix; then a method, the most headers, the most query parameters; then the oldest object, `namespace/name`, and the
order in the object. Regular expressions among themselves: the longest first.
"""

from datetime import UTC, datetime

from headgate.api.meta import Meta
from headgate.plan.hostnames import generality
from headgate.plan.plan import Route

Age = tuple[bool, float, str]
_KINDS = {"exact": 0, "regex": 1, "prefix": 2}


def age(meta: Meta) -> Age:
    """Sorts the oldest object first, by `namespace/name` where the times are equal or were not given.

    An object without a creationTimestamp is one that is only now being created: it comes after those that have one.
    So does one whose timestamp is no time.
    """
    created = _seconds(meta.created)
    return (created is None, created or 0.0, meta.key)


def _seconds(written: str) -> float | None:
    """RFC 3339 to seconds since 1970; UTC where it names no zone."""
    try:
        time = datetime.fromisoformat(written)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def rank(route: Route, written: Age, ordinal: int) -> tuple[object, ...]:
    """A sort key: the winner's is the least. `ordinal` counts the matches of one object in the order written.

    The hostnames of `route` must be of one class (`hostnames.generality`).
    """
    match = route.match
    return (
        generality(route.hostnames[0]) if route.hostnames else generality(""),
        _KINDS[match.path_kind],
        0 if match.path_kind == "exact" else -len(match.path),
        not match.method,
        -len(match.headers),
        -len(match.query),
        written,
        ordinal,
    )
