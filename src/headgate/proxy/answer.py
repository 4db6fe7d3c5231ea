"""The bytes of an answer's head, and of answers that are written here."""

from http import HTTPStatus

from headgate.exchange.events import Headers, Respond

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus if status >= 200
}
_BODILESS = (204, 304)


def bodiless(method: bytes, status: int) -> bool:
    """Whether the answer has no body, whatever its headers say (RFC 9112 §6.3)."""
    return method == b"HEAD" or status in _BODILESS


def head(status: int, headers: Headers, *framing: bytes) -> bytes:
    """`framing` are whole header lines."""
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    lines += [b": ".join(pair) for pair in headers]
    lines += framing
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def connection(*, keep_alive: bool, http10: bool) -> tuple[bytes, ...]:
    """The header Connection, where the client has to be told."""
    if not keep_alive:
        return (b"connection: close",)
    return (b"connection: keep-alive",) if http10 else ()


def whole(response: Respond, method: bytes, date: bytes, *framing: bytes) -> bytes:
    """An answer that is written here."""
    date_line = b"date: %b" % date
    if response.status in _BODILESS:
        return head(response.status, response.headers, date_line, *framing)
    length = b"content-length: %d" % len(response.body)
    lines = head(response.status, response.headers, date_line, length, *framing)
    return lines if method == b"HEAD" else lines + response.body
