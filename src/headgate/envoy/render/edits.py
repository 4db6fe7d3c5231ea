"""Edits on the way, as Envoy says them: headers, rewrites, redirects. The same as exchange.edits does natively."""

import re

from headgate.envoy.render.settings import Data, Socket
from headgate.plan.hostnames import covers
from headgate.plan.plan import HeaderEdit, Match, Redirect, Rewrite

_PORTS = {"http": 80, "https": 443}
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})  # ours alone
_STATUS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


def request_edits(*edits: HeaderEdit | None) -> Data:
    return _headers("request", [edit for edit in edits if edit is not None])


def response_edits(*edits: HeaderEdit | None) -> Data:
    return _headers("response", [edit for edit in edits if edit is not None])


def host_set(*edits: HeaderEdit | None) -> str:
    """The Host header that request edits ask for: Envoy has another word for that."""
    return next((v for edit in reversed(edits) if edit for n, v in reversed(edit.set) if n.lower() == "host"), "")


def _headers(side: str, edits: list[HeaderEdit]) -> Data:
    """Envoy removes before it adds, and what is set replaces what there was."""
    add: list[Data] = []
    remove: list[str] = []
    for edit in edits:
        gone = {name.lower() for name in (*edit.remove, *(name for name, _ in edit.set))}
        add = [one for one in add if one["header"]["key"] not in gone]  # of the edits before this one
        remove += [name for name in edit.remove if name.lower() not in ("host", *_FRAMING)]
        add += [_value(name, value, "OVERWRITE_IF_EXISTS_OR_ADD") for name, value in edit.set if _free(name)]
        add += [_value(name, value, "APPEND_IF_EXISTS_OR_ADD") for name, value in edit.add if _free(name)]
    found: Data = {}
    if remove:
        found[f"{side}_headers_to_remove"] = list(dict.fromkeys(remove))
    if add:
        found[f"{side}_headers_to_add"] = add
    return found


def _free(name: str) -> bool:
    return name.lower() not in _FRAMING and name.lower() != "host"


def _value(name: str, value: str, action: str) -> Data:
    """A percent sign begins a variable."""
    header = {"key": name.lower(), "value": value.replace("%", "%%")}
    return {"header": header, "append_action": action, "keep_empty_value": True}


def rewriting(match: Match, *rewrites: Rewrite | None) -> Data:
    """Path and host, each by the first of the rewrites that names it."""
    found: Data = {}
    for one in rewrites:
        if one is not None and (one.full is not None or one.prefix is not None):
            found["regex_rewrite"] = _path(match, one.full, one.prefix)
            break
    host = next((one.hostname for one in rewrites if one is not None and one.hostname), None)
    if host:
        found["host_rewrite_literal"] = host
    return found


def _path(match: Match, full: str | None, prefix: str | None) -> Data:
    """By an expression: a prefix that Envoy rewrites itself knows nothing of path elements."""
    if full is not None:
        return _regex("^/.*$", _literal(full))
    stem, to = re.escape(match.path.rstrip("/")), (prefix or "").rstrip("/")
    if to:
        return _regex(f"^{stem}(/.*)?$", _literal(to) + r"\1")
    return _regex(f"^{stem}/?", "/")


def _regex(pattern: str, substitution: str) -> Data:
    return {"pattern": {"regex": pattern}, "substitution": substitution}


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\")


def redirecting(redirect: Redirect, match: Match, scheme: str, port: int | None) -> Data:
    """A RedirectAction; `port` is one that is not the request's own."""
    found: Data = {"response_code": _STATUS[redirect.status]}
    if redirect.scheme:
        found["scheme_redirect"] = redirect.scheme
    if redirect.hostname:
        found["host_redirect"] = redirect.hostname
    if port is not None and not (redirect.hostname and port == _PORTS[redirect.scheme or scheme]):
        found["port_redirect"] = port
    if redirect.full is not None:
        found["path_redirect"] = redirect.full
    elif redirect.prefix is not None:
        found["regex_rewrite"] = _path(match, None, redirect.prefix)
    return found


def redirect_port(redirect: Redirect, socket: Socket, scheme: str, domain: str, *, here: bool) -> int | None:
    """As exchange.edits.location finds it, for requests to `domain` ("" any); None for that of the request.

    `here`: for clients that came by the socket's own port, and so see the ports that listeners have on this machine.
    """
    if redirect.port is None and not redirect.scheme:
        return socket.port if here and redirect.hostname else None  # which a new host name would lose
    to_scheme = redirect.scheme or scheme
    wanted = redirect.port or _PORTS[to_scheme]
    if not here:
        return wanted if redirect.hostname or wanted != _PORTS[to_scheme] else None
    authority = (redirect.hostname or domain).lower()
    there = [one for one in socket.served if one.port == wanted]
    # Requests to any host of a wildcard may be for a listener of some of them.
    sure = (one.here for one in there if covers(one.hostname, authority))
    perhaps = (one.here for one in there if covers(authority, one.hostname))
    return next(sure, next(perhaps, wanted))
