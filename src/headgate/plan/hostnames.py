"""Hostnames of listeners and routes: "" is any, `*.x` is every name that ends in `.x` (not `x` itself)."""

from collections.abc import Iterable


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that `narrow` stands for is one that `wide` stands for."""
    if not wide or wide == narrow:
        return True
    return wide.startswith("*.") and narrow.endswith(wide[1:])


def certifies(subject: str, name: str) -> bool:
    """Whether a certificate for `subject` is one for `name`: a wildcard is for one label only (RFC 6125 §6.4.3)."""
    if not subject.startswith("*."):
        return subject == name
    label, dot, rest = name.partition(".")
    return bool(label and dot) and rest == subject[2:]


def intersect(listener: str, route: Iterable[str]) -> tuple[str, ...] | None:
    """The names that both allow: () any, None none at all (Gateway API: HTTPRouteSpec.hostnames).

    Lower case and sorted, whatever the case and order they were written in.
    """
    listener = listener.lower()
    wanted = {name.lower() for name in route}
    if not wanted:
        return (listener,) if listener else ()
    both = {name for name in wanted if covers(listener, name)}
    if any(covers(name, listener) for name in wanted if listener):
        both.add(listener)
    return tuple(sorted(both)) or None


def generality(hostname: str) -> tuple[int, int]:
    """Sorts exact names first, then wildcards by length, the longest first, then any.

    A request has one host, so of the names in one class at most one matches it.
    """
    if not hostname:
        return (2, 0)
    return (1, -len(hostname)) if hostname.startswith("*.") else (0, 0)
