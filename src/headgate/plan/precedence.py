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
    """
    if not meta.created:
        return (True, 0.0, meta.key)
    created = datetime.fromisoformat(meta.created)
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return (False, created.timestamp(), meta.key)


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
