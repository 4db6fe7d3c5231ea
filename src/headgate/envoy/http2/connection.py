"""One HTTP/2 connection, the server's side, without a socket: bytes in, and in `out` the bytes that are to be sent.

RFC 9113, but for what gRPC has no use for: push, priorities, trailers of requests. HPACK's decoder is `hpack`'s.
"""

from collections.abc import Callable, Mapping
from time import monotonic

from hpack import Decoder, HPACKError

from headgate.envoy.http2 import frames
from headgate.envoy.http2.call import UNIMPLEMENTED, Call, Held, Method
from headgate.envoy.http2.frames import HEAD, Wrong, unpack_head, unpack_word

_REFILL = 1 << 30  # bytes of a window that are used up before there are more
_LONGEST_HEAD = 64 << 10
_STREAMS = 1 << 13  # at a time
_KNOWN = 256  # heads that are remembered
_SHORT = 64  # bytes of a head that is: longer ones are no proxy's
_IDLE = 10_000  # frames that bring nothing forward, in a second: more than all streams' resets at once
_PRIORITY = 5  # bytes of what HEADERS may say of priorities
_INDEXED = bytes(range(128, 256))  # a head of nothing but these leaves HPACK's table as it is (RFC 7541 §6.1)

Metadata = Mapping[bytes, bytes]


class Connection:
    """`methods` by path. Call `receive` with what comes; where it raises Wrong, send what is in `out` and close.

    `limit`: bytes that a message may have. What is not whole yet, or can't be sent yet, is counted in `held`.
    `wake` is called when there is something in `out` that `receive` has not put there.
    """

    __slots__ = (
        "_block",
        "_block_of",
        "_blocked",
        "_clock",
        "_decoder",
        "_first",
        "_frame_size",
        "_idle",
        "_idle_since",
        "_initial_window",
        "_known",
        "_last",
        "_limit",
        "_methods",
        "_received",
        "_rest",
        "_settled",
        "_wake",
        "_window",
        "calls",
        "held",
        "leaving",
        "out",
    )

    def __init__(
        self,
        methods: Mapping[bytes, Method],
        limit: int,
        held: Held,
        wake: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._methods = methods
        self._limit = limit
        self._wake = wake
        self._clock = clock
        self.held = held
        self.calls: dict[int, Call] = {}
        self._blocked: dict[int, Call] = {}  # those that only the connection's window holds up
        self._idle = 0  # frames that brought nothing forward
        self._idle_since = clock()
        self.leaving = False
        self._decoder = Decoder(_LONGEST_HEAD)
        self._known: dict[bytes, dict[bytes, bytes]] = {}
        self._rest = b""
        self._first = True
        self._settled = False  # the client's SETTINGS have come, as they must before all else
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
            number &= frames.MOST_STREAM
            size = high << 8 | low
            if size > frames.LARGEST:
                raise Wrong(frames.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            begin, at = at + HEAD, at + HEAD + size
            if at > end:
                at = begin - HEAD
                break
            if self._block_of is not None and kind != frames.CONTINUATION:
                raise Wrong(frames.PROTOCOL_ERROR, "a head is not whole")
            if not self._settled:
                if kind != frames.SETTINGS or flags & frames.ACK:
                    raise Wrong(frames.PROTOCOL_ERROR, "no SETTINGS at first")
                self._settled = True
            if kind == frames.DATA:
                self._received += size
                call = calls.get(number)
                if call is not None:
                    self._data(call, data, begin, at, flags)
                elif number > self._last or not number:
                    raise Wrong(frames.PROTOCOL_ERROR, "data of a stream that was not begun")
                else:
                    self._spend()
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

    def _spend(self) -> None:
        """A frame has come that brings nothing forward."""
        self._idle += 1
        if self._idle >= _IDLE:
            now = self._clock()
            if now - self._idle_since < 1.0:
                raise Wrong(frames.ENHANCE_YOUR_CALM, "frames that say nothing")
            self._idle, self._idle_since = 0, now

    def _data(self, call: Call, data: bytes, begin: int, end: int, flags: int) -> None:
        if call.heard_all:
            raise Wrong(frames.STREAM_CLOSED, "data behind the end of a stream")
        call.heard += end - begin
        if call.heard > _REFILL:
            self.out.append(frames.window_update(call.stream, call.heard))
            call.heard = 0
        if flags & frames.PADDED:
            begin, end = frames.unpadded(data, begin, end)
        if end > begin:
            call.take(data, begin, end)
        elif not flags & frames.END_STREAM:
            self._spend()
        if flags & frames.END_STREAM:
            call.end_of_input()

    def _begin(self, data: bytes, begin: int, end: int, flags: int, number: int) -> None:
        if flags & frames.PADDED:
            begin, end = frames.unpadded(data, begin, end)
        if flags & frames.PRIORITISED:
            begin += _PRIORITY
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
        if not flags & frames.END_HEADERS:
            self._spend()
        else:
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
            if not flags & frames.END_STREAM or call.heard_all:
                raise Wrong(frames.PROTOCOL_ERROR, "a second head")
            call.end_of_input()
            return
        if number <= self._last:
            if flags & frames.END_STREAM and b":method" not in metadata:
                self._spend()  # trailers of a call that has ended here: they were on their way
                return
            raise Wrong(frames.STREAM_CLOSED, "a stream is begun twice")
        self._last = number
        if len(self.calls) >= _STREAMS:
            self._spend()
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
        elif len(self._known) < _KNOWN and len(block) <= _SHORT:
            self._known[block] = metadata
        return metadata

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._widen(number, payload)
        elif kind == frames.CONTINUATION:
            self._continue(flags, number, payload)
        elif kind == frames.RST_STREAM:
            self._reset(number, payload)
        else:
            self._spend()
            frames.check(kind, flags, number, payload)
            if kind == frames.SETTINGS and not flags & frames.ACK:
                self._settle(payload)
            elif kind == frames.PING and not flags & frames.ACK:
                self.out.append(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Wrong(frames.FRAME_SIZE_ERROR, "a reset of a size that is none")
        if not number or number > self._last:
            raise Wrong(frames.PROTOCOL_ERROR, "a reset of nothing")
        call = self.calls.pop(number, None)
        if call is None or not call.begun:
            self._spend()
        if call is not None:
            self._blocked.pop(number, None)
            call.lost()

    def _settle(self, payload: bytes) -> None:
        initial = self._initial_window
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                initial = value
            elif name == frames.MAX_FRAME_SIZE:
                self._frame_size = value
        self.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        more, self._initial_window = initial - self._initial_window, initial
        if not more:
            return
        for call in list(self.calls.values()):
            call.window += more
            if call.window > frames.MOST_WINDOW:
                raise Wrong(frames.FLOW_CONTROL_ERROR, "a window that is too large")
            if call.pending:
                self._send_pending(call)

    def _widen(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Wrong(frames.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of a size that is none")
        more = unpack_word(payload, 0)[0] & frames.MOST_WINDOW
        if not more:
            raise Wrong(frames.PROTOCOL_ERROR, "a window that is no wider")
        if not number:
            self._window += more
            if self._window > frames.MOST_WINDOW:
                raise Wrong(frames.FLOW_CONTROL_ERROR, "a window that is too large")
            blocked = self._blocked
            while blocked and self._window > 0:
                self._send_pending(blocked.pop(next(iter(blocked))))
            return
        if number > self._last:
            raise Wrong(frames.PROTOCOL_ERROR, "a window of a stream that was not begun")
        call = self.calls.get(number)
        if call is None:
            return
        call.window += more
        if call.window > frames.MOST_WINDOW:
            raise Wrong(frames.FLOW_CONTROL_ERROR, "a window that is too large")
        if call.pending:
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
            call.owed += size
            if len(call.pending) == 1:
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
        self._blocked.pop(call.stream, None)
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
                break
            room = min(call.window, self._window, self._frame_size)
            if room <= 0:
                if call.window > 0:
                    self._blocked[call.stream] = call
                break
            piece = payload[:room]
            if len(piece) == len(payload):
                pending.popleft()
            else:
                pending[0] = payload[room:], False
            call.window -= len(piece)
            call.owed -= len(piece)
            self._window -= len(piece)
            self.write(frames.frame(frames.DATA, 0, call.stream, piece))
        call.weigh()

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
        self._blocked.clear()
        for call in calls:
            call.lost()
