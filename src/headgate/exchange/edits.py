"""Edits on the way: header modifiers, path rewrites, redirects. Source: Gateway API, HTTPRouteFilter."""

from collections.abc import Sequence

from msgspec import Struct

from headgate.exchange.events import Headers
from headgate.plan.hostnames import covers
from headgate.plan.plan import HeaderEdit, Match, Redirect, Rewrite

_PORTS = {"http": 80, "https": 443}


# How long a message is and where it ends is the gateway's business alone.
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})


def edit_headers(headers: Headers, *edits: HeaderEdit | None) -> Headers:
    """Each edit in its turn: remove, set, add. Headers that frame the message stay as they are."""
    for edit in edits:
        if edit is None:
            continue
        gone = {name.lower().encode("latin-1") for name in (*edit.remove, *(name for name, _ in edit.set))}
        headers = [pair for pair in headers if pair[0] not in gone]
        for name, value in (*edit.set, *edit.add):
            key = name.lower().encode("latin-1")
            if key not in _FRAMING:
                headers.append((key, value.encode()))
    return headers


def rewrite_path(target: str, match: Match, full: str | None, prefix: str | None) -> str:
    """The request target with its path replaced; the query stays."""
    path, mark, query = target.partition("?")
    if full is not None:
        path = full
    elif prefix is not None:
        rest = path[len(match.path.rstrip("/")) :]
        path = prefix.rstrip("/") + (rest if rest.startswith("/") or not rest else "/" + rest) or "/"
    return path + mark + query


def rewrite(target: str, host: str, match: Match, *rewrites: Rewrite | None) -> tuple[str, str]:
    """Target and host, each by the first of the rewrites that names it: what the route matched is there only once."""
    for one in rewrites:
        if one is not None and (one.full is not None or one.prefix is not None):
            target = rewrite_path(target, match, one.full, one.prefix)
            break
    return target, next((one.hostname for one in rewrites if one is not None and one.hostname), host)


class ServedAt(Struct, frozen=True):
    """Where a listener is served: requests for its hostname that are meant for `port` come to port `here`."""

    hostname: str
    port: int
    here: int


def location(
    redirect: Redirect, match: Match, *, scheme: str, host: str, target: str, served: Sequence[ServedAt] = ()
) -> str:
    """The Location header of a redirect. `host` is the request's Host header, with its port where it has one.

    The port: the filter's; else the scheme's own where the filter changes the scheme; else that of the request. A
    port that is the scheme's own is left out.

    `served`: the gateway's listeners. Who came by a port that one of them is served at sees those ports, so it is sent
    to such a one; who came by another (or by none, with a mapping before us) knows of those in the manifests only.
    """
    name, colon, own_port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, own_port = host, ""
    to_scheme = redirect.scheme or scheme
    authority = redirect.hostname or name
    if redirect.port is None and not redirect.scheme:
        port = int(own_port) if own_port.isdigit() else None
    else:
        port = wanted = redirect.port or _PORTS[to_scheme]
        if own_port in {str(one.here) for one in served}:
            at = (one.here for one in served if one.port == wanted and covers(one.hostname, authority.lower()))
            port = next(at, wanted)
    if port is not None and port != _PORTS.get(to_scheme):
        authority = f"{authority}:{port}"
    return f"{to_scheme}://{authority}{rewrite_path(target, match, redirect.full, redirect.prefix)}"
