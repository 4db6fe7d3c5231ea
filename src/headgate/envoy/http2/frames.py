"""HTTP/2 frames (RFC 9113 §4, §6): their numbers, and those that a server sends."""

from struct import Struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20

# Errors, §7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 0xB

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9  # bytes before each payload
LARGEST = 1 << 14  # payload, as long as a peer has not said otherwise
MOST_WINDOW = (1 << 31) - 1
MOST_STREAM = (1 << 31) - 1
USUAL_WINDOW = (1 << 16) - 1

# Settings, §6.5.2.
ENABLE_PUSH = 2
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(3, 7)

_head = Struct(">HBBBL")
_setting = Struct(">HL")
_word = Struct(">L")
unpack_head = _head.unpack_from
unpack_word = _word.unpack_from


class Wrong(Exception):
    """The peer breaks the protocol: the connection ends with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    size = len(payload)
    return b"".join((_head.pack(size >> 8, size & 255, kind, flags, stream), payload))


def settings(pairs: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join([_setting.pack(*pair) for pair in pairs.items()]))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Raises Wrong for values that there can't be, §6.5.2."""
    if len(payload) % 6:
        raise Wrong(FRAME_SIZE_ERROR, "a SETTINGS frame of a size that is none")
    pairs = list(_setting.iter_unpack(payload))
    for name, value in pairs:
        if name == INITIAL_WINDOW_SIZE and value > MOST_WINDOW:
            raise Wrong(FLOW_CONTROL_ERROR, "a window that is too large")
        if name == MAX_FRAME_SIZE and not LARGEST <= value < 1 << 24:
            raise Wrong(PROTOCOL_ERROR, "a frame size that is none")
        if name == ENABLE_PUSH and value > 1:
            raise Wrong(PROTOCOL_ERROR, "neither push nor none")
    return pairs


def check(kind: int, flags: int, stream: int, payload: bytes) -> None:
    """Frames that are no stream's matter to us. Raises Wrong for what there can't be; kinds that nobody knows can."""
    size = len(payload)
    if kind == PUSH_PROMISE:
        raise Wrong(PROTOCOL_ERROR, "a client can't push")
    if bool(stream) is (kind in (SETTINGS, PING, GOAWAY)) and kind <= GOAWAY:
        raise Wrong(PROTOCOL_ERROR, "a frame of a stream that can't be its")
    if kind == SETTINGS and flags & ACK and size:
        raise Wrong(FRAME_SIZE_ERROR, "an acknowledgement that says something")
    if (kind == PING and size != 8) or (kind == GOAWAY and size < 8) or (kind == PRIORITY and size != 5):
        raise Wrong(FRAME_SIZE_ERROR, f"a frame of {size} bytes, which is no size of its kind")


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _word.pack(more))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _word.pack(code))


def goaway(last: int, code: int, why: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _word.pack(last) + _word.pack(code) + why.encode()[:200])


def unpadded(data: bytes, begin: int, end: int) -> tuple[int, int]:
    """§6.1: the first byte of the payload says how many there are behind."""
    if begin >= end or data[begin] >= end - begin:
        raise Wrong(PROTOCOL_ERROR, "more padding than there is")
    return begin + 1, end - data[begin]
