"""How does an event stream end that its server has left in the middle?  With an event that says so.

What the client has of an unfinished event can't be taken back, and no parser drops it: a client would take half a JSON
object for an event and fail at it. So the half becomes the error event itself: its object is completed, with a member
`error`, at which OpenAI's clients raise their usual exception. Source: HTML Living Standard §9.2, event streams.
"""

import json
import re

from headgate.exchange.refuse import error_body

_LINE_END = re.compile(rb"\r\n|\n|\r")
_DATA = b"data: "
_DONE = b"[DONE]"
_NAMED = ("/v1/messages", "/v1/responses")
_NAME = b"event: error\n"

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:(?P<end>")|\\\Z)?|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)
_CLOSE = {b"{": b"}", b"[": b"]"}
_WORDS = (b"true", b"false", b"null")


def end_stream(unfinished: bytes, message: str, *, late: bool, path: str) -> bytes:
    """What is still to be sent. `unfinished` is what has been sent since the last event that is whole.

    `late`: it took longer than it may. `path` is what was asked for: where it is of an API that names its events, this
    one is called `error`.
    """
    ends = b"\n" if unfinished.endswith(b"\r") else b""  # or the first line end from here would be the other half of it
    return ends + _end_stream(unfinished, message, late=late, path=path)


def _end_stream(unfinished: bytes, message: str, *, late: bool, path: str) -> bytes:
    named = path.startswith(_NAMED)
    error = error_body(504 if late else 502, message, code="timeout" if late else "endpoint_failed")[1:-1]
    if named:
        error = b'"type":"error",' + error
    *lines, last = _LINE_END.split(unfinished)
    line = last or (lines[-1] if lines else b"")
    if line[:7] == b"data: [" and (_DATA + _DONE).startswith(line):
        return (_DATA + _DONE)[len(line) :] + (b"\n\n" if last else b"\n")  # the answer lacks nothing else
    has_data = any(line.startswith(b"data") for line in lines)
    name = _NAME if named or any(line.startswith(b"event") for line in (*lines, last)) else b""
    whole = b"%bdata: {%b}\n\n" % (name, error)
    if not last:
        return b"\n" + whole if has_data else whole
    if not has_data:
        rest = _finish(last, error)
        if rest is not None:
            return b"%b\n%b\n" % (rest, name)
        if not last.startswith(b"data"):
            return b"\n" + whole  # the same event: its half name, or whatever it was, counts no more
    return b"\n\n" + whole


def _finish(line: bytes, error: bytes) -> bytes | None:
    """The rest of a data line that makes it the error; None where there is none."""
    if _DATA.startswith(line):
        return b"%b{%b}" % (_DATA[len(line) :], error)
    if not line.startswith(b"data:"):
        return None
    value = line[5:]
    rest = _complete(value, error)
    return rest if rest is not None and _is_object(value + rest) else None


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _complete(text: bytes, members: bytes) -> bytes | None:
    """What makes an object of the beginning of one, with these as its last members. None where it is whole already."""
    opened: list[bytes] = []
    before = rest = b""  # the token before, where a key counts as `"` and any value as `0`
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in _CLOSE:
            opened.append(token)
            before = token
        elif token in (b"}", b"]"):
            before = b"0"
            if len(opened) < 2:
                return None
            opened.pop()
        elif token in (b":", b","):
            before = token
        else:
            is_key = bool(opened) and opened[-1] == b"{" and before in (b"{", b",")
            before = b'"' if is_key else b"0"
            if token[:1] == b'"' and found["end"] is None:
                rest = _end_of_string(token)
            elif token[:1] != b'"' and found.end() == len(text):
                rest = _end_of_scalar(token)
    if not opened:
        return None
    if before == b'"':
        rest += b":null"
    elif before == b":":
        rest += b"null"
    elif before == b"," and len(opened) > 1:
        rest += b'"":null' if opened[-1] == b"{" else b"null"
    rest += b"".join([_CLOSE[one] for one in reversed(opened[1:])])
    comma = b"" if len(opened) == 1 and before in (b"{", b",") else b","
    return b"%b%b%b}" % (rest, comma, members)


def _end_of_string(token: bytes) -> bytes:
    """What closes a string that was cut, perhaps in an escape, or in the bytes of a character."""
    escape = re.search(rb"(?<!\\)(?:\\\\)*\\(u[0-9a-fA-F]{0,3})?$", token)
    if escape is not None:
        begun = escape[1]
        return b'\\"' if begun is None else b"0" * (5 - len(begun)) + b'"'
    return _end_of_character(token) + b'"'


def _end_of_character(token: bytes) -> bytes:
    """The bytes that a character of UTF-8 lacks (RFC 3629 §4), b"" where it is whole."""
    for back in range(1, min(4, len(token))):
        lead = token[-back]
        if lead < 0x80:
            return b""
        if lead >= 0xC0:
            lacks = (2 if lead < 0xE0 else 3 if lead < 0xF0 else 4) - back
            if lacks > 0 and back == 1:
                second = {0xE0: b"\xa0", 0xF0: b"\x90"}.get(lead, b"\x80")
                return second + b"\x80" * (lacks - 1)
            return b"\x80" * lacks
    return b""


def _end_of_scalar(token: bytes) -> bytes:
    """What completes a number or a word that was cut."""
    for word in _WORDS:
        if word.startswith(token):
            return word[len(token) :]
    return b"" if token[-1:].isdigit() else b"0"
