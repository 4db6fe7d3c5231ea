"""The request target, RFC 9112 §3.2: its path in normal form, so that no two spellings of one path match differently.

Source of the normal form: RFC 3986 §6.2.2, as the Gateway API asks for (HTTPPathMatch).
"""

import re
from functools import lru_cache

from msgspec import Struct

_REMEMBERED_LENGTH = (
    256  # longer ones are read anew each time: clients choose targets, what is kept for them is bounded
)
_UNUSUAL = re.compile(r"[%\\#]|/\.")
_ESCAPE = re.compile(r"%(?:([0-9A-Fa-f]{2}))?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Target(Struct, frozen=True, gc=False):
    """`path` is what routes match and servers get; `query` follows the question mark; `asterisk` is `OPTIONS *`.

    `host` is that of an absolute form, which counts more than the Host header; None otherwise. `error` says what is
    wrong with the target, "" when nothing is; then the rest means nothing.
    """

    path: str
    query: str = ""
    mark: str = ""  # the question mark, where there is one: an empty query is not the same as none
    host: str | None = None
    asterisk: bool = False
    error: str = ""

    @property
    def text(self) -> str:
        """Path and query, for the request line."""
        return self.path + self.mark + self.query


def read_target(raw: bytes) -> Target:
    return _remembered(raw) if len(raw) <= _REMEMBERED_LENGTH else _read(raw)


def _read(raw: bytes) -> Target:
    text = raw.decode("latin-1")
    host = None
    if not text.startswith("/"):
        if text == "*":
            return Target("*", asterisk=True)
        scheme, colon, rest = text.partition("://")
        if not colon or scheme.lower() not in ("http", "https"):
            return _wrong("it must begin with a slash, or be an http:// URL")
        cut = min(place for mark in "/?#" if (place := (rest + mark).find(mark)) >= 0)
        host, text = rest[:cut], rest[cut:]
        if not host or "@" in host:
            return _wrong("its URL must name a host, and no user")
        if not text.startswith("/"):
            text = "/" + text
    if "#" in text:
        return _wrong("a fragment (#) is not for servers to see")
    path, mark, query = text.partition("?")
    if _UNUSUAL.search(path):
        if "\\" in path:
            return _wrong("a backslash is no part of a path")
        try:
            path = _without_dots(_ESCAPE.sub(_unescape, path))
        except ValueError as error:
            return _wrong(str(error))
    return Target(path, query, mark, host)


_remembered = lru_cache(maxsize=1024)(_read)


def _wrong(why: str) -> Target:
    return Target("", error=f"The request target is not valid: {why}.")


def _unescape(found: re.Match[str]) -> str:
    """Letters and digits need no escape; anything else (a slash above all) means something else without it.

    An escape that stays is written in capitals (RFC 3986 §6.2.2.1).
    """
    digits = found.group(1)
    if digits is None:
        raise ValueError("a percent sign must be followed by two hexadecimal digits")
    character = chr(int(digits, 16))
    if character == "\0":
        raise ValueError("a path has no NUL in it")
    return character if character in _UNRESERVED else found.group().upper()


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4; there is nothing above the root."""
    parts = path.split("/")[1:]
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if kept and parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
