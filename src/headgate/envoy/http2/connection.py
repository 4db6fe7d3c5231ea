"""One HTTP/2 connection, the server's side, without a socket: bytes in, and in `out` the bytes that are to be sent.

RFC 9113, but for what gRPC has no use for: push, priorities, trailers of requests. HPACK's decoder is `hpack`'s.
"""

from collections.abc import Callable, Mapping

from hpack import Decoder, HPACKError

from headgate.envoy.http2 import frames
from headgate.envoy.http2.call import UNIMPLEMENTED, Call, Method
from headgate.envoy.http2.frames import HEAD, Wrong, unpack_head, unpack_word

_REFILL = 1 << 30  # bytes of a window that are used up before there are more
_LONGEST_HEAD = 64 << 10
_STREAMS = 1 << 16  # at a time
_KNOWN = 256  # heads that are remembered
_INDEXED = bytes(range(128, 256))  # a head of nothing but these leaves HPACK's table as it is (RFC 7541 §6.1)

Metadata = Mapping[bytes, bytes]


class Connection:
    """`methods` by path. Call `receive` with what comes; where it raises Wrong, send what is in `out` and close.

    `wake` is called when there is something in `out` that `receive` has not put there.
    """

    __slots__ = (
        "_block",
        "_block_of",
        "_decoder",
        "_first",
        "_frame_size",
        "_initial_window",
        "_known",
        "_last",
        "_limit",
        "_methods",
        "_received",
        "_rest",
        "_wake",
        "_window",
        "calls",
        "leaving",
        "out",
    )

    def __init__(self, methods: Mapping[bytes, Method], limit: int, wake: Callable[[], None]) -> None:
        self._methods = methods
        self._limit = limit
        self._wake = wake
        self.calls: dict[int, Call] = {}
        self.leaving = False
        self._decoder = Decoder(_LONGEST_HEAD)
        self._known: dict[bytes, dict[bytes, bytes]] = {}
        self._rest = b""
        self._first = True
        self._last = 0  # the highest stream that was begun
        self._received = 0  # bytes of DATA since the window was refilled
        self._window = frames.USUAL_WINDOW
        self._initial_window = frames.USUAL_WINDOW
        self._frame_size = frames.LARGEST
        self._block = bytearray()
        self._block_of: tuple[int, int] | None = None  # the stream and flags of a head that goes on
        # How much may come is for the streams' receivers to bound: one body is as large as it may be, many are counted.
        said = {
            frames.MAX_CONCURRENT_STREAMS: _STREAMS,
            frames.INITIAL_WINDOW_SIZE: frames.MOST_WINDOW,
            frames.MAX_HEADER_LIST_SIZE: _LONGEST_HEAD,
        }
        more = frames.MOST_WINDOW - frames.USUAL_WINDOW
        self.out: list[bytes] = [frames.settings(said), frames.window_update(0, more)]

    # In.

    def receive(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if self._first:
            at = self._preface(data)
        calls = self.calls
        while end - at >= HEAD and not self._first:
            high, low, kind, flags, number = unpack_head(data, at)
            size = high << 8 | low
            if size > frames.LARGEST:
                raise Wrong(frames.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            begin, at = at + HEAD, at + HEAD + size
            if at > end:
                at = begin - HEAD
                break
            if self._block_of is not None and kind != frames.CONTINUATION:
                raise Wrong(frames.PROTOCOL_ERROR, "a head is not whole")
            if kind == frames.DATA:
                self._received += size
                call = calls.get(number)
                if call is not None:
                    _data(call, data, begin, at, flags)
                elif number > self._last or not number:
                    raise Wrong(frames.PROTOCOL_ERROR, "data of a stream that was not begun")
            elif kind == frames.HEADERS:
                self._begin(data, begin, at, flags, number)
            else:
                self._other(kind, flags, number, data[begin:at])
        self._rest = data[at:] if at < end else b""
        if self._received > _REFILL:
            self.out.append(frames.window_update(0, self._received))
            self._received = 0

    def _preface(self, data: bytes) -> int:
        """Where the frames begin; 0 where it is not whole yet."""
        size = len(frames.PREFACE)
        if not data.startswith(frames.PREFACE[: len(data)]):
            raise Wrong(frames.PROTOCOL_ERROR, "this is no HTTP/2")
        self._first = len(data) < size
        return 0 if self._first else size

    def _begin(self, data: bytes, begin: int, end: int, flags: int, number: int) -> None:
        if flags & frames.PADDED:
            begin, end = _unpadded(data, begin, end)
        if flags & frames.PRIORITISED:
            begin += 5
        if begin > end or not number & 1:
            raise Wrong(frames.PROTOCOL_ERROR, "a head that is none")
        block = data[begin:end]
        if flags & frames.END_HEADERS:
            self._head(block, flags, number)
        else:
            self._block += block
            self._block_of = number, flags

    def _continue(self, flags: int, number: int, payload: bytes) -> None:
        if self._block_of is None or self._block_of[0] != number:
            raise Wrong(frames.PROTOCOL_ERROR, "a head goes on that was not begun")
        self._block += payload
        if len(self._block) > _LONGEST_HEAD:
            raise Wrong(frames.ENHANCE_YOUR_CALM, "a head is too long")
        if flags & frames.END_HEADERS:
            block, first = bytes(self._block), self._block_of[1]
            self._block.clear()
            self._block_of = None
            self._head(block, first, number)

    def _head(self, block: bytes, flags: int, number: int) -> None:
        metadata = self._known.get(block)
        if metadata is None:
            metadata = self._decode(block)
        call = self.calls.get(number)
        if call is not None:  # trailers of a request: gRPC has none
            if not flags & frames.END_STREAM:
                raise Wrong(frames.PROTOCOL_ERROR, "a second head")
            call.end_of_input()
            return
        if number <= self._last:
            raise Wrong(frames.STREAM_CLOSED, "a stream is begun twice")
        self._last = number
        if len(self.calls) >= _STREAMS:
            self.out.append(frames.reset(number, frames.REFUSED_STREAM))
            return
        call = self.calls[number] = Call(self, number, metadata, self._initial_window, self._limit)
        path = metadata.get(b":path", b"")
        method = self._methods.get(path)
        if method is None:
            call.finish(UNIMPLEMENTED, f"there is no method {path.decode('latin-1')}")
            return
        receiver = method(call)
        if not call.finished:
            call.receiver = receiver
        if flags & frames.END_STREAM:
            call.end_of_input()

    def _decode(self, block: bytes) -> dict[bytes, bytes]:
        """A proxy's heads are alike: from the second one on they are references to the table, and known here."""
        try:
            fields = self._decoder.decode(block, raw=True)
        except HPACKError as error:
            raise Wrong(frames.COMPRESSION_ERROR, str(error)) from None
        metadata = {bytes(name): bytes(value) for name, value in fields}
        if block.translate(None, _INDEXED):
            self._known.clear()  # the table may be another one now
        elif len(self._known) < _KNOWN:
            self._known[block] = metadata
        return metadata

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._widen(number, payload)
        elif kind == frames.RST_STREAM:
            if len(payload) != 4 or not number or number > self._last:
                raise Wrong(frames.PROTOCOL_ERROR, "a reset of nothing")
            call = self.calls.pop(number, None)
            if call is not None:
                call.lost()
        elif kind == frames.SETTINGS:
            if not flags & frames.ACK:
                self._settle(payload)
        elif kind == frames.PING:
            if len(payload) != 8:
                raise Wrong(frames.FRAME_SIZE_ERROR, "a PING of a size that is none")
            if not flags & frames.ACK:
                self.out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.CONTINUATION:
            self._continue(flags, number, payload)
        elif kind == frames.PUSH_PROMISE:
            raise Wrong(frames.PROTOCOL_ERROR, "a client can't push")

    def _settle(self, payload: bytes) -> None:
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MOST_WINDOW:
                    raise Wrong(frames.FLOW_CONTROL_ERROR, "a window that is too large")
                for call in self.calls.values():
                    call.window += value - self._initial_window
                self._initial_window = value
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.LARGEST <= value < 1 << 24:
                    raise Wrong(frames.PROTOCOL_ERROR, "a frame size that is none")
                self._frame_size = value
        self.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._go_on()

    def _widen(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Wrong(frames.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of a size that is none")
        (more,) = unpack_word(payload, 0)
        if not number:
            self._window += more
            if self._window > frames.MOST_WINDOW or not more:
                raise Wrong(frames.FLOW_CONTROL_ERROR, "a window that is too large, or no wider")
            self._go_on()
            return
        call = self.calls.get(number)
        if call is not None:
            call.window += more
            if call.pending:
                self._send_pending(call)

    def _go_on(self) -> None:
        for call in [call for call in self.calls.values() if call.pending]:
            self._send_pending(call)

    # Out.

    def write(self, data: bytes) -> None:
        if not self.out:
            self._wake()
        self.out.append(data)

    def send_data(self, call: Call, payload: bytes) -> None:
        """As far as the windows have room; the rest when they have."""
        size = len(payload)
        if call.pending or size > call.window or size > self._window or size > self._frame_size:
            call.pending.append((memoryview(payload), False))
            self._send_pending(call)
            return
        call.window -= size
        self._window -= size
        self.write(frames.frame(frames.DATA, 0, call.stream, payload))

    def send_last(self, call: Call, trailers: bytes) -> None:
        if call.pending:
            call.pending.append((trailers, True))
            return
        self.write(trailers)
        self._over(call)

    def _over(self, call: Call) -> None:
        self.calls.pop(call.stream, None)
        if not call.heard_all:
            # Nothing more is wanted of it, RFC 9113 §8.1.
            self.write(frames.reset(call.stream, frames.NO_ERROR))

    def _send_pending(self, call: Call) -> None:
        pending = call.pending
        while pending:
            payload, last = pending[0]
            if last:
                pending.clear()
                self.write(bytes(payload))
                self._over(call)
                return
            room = min(call.window, self._window, self._frame_size)
            if room <= 0:
                return
            piece = payload[:room]
            if len(piece) == len(payload):
                del pending[0]
            else:
                pending[0] = payload[room:], False
            call.window -= len(piece)
            self._window -= len(piece)
            self.write(frames.frame(frames.DATA, 0, call.stream, piece))

    # The end.

    def leave(self) -> None:
        """No new calls, please: those that are on their way count."""
        if not self.leaving:
            self.leaving = True
            self.write(frames.goaway(frames.MOST_WINDOW, frames.NO_ERROR))

    def refuse(self, error: Wrong) -> None:
        self.write(frames.goaway(self._last, error.code, str(error)))

    def lost(self) -> None:
        """The connection has ended."""
        calls = list(self.calls.values())
        self.calls.clear()
        for call in calls:
            call.lost()


def _data(call: Call, data: bytes, begin: int, end: int, flags: int) -> None:
    if flags & frames.PADDED:
        begin, end = _unpadded(data, begin, end)
    if end > begin:
        call.take(data, begin, end)
    if flags & frames.END_STREAM:
        call.end_of_input()


def _unpadded(data: bytes, begin: int, end: int) -> tuple[int, int]:
    """§6.1: the first byte of the payload says how many there are behind."""
    if begin >= end or data[begin] >= end - begin:
        raise Wrong(frames.PROTOCOL_ERROR, "more padding than there is")
    return begin + 1, end - data[begin]
