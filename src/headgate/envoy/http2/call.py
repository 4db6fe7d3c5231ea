"""One gRPC call: messages in and out of one HTTP/2 stream, and its end (gRPC over HTTP/2, PROTOCOL-HTTP2.md)."""

from collections import deque
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
_ENTRY = 256  # bytes that something small takes, too, while it waits
_TOO_MUCH = "as much is held here as may be: try again later"
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


class Held(Protocol):
    """How many bytes of bodies there are; `over`: more than there may be."""

    @property
    def over(self) -> bool: ...
    def change(self, by: int) -> None: ...


class Receiver(Protocol):
    """Who hears what comes. After `ended` no message comes; after `gone` nobody hears an answer any more.

    Both are said only as long as the receiver has not finished the call.
    """

    def message(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def gone(self) -> None: ...


class Call:
    """`metadata` are the request's headers, names in lower case. `limit`: bytes that a message may have."""

    __slots__ = (
        "_counted",
        "_limit",
        "_partial",
        "begun",
        "connection",
        "finished",
        "heard",
        "heard_all",
        "metadata",
        "owed",
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
        # DATA and trailers that the window has no room for yet.
        self.pending: deque[tuple[bytes | memoryview, bool]] = deque()
        self.owed = 0  # bytes of DATA in it
        self.heard = 0  # bytes of DATA since its window was refilled
        self.receiver: Receiver | None = None
        self.heard_all = False  # the client sends nothing more
        self.finished = False
        self.begun = False  # an answer is
        self._partial = bytearray()
        self._counted = 0  # bytes that are counted as held
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
                self.fail(UNIMPLEMENTED, "messages can't be compressed here")
                return
            if size > self._limit:
                self.fail(RESOURCE_EXHAUSTED, f"a message of {size} bytes is larger than {self._limit}")
                return
            if len(partial) < _PREFIX + size:
                break
            message = bytes(memoryview(partial)[_PREFIX : _PREFIX + size])
            del partial[: _PREFIX + size]
            self.weigh()  # who hears it counts it
            self.receiver.message(message)
        if self.weigh():
            self.fail(RESOURCE_EXHAUSTED, _TOO_MUCH)

    def end_of_input(self) -> None:
        self.heard_all = True
        if self._partial:
            self.fail(INTERNAL, "the last message is not whole")
        elif self.receiver is not None:
            self.receiver.ended()

    def weigh(self) -> bool:
        """Count what is kept here. Whether there must be no more of it."""
        held, kept = self.connection.held, len(self._partial) + self.owed + len(self.pending) * _ENTRY
        more = kept - self._counted
        if more:
            self._counted = kept
            held.change(more)
        return more > 0 and held.over

    def lost(self) -> None:
        """It was reset, or its connection has ended."""
        self.finished = True
        self.pending.clear()
        self.owed = 0
        self._partial.clear()
        self.weigh()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.gone()

    # Out.

    def send(self, message: bytes) -> None:
        if self.finished:
            return
        if not self.begun:
            self.begun = True
            self.connection.write(frame(HEADERS, END_HEADERS, self.stream, _BEGIN))
        self.connection.send_data(self, _pack(0, len(message)) + message)
        if self.pending and (self.weigh() or self.connection.held.over):
            self.fail(RESOURCE_EXHAUSTED, _TOO_MUCH)

    def fail(self, status: int, why: str) -> None:
        """It ends, not by its receiver: what is owed is not sent any more."""
        receiver = self.receiver
        self.pending.clear()
        self.owed = 0
        self.finish(status, why)
        if receiver is not None:
            receiver.gone()

    def finish(self, status: int = OK, why: str = "") -> None:
        """The answer is complete; nothing more is heard."""
        if self.finished:
            return
        self.finished = True
        self.receiver = None
        self._partial.clear()
        if self._counted:
            self.weigh()
        trailers = _FINE
        if status or why:
            said = quote(why, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~")[:120]  # percent-encoded, as its specification says
            trailers = _literal(b"grpc-status", b"%d" % status) + _literal(b"grpc-message", said.encode())
        if not self.begun:
            trailers = _BEGIN + trailers
        self.connection.send_last(self, frame(HEADERS, END_HEADERS | END_STREAM, self.stream, trailers))


Method = Callable[[Call], Receiver]
