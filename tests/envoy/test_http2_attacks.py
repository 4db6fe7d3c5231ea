"""What a hostile peer may do to our HTTP/2: it costs itself its connection or its call, and us little."""

import random
from collections.abc import Callable
from itertools import pairwise
from time import process_time

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.envoy.health import Health
from headgate.envoy.http2 import frames
from headgate.envoy.http2.call import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Call, Receiver
from headgate.envoy.http2.connection import Connection
from headgate.envoy.http2.frames import END_HEADERS, END_STREAM, Wrong, frame
from headgate.proxy.held import Held

BEGIN = frames.PREFACE + frames.settings({})
BLOCK = Encoder().encode([(":method", "POST"), (":path", "/t.T/Echo"), ("content-type", "application/grpc")])
INDEXED = b"\x83\x84"  # :method POST, :path /, both of the static table
LIMIT = 100_000


class Heard(Receiver):
    """Says back what it hears; `log` is what it was told."""

    def __init__(self, call: Call, log: list[str]) -> None:
        self.call, self.log = call, log

    def message(self, data: bytes) -> None:
        self.log.append(f"message {len(data)}")
        self.call.send(data)

    def ended(self) -> None:
        self.log.append("ended")
        self.call.finish()

    def gone(self) -> None:
        self.log.append("gone")


class Deaf(Heard):
    """Does not end with its client."""

    def ended(self) -> None:
        self.log.append("ended")


class Peer:
    """One connection, without a socket."""

    def __init__(self, first: bytes = BEGIN, *, most: int = 1 << 30, receiver: type[Heard] = Heard) -> None:
        self.log: list[str] = []
        self.held = Held(most)
        self.now = 0.0
        methods: dict[bytes, Callable[[Call], Receiver]] = {
            b"/t.T/Echo": lambda call: receiver(call, self.log),
            b"/": lambda call: receiver(call, self.log),
        }
        self.connection = Connection(methods, LIMIT, self.held, lambda: None, lambda: self.now)
        self.say(first)

    def say(self, *said: bytes) -> bytes:
        self.connection.receive(b"".join(said))
        out, self.connection.out[:] = b"".join(self.connection.out), []
        return out

    def wrong(self, *said: bytes) -> int:
        with pytest.raises(Wrong) as caught:
            self.say(*said)
        return caught.value.code


def head(stream: int, flags: int = END_HEADERS, block: bytes = BLOCK) -> bytes:
    return frame(frames.HEADERS, flags, stream, block)


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(frames.DATA, flags, stream, payload)


def message(payload: bytes, *, compressed: int = 0, size: int | None = None) -> bytes:
    return bytes([compressed]) + (len(payload) if size is None else size).to_bytes(4, "big") + payload


def kinds(out: bytes) -> list[tuple[int, int, int]]:
    """Kind, flags and stream of each frame."""
    found, at = [], 0
    while at < len(out):
        high, low, kind, flags, number = frames.unpack_head(out, at)
        found.append((kind, flags, number))
        at += frames.HEAD + (high << 8 | low)
    return found


# What the protocol does not allow.

_RESET = frame(frames.RST_STREAM, 0, 1, b"\0\0\0\x08")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frame(frames.SETTINGS, 0, 1), frames.PROTOCOL_ERROR),
        (frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), frames.FRAME_SIZE_ERROR),
        (frame(frames.SETTINGS, 0, 0, bytes(5)), frames.FRAME_SIZE_ERROR),
        (frames.settings({frames.ENABLE_PUSH: 2}), frames.PROTOCOL_ERROR),
        (frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), frames.FLOW_CONTROL_ERROR),
        (frames.settings({frames.MAX_FRAME_SIZE: 100}), frames.PROTOCOL_ERROR),
        (frames.settings({frames.MAX_FRAME_SIZE: 1 << 24}), frames.PROTOCOL_ERROR),
        (frame(frames.PING, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
        (frame(frames.PING, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
        (frame(frames.GOAWAY, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
        (frame(frames.GOAWAY, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
        (frame(frames.PRIORITY, 0, 0, bytes(5)), frames.PROTOCOL_ERROR),
        (frame(frames.PRIORITY, 0, 1, bytes(4)), frames.FRAME_SIZE_ERROR),
        (frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), frames.PROTOCOL_ERROR),
        (frame(frames.RST_STREAM, 0, 1, bytes(4)), frames.PROTOCOL_ERROR),
        (head(1) + frame(frames.RST_STREAM, 0, 1, bytes(3)), frames.FRAME_SIZE_ERROR),
        (frames.window_update(1, 1), frames.PROTOCOL_ERROR),
        (frames.window_update(0, 0), frames.PROTOCOL_ERROR),
        (frames.window_update(0, frames.MOST_WINDOW), frames.FLOW_CONTROL_ERROR),
        (head(1) + frames.window_update(1, 0), frames.PROTOCOL_ERROR),
        (head(1) + frames.window_update(1, frames.MOST_WINDOW), frames.FLOW_CONTROL_ERROR),
        (
            head(1) + frames.window_update(1, 1 << 30) + frames.settings({frames.INITIAL_WINDOW_SIZE: 3 << 29}),
            frames.FLOW_CONTROL_ERROR,
        ),
        (data(1), frames.PROTOCOL_ERROR),
        (data(0), frames.PROTOCOL_ERROR),
        (head(1) + data(1, b"\5abcd", frames.PADDED), frames.PROTOCOL_ERROR),
        (head(1) + data(1, b"", frames.PADDED), frames.PROTOCOL_ERROR),
        (head(2), frames.PROTOCOL_ERROR),
        (head(0), frames.PROTOCOL_ERROR),
        (head(1, END_HEADERS | frames.PRIORITISED, b"\0\0"), frames.PROTOCOL_ERROR),
        (head(1) + head(1), frames.PROTOCOL_ERROR),
        (head(3) + head(1), frames.STREAM_CLOSED),
        (head(1) + _RESET + head(1), frames.STREAM_CLOSED),
        (head(1, 0) + data(1), frames.PROTOCOL_ERROR),
        (head(1, 0) + frame(frames.CONTINUATION, END_HEADERS, 3), frames.PROTOCOL_ERROR),
        (frame(frames.CONTINUATION, END_HEADERS, 1), frames.PROTOCOL_ERROR),
        (head(1, END_HEADERS, b"\x3f\xe2\x1f"), frames.COMPRESSION_ERROR),  # a table of 4097 bytes
        (head(1, END_HEADERS, b"\xff" * 100), frames.COMPRESSION_ERROR),
        (head(1, END_HEADERS, b"\x40"), frames.COMPRESSION_ERROR),
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", frames.FRAME_SIZE_ERROR),
    ],
)
def test_what_there_can_not_be_ends_the_connection(said: bytes, code: int) -> None:
    assert Peer().wrong(said) == code


def test_settings_come_first() -> None:
    assert Peer(frames.PREFACE).wrong(head(1)) == frames.PROTOCOL_ERROR
    assert Peer(frames.PREFACE).wrong(frame(frames.SETTINGS, frames.ACK, 0)) == frames.PROTOCOL_ERROR


def test_nothing_is_heard_behind_the_end_of_a_stream() -> None:
    for more in (data(1, message(b"b")), data(1, b"", END_STREAM)):
        peer = Peer(receiver=Deaf)
        peer.say(head(1), data(1, message(b"a"), END_STREAM))
        assert peer.wrong(more) == frames.STREAM_CLOSED
        assert peer.log == ["message 1", "ended"]


def test_the_reserved_bit_of_a_stream_says_nothing() -> None:
    peer = Peer()
    peer.say(head(1), data(1 | 1 << 31, message(b"a")))
    assert peer.log == ["message 1"]


def test_trailers_of_a_call_that_we_have_ended_were_on_their_way() -> None:
    peer = Peer()
    peer.say(head(1), data(1, message(b"", compressed=1)))
    trailers = Encoder().encode([("x-checksum", "1")])
    assert peer.say(head(1, END_HEADERS | END_STREAM, trailers)) == b""
    peer.say(head(3), data(3, message(b"a")))
    assert peer.log == ["gone", "message 1"]


# Messages.


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (data(1, message(b"a", compressed=1)), UNIMPLEMENTED),
        (data(1, message(b"", size=LIMIT + 1)), RESOURCE_EXHAUSTED),
        (data(1, message(b"abc", size=9), END_STREAM), INTERNAL),
        (data(1, b"\0\0", END_STREAM), INTERNAL),
    ],
)
def test_whose_call_ends_by_no_doing_of_its_own_is_told(said: bytes, status: int) -> None:
    """Else what it has begun would go on for ever."""
    peer = Peer()
    assert b"grpc-status\x01%d" % status in peer.say(head(1), said).replace(b"\x02", b"\x01")
    assert peer.log == ["gone"]
    assert not peer.connection.calls
    assert peer.held.total == 0


def test_parts_of_messages_count_as_held_and_there_is_an_end_to_it() -> None:
    peer = Peer(most=50_000)
    part = message(b"x" * 10_000, size=90_000)
    for stream in range(1, 40, 2):
        peer.say(head(stream), data(stream, part))
        assert peer.held.total <= 50_000
    assert peer.log == ["gone"] * 16  # four of twenty fit
    peer.say(*(frame(frames.RST_STREAM, 0, stream, bytes(4)) for stream in range(1, 40, 2)))
    assert peer.held.total == 0


def test_what_a_peer_does_not_take_counts_as_held_and_there_is_an_end_to_it() -> None:
    peer = Peer(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), most=50_000)
    for stream in range(1, 40, 2):
        peer.say(head(stream), data(stream, message(b"x" * 10_000)))
        assert peer.held.total <= 50_000
    assert len(peer.connection.calls) == 4
    out = peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 65_535}))
    assert sum(kind == frames.DATA for kind, _, _ in kinds(out)) == 4
    assert peer.held.total == 0
    peer.connection.lost()
    assert peer.log.count("gone") == 20


def test_what_is_owed_to_a_stream_that_is_reset_is_let_go_of() -> None:
    peer = Peer(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 10}))
    peer.say(head(1), data(1, message(b"x" * 1000)))
    assert peer.held.total > 900
    assert peer.say(_RESET, frames.window_update(0, 1000), frames.window_update(1, 1000)) == b""
    assert peer.held.total == 0


def test_a_long_stream_does_not_run_out_of_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.envoy.http2.connection._REFILL", 1000)
    peer = Peer()
    out = peer.say(head(1), *(data(1, message(b"x" * 300)) for _ in range(4)))
    assert [number for kind, _, number in kinds(out) if kind == frames.WINDOW_UPDATE] == [1, 0]


# Floods.


@pytest.mark.parametrize(
    "said",
    [
        frame(frames.PING, 0, 0, bytes(8)),
        frame(frames.PING, frames.ACK, 0, bytes(8)),
        frames.settings({}),
        frame(frames.PRIORITY, 0, 5, bytes(5)),
        frame(0xBB, 0, 0),
        data(1),
        data(1, b"\0", frames.PADDED),
        frame(frames.RST_STREAM, 0, 1, bytes(4)),
    ],
)
def test_frames_that_say_nothing_are_too_many_at_some_time(said: bytes) -> None:
    peer = Peer()
    peer.say(head(1))
    assert peer.wrong(said * 10_000) == frames.ENHANCE_YOUR_CALM


def test_a_peer_that_pings_for_weeks_may() -> None:
    peer = Peer()
    for _ in range(300):
        peer.now += 1.0
        peer.say(frame(frames.PING, 0, 0, bytes(8)) * 100)


def test_rapid_resets_are_too_many_at_some_time_and_leave_nothing() -> None:
    peer = Peer()
    many = b"".join(
        head(s, END_HEADERS, INDEXED) + frame(frames.RST_STREAM, 0, s, bytes(4)) for s in range(1, 20_003, 2)
    )
    assert peer.wrong(many) == frames.ENHANCE_YOUR_CALM
    assert set(peer.log) == {"gone"}
    assert not peer.connection.calls


def test_heads_that_go_on_and_on_end() -> None:
    assert Peer().wrong(head(1, 0), frame(frames.CONTINUATION, 0, 1) * 10_000) == frames.ENHANCE_YOUR_CALM
    assert Peer().wrong(head(1, 0), frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 5) == frames.ENHANCE_YOUR_CALM


def test_long_heads_are_not_remembered() -> None:
    peer = Peer()
    for stream in range(1, 99, 2):
        peer.say(head(stream, END_HEADERS | END_STREAM, INDEXED + b"\x90" * (100 + stream)))
    assert not peer.connection._known


def test_streams_are_counted() -> None:
    peer = Peer()
    out = peer.say(*(head(stream, END_HEADERS, INDEXED) for stream in range(1, 18_001, 2)))
    assert len(peer.connection.calls) == 8192
    assert kinds(out)[-1][0] == frames.RST_STREAM


def test_windows_of_many_streams_cost_what_they_bring() -> None:
    """Each SETTINGS, and each WINDOW_UPDATE, looked at each call: some bytes cost seconds."""
    peer = Peer(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 1}))
    for stream in range(1, 4001, 2):
        peer.say(head(stream, END_HEADERS, INDEXED), data(stream, message(b"ab")))
    began = process_time()
    peer.say(frames.window_update(0, 1) * 5000)
    pairs_ = b"".join(frames.settings({frames.INITIAL_WINDOW_SIZE: value})[9:] for value in (1, 2) * 1000)
    peer.say(frame(frames.SETTINGS, 0, 0, pairs_))
    assert process_time() - began < 0.5


def test_a_number_without_end_in_a_probe_is_short_work() -> None:
    health = Health(("",), lambda: True)
    began = process_time()
    connection = Connection(health.methods, 1 << 20, Held(1 << 30), lambda: None)
    path = Encoder().encode([(":method", "POST"), (":path", "/grpc.health.v1.Health/Check")])
    long = message(b"\x0a" + b"\xff" * 200_000)
    pieces = [data(1, long[at : at + 16_000]) for at in range(0, len(long), 16_000)]
    connection.receive(b"".join([BEGIN, head(1, END_HEADERS, path), *pieces]))
    assert process_time() - began < 0.2
    assert not connection.calls


# Any bytes.


def _dice_frame(dice: random.Random) -> bytes:
    stream = dice.choice((0, 1, 1, 1, 2, 3, 3, 5, 7, 1 << 31 | 1))
    flags = dice.choice((0, 1, 4, 4, 4, 5, 5, 8, 12, 0x2D))
    kind = dice.choice((0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 11))
    part = message(dice.randbytes(dice.randrange(40)), compressed=dice.random() < 0.05)
    payload = dice.choice(
        (
            *(BLOCK, BLOCK, part, part, part + part, part[: dice.randrange(len(part) + 1)], b"", bytes(4), bytes(8)),
            *(dice.randbytes(dice.randrange(20)), b"\0\0\0\1", b"\0\4\0\0\0\7", b"\0\4\0\0\0\0", b"\x7f\xff\xff\xff"),
        )
    )
    return frame(kind, flags, stream, payload)


def _proper(dice: random.Random) -> bytes:
    """One that keeps the connection, mostly, so that what follows is looked at."""
    stream = dice.choice((1, 3, 5, 7))
    part = message(dice.randbytes(dice.randrange(60)))
    cut = dice.randrange(len(part) + 1)
    window = dice.choice((0, 1, 7, 1000))
    choices = (
        *(data(stream, part), data(stream, part[:cut]), data(stream, part[cut:]), frames.window_update(0, 1 + window)),
        *(frames.window_update(stream, 1 + window), frames.settings({frames.INITIAL_WINDOW_SIZE: window})),
        *(frame(frames.RST_STREAM, 0, stream, bytes(4)), frame(frames.PING, 0, 0, bytes(8)), data(stream, b"", 0)),
    )
    return dice.choice(choices)


def _bytes(seed: int) -> bytes:
    dice = random.Random(seed)
    heads = b"".join(head(stream) for stream in (1, 3, 5, 7))
    proper = b"".join(_proper(dice) for _ in range(dice.randrange(30)))
    return heads + proper + b"".join(_dice_frame(dice) for _ in range(dice.randrange(6)))


def _outcome(pieces: list[bytes]) -> tuple[list[str], bytes, int | None]:
    peer, out, code = Peer(most=2_000), b"", None
    try:
        for piece in pieces:
            out += peer.say(piece)
            assert peer.held.total <= 2_000 + len(piece)
    except Wrong as error:
        out += b"".join(peer.connection.out)
        peer.connection.refuse(error)
        code = error.code
    heard = list(peer.log)
    peer.connection.lost()
    assert peer.log.count("gone") <= 8
    assert peer.held.total == 0
    assert len(peer.connection._rest) <= frames.HEAD + frames.LARGEST
    return heard, out, code


def test_random_frames_raise_what_is_documented_and_leave_nothing() -> None:
    codes = {_outcome([_bytes(seed)])[2] for seed in range(350)}
    assert codes >= {None, frames.PROTOCOL_ERROR, frames.FRAME_SIZE_ERROR, frames.FLOW_CONTROL_ERROR}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 5000), max_size=12))
def test_how_any_bytes_were_cut_does_not_matter(seed: int, cuts: list[int]) -> None:
    said = _bytes(seed)
    places = [0, *sorted({cut % (len(said) + 1) for cut in cuts}), len(said)]
    assert _outcome([said[a:b] for a, b in pairwise(places)]) == _outcome([said])
