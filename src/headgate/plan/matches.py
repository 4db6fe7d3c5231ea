"""What a request must look like, in the plan's form (Gateway API: HTTPRouteMatch).

Regular expressions are Python's (`re`), and must match the whole of what they are held against.
"""

import re
from collections.abc import Iterable
from typing import Literal

from headgate.api.gateway import FieldMatch, PathMatch, RouteMatch
from headgate.plan.plan import Match, TextMatch

_PATH_KINDS: dict[str, Literal["exact", "prefix", "regex"]] = {
    "Exact": "exact",
    "PathPrefix": "prefix",
    "RegularExpression": "regex",
}


def match(written: RouteMatch) -> Match:
    return Match(
        path=_path(written.path),
        path_kind=_PATH_KINDS[written.path.type],
        method=written.method or "",
        headers=_texts((field.name.lower(), field) for field in written.headers),
        query=_texts((field.name, field) for field in written.query_params),
    )


def _path(path: PathMatch) -> str:
    """A prefix is compared by path elements: its trailing slash means nothing and is left out."""
    if path.type != "PathPrefix":
        return path.value
    return path.value.rstrip("/") or "/"


def _texts(fields: Iterable[tuple[str, FieldMatch]]) -> tuple[TextMatch, ...]:
    """Of entries with equivalent names only the first counts (Gateway API: HTTPHeaderMatch.name)."""
    first: dict[str, TextMatch] = {}
    for name, field in fields:
        first.setdefault(name, TextMatch(name, field.value, "exact" if field.type == "Exact" else "regex"))
    return tuple(first.values())


def bad_patterns(written: RouteMatch, place: str) -> list[str]:
    """What to say of the regular expressions that are none."""
    patterns = [("path.value", written.path.value)] if written.path.type == "RegularExpression" else []
    for name, fields in (("headers", written.headers), ("queryParams", written.query_params)):
        patterns += [(f"{name}[{i}].value", f.value) for i, f in enumerate(fields) if f.type == "RegularExpression"]
    return [f"{place}.{field}: {error}" for field, pattern in patterns if (error := _error(pattern))]


def _error(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"{pattern!r} is no regular expression of Python's: {error}"
    return ""
