"""gRPC over our own HTTP/2: against gRPC's own client, and against bytes that no client would send."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import grpc
import pytest
import uvloop
from grpc import aio
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from rig import eventually

from headgate.envoy.health import Health
from headgate.envoy.http2 import frames
from headgate.envoy.http2.call import OK, RESOURCE_EXHAUSTED, Call, Receiver
from headgate.envoy.http2.connection import Connection
from headgate.envoy.http2.frames import Wrong
from headgate.envoy.http2.server import Server
from headgate.proxy.held import Held


class Echo(Receiver):
    """Says back what it hears, and ends when the client does. `x` ends it with an error."""

    def __init__(self, call: Call, lost: list[str]) -> None:
        self.call, self.lost = call, lost

    def message(self, data: bytes) -> None:
        if data == b"x":
            self.call.finish(RESOURCE_EXHAUSTED, "enough: 100 %")
            return
        self.call.send(data)

    def ended(self) -> None:
        self.call.finish(OK)

    def gone(self) -> None:
        self.lost.append("gone")


def serving(scenario: Callable[[aio.Channel, list[str], Server], Any], limit: int = 32 << 20) -> None:
    async def main() -> None:
        mistakes: list[str] = []
        lost: list[str] = []
        server = Server(
            {b"/t.T/Echo": lambda call: Echo(call, lost)},
            limit,
            Held(1 << 30),
            lambda text, error: mistakes.append(f"{error!r}"),
        )
        await server.listen("127.0.0.1", 0)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        async with aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            await asyncio.wait_for(scenario(channel, lost, server), 30)
        await server.close()
        assert mistakes == []

    uvloop.run(main())


def test_messages_of_all_sizes_come_back_whole_and_in_order() -> None:
    sizes = (0, 1, 16_383, 16_384, 16_385, 62_000, 1 << 20, 5 << 20)

    async def scenario(channel: aio.Channel, lost: list[str], server: Server) -> None:
        call = channel.stream_stream("/t.T/Echo")()
        for size in sizes:
            data = bytes([size % 251]) * size
            await call.write(data)
            assert await call.read() == data
        for number in range(50):
            await call.write(b"%d" % number)
        assert [await call.read() for _ in range(50)] == [b"%d" % number for number in range(50)]
        await call.done_writing()
        assert await call.read() is aio.EOF
        assert await call.code() == grpc.StatusCode.OK
        assert server.calls == 0

    serving(scenario)


def test_many_calls_at_once_do_not_get_mixed_up() -> None:
    async def one(channel: aio.Channel, number: int) -> None:
        call = channel.stream_stream("/t.T/Echo")()
        for turn in range(5):
            data = b"%d/%d/" % (number, turn) + b"z" * (number * 997)
            await call.write(data)
            assert await call.read() == data
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK

    async def scenario(channel: aio.Channel, lost: list[str], server: Server) -> None:
        await asyncio.gather(*(one(channel, number) for number in range(60)))

    serving(scenario)


def test_errors_have_their_code_and_their_text() -> None:
    async def scenario(channel: aio.Channel, lost: list[str], server: Server) -> None:
        call = channel.stream_stream("/t.T/Echo")()
        await call.write(b"x")
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "enough: 100 %"
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Nothing")(b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        call = channel.stream_stream("/t.T/Echo")()
        await call.write(b"y" * 5000)
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    serving(scenario, limit=4096)


def test_a_call_that_is_cancelled_is_told_of() -> None:
    async def scenario(channel: aio.Channel, lost: list[str], server: Server) -> None:
        call = channel.stream_stream("/t.T/Echo")()
        await call.write(b"a")
        await call.read()
        call.cancel()
        await eventually(lambda: lost)
        assert server.calls == 0

    serving(scenario)


def test_calls_go_on_after_the_peer_was_asked_to_make_no_more() -> None:
    async def scenario(channel: aio.Channel, lost: list[str], server: Server) -> None:
        before = channel.stream_stream("/t.T/Echo")()
        await before.write(b"a")
        assert await before.read() == b"a"
        server.leave()
        await before.write(b"b")
        assert await before.read() == b"b"
        after = channel.stream_stream("/t.T/Echo")()  # on another connection
        await after.write(b"c")
        assert await after.read() == b"c"
        await before.done_writing()
        assert await before.code() == grpc.StatusCode.OK

    serving(scenario)


def test_health_is_told_when_asked_and_when_it_changes() -> None:
    ready = False

    async def main() -> None:
        nonlocal ready
        health = Health(("", "readiness"), lambda: ready)
        server = Server(health.methods, 1 << 20, Held(1 << 30), lambda text, error: pytest.fail(repr(error)))
        await server.listen("127.0.0.1", 0)
        async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await check(b"") == b"\x08\x02"
            assert await check(b"\x0a\x08liveness") == b"\x08\x01"
            with pytest.raises(aio.AioRpcError) as caught:
                await check(b"\x0a\x07unknown")
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x09readiness")
            unknown = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x07unknown")
            assert await watch.read() == b"\x08\x02"
            assert await unknown.read() == b"\x08\x03"
            ready = True
            health.changed()
            assert await watch.read() == b"\x08\x01"
            assert await check(b"\x0a\x09readiness") == b"\x08\x01"
        await server.close()

    uvloop.run(asyncio.wait_for(main(), 20))


# Bytes.


def _session() -> bytes:
    """Two calls as a client sends them, with padding, a head in two parts, and a frame of a kind that nobody knows."""
    head = Encoder().encode([(":method", "POST"), (":path", "/t.T/Echo"), ("content-type", "application/grpc")])
    message = b"\0\0\0\0\3abc"
    return b"".join(
        [
            frames.PREFACE,
            frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}),
            frames.frame(frames.HEADERS, 0, 1, head[:5]),
            frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, head[5:]),
            frames.frame(frames.DATA, 0, 1, message[:4]),
            frames.frame(frames.DATA, frames.PADDED, 1, b"\2" + message[4:] + b"\0\0"),
            frames.frame(0xBB, 7, 1, b"whatever"),
            frames.frame(frames.PING, 0, 0, b"12345678"),
            frames.window_update(0, 1000),
            frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PRIORITISED, 3, b"\0\0\0\0\1" + head),
            frames.frame(frames.DATA, frames.END_STREAM, 3, message * 2),
            frames.frame(frames.DATA, frames.END_STREAM, 1, b""),
        ]
    )


SESSION = _session()


def _received(pieces: list[bytes]) -> bytes:
    connection = Connection({b"/t.T/Echo": lambda call: Echo(call, [])}, 1 << 20, Held(1 << 30), lambda: None)
    for piece in pieces:
        connection.receive(piece)
    assert not connection.calls
    return b"".join(connection.out)


@given(st.lists(st.integers(1, len(SESSION) - 1), max_size=20))
def test_how_the_bytes_were_cut_does_not_matter(cuts: list[int]) -> None:
    places = [0, *sorted(set(cuts)), len(SESSION)]
    pieces = [SESSION[a:b] for a, b in pairwise(places)]
    assert _received(pieces) == _received([SESSION])


@given(st.data())
def test_broken_bytes_end_the_connection_and_nothing_else(data: st.DataObject) -> None:
    broken = bytearray(SESSION)
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    lost: list[str] = []
    held = Held(1 << 30)
    connection = Connection({b"/t.T/Echo": lambda call: Echo(call, lost)}, 1 << 20, held, lambda: None)
    try:
        connection.receive(bytes(broken))
    except Wrong as error:
        connection.refuse(error)
    connection.lost()
    assert len(lost) <= 2  # each call once
    assert held.total == 0


def test_a_peer_that_takes_little_at_a_time_gets_all_of_it() -> None:
    head = Encoder().encode([(":method", "POST"), (":path", "/t.T/Echo"), ("content-type", "application/grpc")])
    connection = Connection({b"/t.T/Echo": lambda call: Echo(call, [])}, 1 << 20, Held(1 << 30), lambda: None)
    connection.receive(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 100}))
    message = b"\0" + (50_000).to_bytes(4, "big") + b"m" * 50_000
    connection.receive(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, head))
    for at in range(0, len(message), 16_000):
        end = frames.END_STREAM if at + 16_000 >= len(message) else 0
        connection.receive(frames.frame(frames.DATA, end, 1, message[at : at + 16_000]))
    got = bytearray()
    while True:
        out, connection.out[:] = b"".join(connection.out), []
        sent, ended = _data_of(out)
        got += sent
        if ended:
            break
        connection.receive(frames.window_update(1, 777) + frames.window_update(0, 777))
    assert bytes(got) == message


def _data_of(out: bytes) -> tuple[bytes, bool]:
    found, ended, at = bytearray(), False, 0
    while at < len(out):
        high, low, kind, flags, _ = frames.unpack_head(out, at)
        size = high << 8 | low
        if kind == frames.DATA:
            found += out[at + 9 : at + 9 + size]
        ended |= kind == frames.HEADERS and bool(flags & frames.END_STREAM)
        at += 9 + size
    return bytes(found), ended
