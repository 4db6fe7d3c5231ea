"""One gRPC call: messages in and out of one HTTP/2 stream, and its end (gRPC over HTTP/2, PROTOCOL-HTTP2.md)."""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from headgate.envoy.http2.frames import END_HEADERS, END_STREAM, HEADERS, frame

if TYPE_CHECKING:
    from headgate.envoy.http2.connection import Connection

# Status codes.
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, NOT_FOUND = 0, 1, 2, 3, 5
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 8, 12, 13, 14

_prefix = Struct(">BL")
_pack, _unpack = _prefix.pack, _prefix.unpack_from
_PREFIX = 5  # bytes before each message: whether it is compressed, and its length

# HPACK, RFC 7541: `:status: 200` is entry 8 of the static table, content-type entry 31; the rest is written out, and
# kept out of the table, so that no state of it needs to be kept.
_STATUS_200 = b"\x88"
_CONTENT_TYPE = b"\x0f\x10\x10application/grpc"
_BEGIN = _STATUS_200 + _CONTENT_TYPE


def _literal(name: bytes, value: bytes) -> bytes:
    """Both are shorter than 127 bytes."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


_FINE = _literal(b"grpc-status", b"0")


class Receiver(Protocol):
    """Who hears what comes. After `ended` no message comes; after `gone` nobody hears an answer any more."""

    def message(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def gone(self) -> None: ...


class Call:
    """`metadata` are the request's headers, names in lower case. `limit`: bytes that a message may have."""

    __slots__ = (
        "_begun",
        "_limit",
        "_partial",
        "connection",
        "finished",
        "heard_all",
        "metadata",
        "pending",
        "receiver",
        "stream",
        "window",
    )

    def __init__(
        self, connection: "Connection", stream: int, metadata: Mapping[bytes, bytes], window: int, limit: int
    ) -> None:
        self.connection = connection
        self.stream = stream
        self.metadata = metadata
        self.window = window  # bytes that may be sent
        self.pending: list[
            tuple[bytes | memoryview, bool]
        ] = []  # DATA and trailers that the window has no room for yet
        self.receiver: Receiver | None = None
        self.heard_all = False  # the client sends nothing more
        self.finished = False
        self._begun = False
        self._partial = bytearray()
        self._limit = limit

    # In.

    def take(self, data: bytes, at: int, end: int) -> None:
        """A piece of the stream: data[at:end]."""
        receiver, partial = self.receiver, self._partial
        if receiver is None:
            return
        if not partial and end - at >= _PREFIX:
            compressed, size = _unpack(data, at)
            if end - at == _PREFIX + size and size <= self._limit and not compressed:
                receiver.message(data[at + _PREFIX : end])
                return
        partial += memoryview(data)[at:end]
        while len(partial) >= _PREFIX and self.receiver is not None:
            compressed, size = _unpack(partial)
            if compressed:
                self.finish(UNIMPLEMENTED, "messages can't be compressed here")
                return
            if size > self._limit:
                self.finish(RESOURCE_EXHAUSTED, f"a message of {size} bytes is larger than {self._limit}")
                return
            if len(partial) < _PREFIX + size:
                return
            message = bytes(memoryview(partial)[_PREFIX : _PREFIX + size])
            del partial[: _PREFIX + size]
            self.receiver.message(message)

    def end_of_input(self) -> None:
        self.heard_all = True
        if self.receiver is not None:
            self.receiver.ended()

    def lost(self) -> None:
        """It was reset, or its connection has ended."""
        self.finished = True
        self.pending.clear()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.gone()

    # Out.

    def send(self, message: bytes) -> None:
        if self.finished:
            return
        if not self._begun:
            self._begun = True
            self.connection.write(frame(HEADERS, END_HEADERS, self.stream, _BEGIN))
        self.connection.send_data(self, _pack(0, len(message)) + message)

    def finish(self, status: int = OK, why: str = "") -> None:
        """The answer is complete; nothing more is heard."""
        if self.finished:
            return
        self.finished = True
        self.receiver = None
        trailers = _FINE
        if status or why:
            said = quote(why, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~")[:120]  # percent-encoded, as its specification says
            trailers = _literal(b"grpc-status", b"%d" % status) + _literal(b"grpc-message", said.encode())
        if not self._begun:
            trailers = _BEGIN + trailers
        self.connection.send_last(self, frame(HEADERS, END_HEADERS | END_STREAM, self.stream, trailers))


Method = Callable[[Call], Receiver]
