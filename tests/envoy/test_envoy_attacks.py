"""What a hostile peer may tell an external processor, and a server that it does not read."""

import asyncio
import json
import random
import socket
from typing import Any

import pytest
import uvloop
from envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest
from google.protobuf.message import DecodeError
from hpack import Encoder
from rig import Rig, eventually
from turns import CHAT, HEAD, Process, pairs, pool

from headgate.envoy.gathering import Gathering
from headgate.envoy.http2 import frames
from headgate.envoy.http2.call import Call, Receiver
from headgate.envoy.http2.server import Server
from headgate.envoy.messages import BUFFERED, BUFFERED_PARTIAL, FULL_DUPLEX, NONE, STREAMED, Disorder, Immediate, Modes
from headgate.envoy.reading import read
from headgate.proxy.held import Held
from headgate.proxy.plane import Bounds


def waiting(mode: int, **bounds: int) -> Process:
    """One whose pool has no endpoint that is ready."""
    play = pool(endpoints=1)
    ready = play.views["llama"].standing
    none = [type(one)(one.name, one.address, one.port, ready=False) for one in ready.endpoints]
    play.views["llama"].standing = type(ready)("llama", none, {}, play.ledger, play.index)
    return Process(play, modes=Modes(mode, FULL_DUPLEX), rig=Rig(bounds=Bounds(**bounds)), wait_s=30.0)


def test_a_request_has_one_head() -> None:
    process = Process(pool())
    process.request()
    with pytest.raises(Disorder):
        process.feed("request_headers", pairs(HEAD), end=True)
    process.turn.ended()
    assert len(process.records) == 1
    assert process.play.ledger.total() == 0


def test_trailers_without_a_head_are_no_mistake_of_ours() -> None:
    with pytest.raises(Disorder):
        Process(pool()).feed("request_trailers", end=True)


def test_header_values_of_older_proxies_are_utf_8() -> None:
    value = HttpHeaders(headers=HeaderMap(headers=[HeaderValue(key="x-price", value="5 €")]))
    message = read(ProcessingRequest(request_headers=value).SerializeToString())
    assert message is not None
    assert message.headers == [(b"x-price", "5 €".encode())]


def test_an_attribute_without_a_value_is_no_mistake_of_ours() -> None:
    request = ProcessingRequest(request_headers=HttpHeaders())
    request.attributes["envoy.filters.http.ext_proc"].fields["request.path"].SetInParent()
    with pytest.raises(DecodeError):
        read(request.SerializeToString())


@pytest.mark.parametrize(
    "told", [{":status": "abc"}, {":status": "²00"}, {}, {":status": "200", "content-length": "x"}]
)
def test_answers_that_can_not_be_are_no_mistake_of_ours(told: dict[str, str]) -> None:
    process = Process(pool())
    process.request()
    with pytest.raises(Disorder):
        process.feed("response_headers", pairs(told))
    process.turn.ended()
    assert process.play.ledger.total() == 0


def test_small_pieces_count_for_what_they_take() -> None:
    process = Process(pool())
    held = process.plane.held
    gathering = Gathering(process.plane)
    for _ in range(10_000):
        gathering.add(b"x")
    assert held.total > 400_000
    gathering.let_go()
    assert held.total == 0


def test_a_buffered_body_is_held_while_its_request_waits() -> None:
    async def scenario() -> None:
        process = waiting(BUFFERED)
        process.request({**CHAT, "user": "x" * 100_000})
        assert process.turn.waits
        assert process.plane.held.total > 100_000
        process.turn.ended()
        assert process.plane.held.total == 0

    asyncio.run(scenario())


def test_a_buffered_body_that_is_more_than_may_be_held_is_refused() -> None:
    process = Process(pool(), modes=Modes(BUFFERED, FULL_DUPLEX), rig=Rig(bounds=Bounds(held=50_000)))
    answer = process.request({**CHAT, "user": "x" * 100_000})[-1]
    assert isinstance(answer, Immediate)
    assert answer.status == 503
    assert process.plane.held.total == 0


def test_what_comes_while_a_request_waits_has_an_end() -> None:
    async def scenario() -> None:
        process = waiting(STREAMED, body=100_000)
        process.head()
        assert process.turn.waits
        answers = [answer for _ in range(12) for answer in process.feed("request_body", data=b"x" * 10_000)]
        assert [answer.status for answer in answers if isinstance(answer, Immediate)] == [413]
        assert process.turn.over
        assert process.plane.held.total == 0
        assert len(process.records) == 1

    asyncio.run(scenario())


def test_a_second_head_while_a_request_waits_is_told_of_at_once() -> None:
    async def scenario() -> None:
        process = waiting(FULL_DUPLEX)
        process.request()
        with pytest.raises(Disorder):
            process.feed("request_headers", pairs(HEAD))
        process.feed("request_trailers", end=True)
        with pytest.raises(Disorder):
            process.feed("request_trailers", end=True)
        process.turn.ended()

    asyncio.run(scenario())


# Sockets.


class Echo(Receiver):
    def __init__(self, call: Call) -> None:
        self.call = call

    def message(self, data: bytes) -> None:
        self.call.send(data)

    def ended(self) -> None:
        self.call.finish()

    def gone(self) -> None: ...


def attacked(scenario: Any) -> None:
    async def main() -> None:
        mistakes: list[Exception] = []
        held = Held(1 << 30)
        server = Server({b"/e": Echo}, 1 << 20, held, lambda text, error: mistakes.append(error))
        await server.listen("127.0.0.1", 0)
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            await asyncio.wait_for(scenario(client, server, held), 20)
        await eventually(lambda: not server.peers)
        assert held.total == 0
        assert mistakes == []
        await server.close()

    uvloop.run(main())


BEGIN = (
    frames.PREFACE
    + frames.settings({frames.INITIAL_WINDOW_SIZE: frames.MOST_WINDOW})
    + frames.window_update(0, frames.MOST_WINDOW - frames.USUAL_WINDOW)
    + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, Encoder().encode([(":method", "POST"), (":path", "/e")]))
)


def test_of_a_peer_that_does_not_read_nothing_more_is_read() -> None:
    one = frames.frame(frames.DATA, 0, 1, b"\0\0\0\x3f\xf0" + bytes(0x3FF0))

    async def scenario(client: socket.socket, server: Server, held: Held) -> None:
        loop = asyncio.get_running_loop()

        async def flood() -> None:
            await loop.sock_sendall(client, BEGIN)
            while True:
                await loop.sock_sendall(client, one * 16)

        flooding = asyncio.create_task(flood())
        await eventually(lambda: held.total > 1 << 20)
        before = -1
        while before != (before := held.total):  # until nothing moves
            for _ in range(250):
                await asyncio.sleep(0)
        assert held.total < 4 << 20
        flooding.cancel()
        while held.total:  # it reads after all
            await loop.sock_recv(client, 1 << 20)

    attacked(scenario)


def test_a_peer_that_breaks_the_protocol_and_does_not_read_is_gone_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.envoy.http2.server._PATIENCE_S", 0.01)
    one = frames.frame(frames.DATA, 0, 1, b"\0\0\0\x3f\xf0" + bytes(0x3FF0))

    async def scenario(client: socket.socket, server: Server, held: Held) -> None:
        await eventually(lambda: server.peers)
        (peer,) = server.peers
        peer.data_received(BEGIN + one * 1000)
        peer.data_received(frames.frame(frames.PING, 0, 1, bytes(8)))
        assert not peer.connection.calls
        await eventually(lambda: not server.peers)

    attacked(scenario)


# Any order.


def _any_order(seed: int) -> None:
    dice = random.Random(seed)
    mode = dice.choice((NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL, FULL_DUPLEX, 7))
    modes = Modes(mode, dice.choice((NONE, STREAMED, BUFFERED, FULL_DUPLEX)))
    process = waiting(mode) if dice.random() < 0.3 else Process(pool(), modes=modes)
    body = json.dumps(CHAT).encode()
    phases = ["request_headers", "request_body", "request_trailers", "response_headers", "response_body"]
    phases += ["response_trailers"]
    order = dice.choices(phases, k=dice.randrange(1, 9))
    if dice.random() < 0.8:
        order.insert(0, "request_headers")
    try:
        for phase in order:
            head = {**HEAD, "content-type": "application/json"} if phase == "request_headers" else {":status": "200"}
            data = dice.choice((b"", body, body[:9], b"{")) if phase.endswith("body") else b""
            process.feed(phase, pairs(head), data, end=dice.random() < 0.4, modes=dice.choice((modes, None)))
    except Disorder:
        pass
    process.turn.ended()
    assert process.play.ledger.total() == 0, order
    assert process.plane.held.total == 0, order
    assert len(process.records) <= 1, order


def test_messages_in_any_order_leave_nothing_and_are_no_mistake_of_ours() -> None:
    async def scenario() -> None:
        for seed in range(250):
            _any_order(seed)

    asyncio.run(scenario())
