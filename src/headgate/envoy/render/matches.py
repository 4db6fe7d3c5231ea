"""A match of the plan as Envoy's RouteMatch. Envoy's regular expressions are RE2's, which lack some of Python's."""

import re

from headgate.envoy.render.settings import Data
from headgate.exchange.target import read_target
from headgate.plan.plan import Match, TextMatch

MODEL_HEADERS = frozenset({"x-gateway-model-name", "x-gateway-base-model-name"})  # known once the body is read

_ONLY_PYTHON = re.compile(r"\(\?(?:[=!>#(]|<[=!]|P=)|\\[1-9]|\\Z|[*+?}]\+|\(\?[aiLmsux-]*[Lux]")


def speaks_re2(pattern: str) -> bool:
    """Whether the expression means the same to RE2: no look-around, back reference, condition or possessiveness."""
    return _ONLY_PYTHON.search(pattern) is None


def is_exact(match: Match) -> bool:
    """Whether Envoy can decide by itself whether a request matches, before anybody reads its body."""
    texts = (*match.headers, *match.query)
    return (
        all(header.name not in MODEL_HEADERS for header in match.headers)
        and (match.path_kind != "regex" or speaks_re2(match.path))
        and all(text.kind != "regex" or speaks_re2(text.value) for text in texts)
    )


def route_match(match: Match) -> Data:
    """Where Envoy can't tell (`is_exact`), all that may match does."""
    headers = [_header(one) for one in match.headers if one.name not in MODEL_HEADERS and _known(one)]
    if match.method:
        headers.insert(0, {"name": ":method", "string_match": {"exact": match.method}})
    query = [_query(one) for one in match.query if _known(one)]
    found: Data = path_match(match)
    if headers:
        found["headers"] = headers
    if query:
        found["query_parameters"] = query
    return found


def path_match(match: Match) -> Data:
    if match.path_kind == "regex":
        return {"safe_regex": {"regex": match.path}} if speaks_re2(match.path) else {"prefix": "/"}
    path = match.path
    if "%" in path:
        path = read_target(path.encode()).path or path
    if match.path_kind == "exact":
        return {"path": path}
    stem = path.rstrip("/")
    return {"path_separated_prefix": stem} if stem else {"prefix": "/"}


def _known(text: TextMatch) -> bool:
    return text.kind == "exact" or speaks_re2(text.value)


def _text(text: TextMatch) -> Data:
    return {"safe_regex": {"regex": text.value}} if text.kind == "regex" else {"exact": text.value}


def _header(text: TextMatch) -> Data:
    return {"name": text.name, "string_match": _text(text)}


def _query(text: TextMatch) -> Data:
    return {"name": text.name, "string_match": _text(text)}
