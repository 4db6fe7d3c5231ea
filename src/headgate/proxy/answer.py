"""The bytes of an answer's head, and of answers that are written here."""

from http import HTTPStatus

from headgate.exchange.events import Respond
from headgate.exchange.request import RequestHead, wire

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
SWITCHED = b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_BODILESS = (204, 304)


def bodiless(method: bytes, status: int) -> bool:
    """Whether the answer has no body, whatever its headers say (RFC 9112 §6.3)."""
    return method == b"HEAD" or status in _BODILESS


def status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def connection(keep_alive: bool, http10: bool) -> bytes:
    """The header Connection, where the client has to be told."""
    if not keep_alive:
        return b"connection: close\r\n"
    return b"connection: keep-alive\r\n" if http10 else b""


def ending(length: int | None, status: int, head: RequestHead) -> tuple[bytes, bool, bool]:
    """What tells the client where the body ends: a header line; whether chunks do; whether the connection's end."""
    if length is not None:
        return (b"content-length: %d\r\n" % length if status != 204 else b""), False, False
    if bodiless(head.method, status):
        return b"", False, False
    return (b"", False, True) if head.http10 else (b"transfer-encoding: chunked\r\n", True, False)


def whole(response: Respond, method: bytes, date: bytes, framing: bytes) -> bytes:
    """An answer that is written here. `framing`: more header lines."""
    lines, body = wire(response.headers), response.body
    length = b"" if response.status in _BODILESS else b"content-length: %d\r\n" % len(body)
    if length == b"" or method == b"HEAD":
        body = b""
    return b"%b%bdate: %b\r\n%b%b\r\n%b" % (status_line(response.status), lines, date, length, framing, body)
