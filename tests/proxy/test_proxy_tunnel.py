"""WebSockets: the handshake goes the way of any request, then bytes go both ways until either side ends it."""

import asyncio
import contextlib

import pytest
from rig import Rig, eventually, run
from wire import DEADLINE_S, GET, Client, Request, chunk, hang, ok, writes

from headgate.plan.plan import HeaderEdit, Rewrite
from headgate.proxy.plane import Bounds

SHAKE = (
    b"GET /chat?x=1 HTTP/1.1\r\nhost: gw\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-protocol: chat\r\nsec-websocket-extensions: permessage-deflate\r\norigin: http://gw\r\n\r\n"
)
GRANT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def echo(request: Request) -> None:
    """Grants it, and says back what it hears until the other side ends."""
    await request.write(GRANT)
    while data := await request.reader.read(1 << 16):
        await request.write(data)
    request.close()


async def shake(client: Client, raw: bytes = SHAKE) -> dict[str, str]:
    await client.send(raw)
    status, headers = await client.head()
    assert status == 101
    return dict(headers)


async def read(client: Client, count: int) -> bytes:
    return await asyncio.wait_for(client.reader.readexactly(count), DEADLINE_S)


@pytest.mark.parametrize("kind", ["service", "inference"])
def test_the_handshake_and_its_answer_are_passed_on(kind):
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        answer = await shake(client)
        assert (answer["connection"], answer["upgrade"]) == ("upgrade", "websocket")
        assert answer["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer["x-request-id"]
        assert not {"content-length", "transfer-encoding"} & set(answer)
        request = backend.requests[0]
        assert request.line == "GET /chat?x=1 HTTP/1.1"
        assert (request.headers["connection"], request.headers["upgrade"]) == ("upgrade", "websocket")
        sent = {"host": "gw", "sec-websocket-version": "13", "sec-websocket-protocol": "chat", "origin": "http://gw"}
        assert sent.items() <= request.headers.items()
        assert request.headers["x-forwarded-for"] == "127.0.0.1"
        assert not {"content-length", "transfer-encoding"} & set(request.headers)

    run(scenario, kind=kind)


def test_bytes_go_both_ways_and_are_counted_and_the_endpoint_is_busy_as_long():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        client = await rig.client()
        await shake(client)
        pieces = (b"x", b"\0\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"y" * 70_000, bytes(range(256)) * 8192)
        for data in pieces:
            await asyncio.gather(client.send(data), back := asyncio.create_task(read(client, len(data))))
            assert back.result() == data
        assert rig.ledger.total() == 1
        assert not rig.records
        await client.close()
        await eventually(lambda: rig.records)
        record, total = rig.records[0], sum(map(len, pieces))
        assert (record.status, record.error) == (101, "")
        assert (record.bytes_in, record.bytes_out) == (total, total)
        assert record.endpoint == "ns/b0"
        assert rig.ledger.total() == 0

    run(scenario)


def test_neither_side_has_to_wait_for_the_other_to_begin():
    async def talkative(request: Request):
        await request.write(GRANT + b"hello")
        await request.write(await request.reader.readexactly(5))
        request.close()

    async def scenario(rig: Rig):
        await rig.backend(talkative)
        client = await rig.client()
        await shake(client, SHAKE + b"early")
        assert await read(client, 10) == b"helloearly"
        assert await client.ended()

    run(scenario)


def test_a_handshake_may_be_cut_at_every_byte():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        for cut in range(1, len(SHAKE)):
            client = await rig.client()
            await client.send(SHAKE[:cut])
            await asyncio.sleep(0)
            await shake(client, SHAKE[cut:] + b"early")
            assert await read(client, 5) == b"early"
            await client.close()

    run(scenario)


def test_the_answer_to_a_handshake_may_be_cut_at_every_byte():
    raw = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + GRANT + b"hello"

    async def cut(request: Request):
        await request.write(raw[: request.number])
        await asyncio.sleep(0.001)
        await request.write(raw[request.number :])
        request.close()

    async def scenario(rig: Rig):
        backend = await rig.backend(cut)
        for number in range(len(raw)):
            client = await rig.client()
            await client.send(SHAKE)
            assert (await client.head())[0] == 103
            assert (await client.head())[0] == 101
            assert await read(client, 5) == b"hello"
            assert await client.ended()
            await client.close()
            assert len(backend.requests) == number + 1

    run(scenario)


def test_it_comes_after_the_requests_before_it():
    async def either(request: Request):
        await (echo(request) if "upgrade" in request.headers else ok(request))

    async def scenario(rig: Rig):
        await rig.backend(either)
        client = await rig.client()
        await client.send(GET + GET + SHAKE + b"early")
        assert [(await client.answer()).body for _ in range(2)] == [b"ok", b"ok"]
        assert (await client.head())[0] == 101
        assert await read(client, 5) == b"early"

    run(scenario)


# The end.


def test_when_the_server_ends_it_the_client_has_all_of_it():
    async def parting(request: Request):
        await request.write(GRANT)
        await request.write(b"z" * 1_000_000)
        request.close()

    async def scenario(rig: Rig):
        await rig.backend(parting)
        client = await rig.client()
        await shake(client)
        assert await read(client, 1_000_000) == b"z" * 1_000_000
        assert await client.ended()
        assert (rig.records[0].status, rig.records[0].error, rig.records[0].bytes_out) == (101, "", 1_000_000)

    run(scenario)


def test_when_the_client_ends_it_the_server_has_all_of_it():
    heard = b""

    async def listen(request: Request):
        nonlocal heard
        await request.write(GRANT)
        heard = await request.reader.read()
        request.close()

    async def scenario(rig: Rig):
        await rig.backend(listen)
        client = await rig.client()
        await shake(client)
        await client.send(b"z" * 1_000_000)
        await client.close()
        await eventually(lambda: len(heard) == 1_000_000)
        assert rig.records[0].error == ""

    run(scenario)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_ends_both_sides(who):
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        await shake(client)
        (client if who == "client" else backend.requests[0]).reset()
        await eventually(lambda: not backend.open and not rig.plane.connections)
        if who == "server":
            assert await client.ended()
            assert rig.records[0].error.startswith("reset")
        assert rig.records[0].status == 101

    run(scenario)


def test_a_client_that_leaves_before_it_is_granted_ends_it_too():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        client = await rig.client()
        await client.send(SHAKE + b"early")
        await eventually(lambda: backend.requests)
        client.reset()
        await eventually(lambda: not backend.open)
        assert rig.records[0].status == 499

    run(scenario)


# Slow ones.


def test_a_client_that_reads_slowly_makes_the_server_wait():
    total, sent = 64 << 20, 0

    async def flood(request: Request):
        nonlocal sent
        await request.write(GRANT)
        for _ in range(total >> 16):
            await request.write(b"x" * (1 << 16))
            sent += 1 << 16
        request.close()

    async def scenario(rig: Rig):
        await rig.backend(flood)
        client = await rig.client(receive_buffer=8192)
        await shake(client)
        client.writer.transport.pause_reading()
        await standing(lambda: sent)
        assert 0 < sent < total // 2, "the gateway (and the kernel) took it all"
        client.writer.transport.resume_reading()
        rest = total
        while rest:
            rest -= len(await asyncio.wait_for(client.reader.read(1 << 20), DEADLINE_S))
        assert await client.ended()

    run(scenario)


def test_a_server_that_reads_slowly_makes_the_client_wait():
    total, sent, heard = 64 << 20, 0, 0
    go = asyncio.Event()

    async def slow(request: Request):
        nonlocal heard
        await request.write(GRANT)
        request.writer.transport.pause_reading()
        await go.wait()
        request.writer.transport.resume_reading()
        while data := await request.reader.read(1 << 20):
            heard += len(data)

    async def scenario(rig: Rig):
        nonlocal sent
        await rig.backend(slow)
        client = await rig.client()
        await shake(client)

        async def flood() -> None:
            nonlocal sent
            for _ in range(total >> 16):
                await client.send(b"x" * (1 << 16))
                sent += 1 << 16

        flooding = asyncio.create_task(flood())
        await standing(lambda: sent)
        assert 0 < sent < total // 2, "the gateway (and the kernel) took it all"
        go.set()
        await flooding
        await eventually(lambda: heard == total)

    run(scenario)


async def standing(count) -> None:
    """Waits until nothing moves any more."""
    before = -1
    while before != count():
        before = count()
        await asyncio.sleep(0.2)


def test_a_client_that_says_much_before_it_is_granted_has_to_wait():
    go = asyncio.Event()

    async def late(request: Request):
        await go.wait()
        await echo(request)

    async def scenario(rig: Rig):
        await rig.backend(late)
        client = await rig.client()
        sending = asyncio.create_task(client.send(SHAKE + b"x" * (32 << 20)))
        (held,) = await _connections(rig)
        await standing(lambda: len(held._reader.early or b""))
        assert 0 < len(held._reader.early) < (1 << 20)
        go.set()
        assert (await client.head())[0] == 101
        assert await read(client, 32 << 20) == b"x" * (32 << 20)
        await sending

    run(scenario)


async def _connections(rig: Rig) -> list:
    await eventually(lambda: any(c._reader.early for c in rig.plane.connections))
    return list(rig.plane.connections)


def test_a_tunnel_in_which_nothing_moves_is_ended():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        await shake(client)
        for _ in range(4):  # while something does, it goes on
            await asyncio.sleep(0.15)
            await client.send(b"x")
            assert await read(client, 1) == b"x"
        assert await client.ended()
        await eventually(lambda: not backend.open)
        assert rig.records[0].error == "timeout: nothing came for 0.4 s"

    run(scenario, bounds=Bounds(silence_s=0.4))


def test_a_server_that_does_not_read_to_the_end_is_cut_off():
    go, over = asyncio.Event(), asyncio.Event()

    async def deaf(request: Request):
        await request.write(GRANT)
        request.writer.transport.pause_reading()
        await go.wait()
        request.writer.transport.resume_reading()
        with contextlib.suppress(ConnectionError):
            while await request.reader.read(1 << 20):
                pass
        over.set()

    async def scenario(rig: Rig):
        await rig.backend(deaf)
        client = await rig.client()
        await shake(client)
        flooding = asyncio.create_task(client.send(b"x" * (32 << 20)))
        await eventually(lambda: rig.records)
        assert rig.records[0].error.startswith("timeout")
        await asyncio.sleep(0.3)
        go.set()
        await asyncio.wait_for(over.wait(), DEADLINE_S)
        await flooding

    run(scenario, bounds=Bounds(silence_s=0.3, linger_s=0.1))


def test_times_are_for_the_answer_and_not_for_the_tunnel():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        client = await rig.client()
        await shake(client)
        await asyncio.sleep(0.5)
        await client.send(b"still here")
        assert await read(client, 10) == b"still here"

    run(scenario, timeout_s=0.3, backend_timeout_s=0.3)


def test_a_handshake_that_is_not_answered_in_time_gets_504():
    async def scenario(rig: Rig):
        await rig.backend(hang)
        client = await rig.client()
        await client.send(SHAKE)
        assert (await client.answer()).status == 504
        assert await client.ended()

    run(scenario, timeout_s=0.3)


def test_draining_lets_it_go_on_until_the_grace_is_over():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        await shake(client)
        draining = asyncio.create_task(rig.plane.drain(0.5))
        await asyncio.sleep(0.1)
        await client.send(b"still here")
        assert await read(client, 10) == b"still here"
        await draining
        assert await client.ended()
        await eventually(lambda: not backend.open)

    run(scenario)


# Those who do not grant it.


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 13\r\ncontent-length: 2\r\n\r\nno", 426, b"no"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"page") + b"0\r\n\r\n", 200, b"page"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b""),
    ],
)
def test_another_answer_is_relayed_and_nothing_behind_the_handshake_is_a_request(raw, status, body):
    async def scenario(rig: Rig):
        backend = await rig.backend(writes(raw))
        for behind in (b"", GET, GET * 100):
            client = await rig.client()
            await client.send(SHAKE + behind)
            reply = await client.answer()
            assert (reply.status, reply.body, reply.headers["connection"]) == (status, body, "close")
            assert await client.ended()
        assert {request.line for request in backend.requests} == {"GET /chat?x=1 HTTP/1.1"}
        assert len(backend.requests) == 3

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [GRANT.replace(b"websocket", b"h2c"), GRANT.replace(b"websocket", b"websocket, h2c"), b"HTTP/1.1 101\r\n\r\n\x81"],
)
def test_a_server_that_switches_to_something_else_is_none(raw):
    async def scenario(rig: Rig):
        await rig.backend(writes(raw))
        assert (await rig.ask(SHAKE)).status == 502

    run(scenario)


def test_a_server_that_does_not_answer_is_replaced():
    async def scenario(rig: Rig):
        rig.nobody()
        await rig.backend(lambda request: asyncio.sleep(0, request.reset()))
        await rig.backend(echo)
        client = await rig.client()
        await shake(client)
        await client.send(b"x")
        assert await read(client, 1) == b"x"
        await client.close()
        await eventually(lambda: rig.records)
        assert rig.records[0].endpoint == "ns/b2"

    run(scenario)


def test_an_old_client_can_not_ask_for_it():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        assert (await rig.ask(SHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"))).status == 200
        assert not {"upgrade", "connection"} & set(backend.requests[0].headers)

    run(scenario)


def test_a_route_rewrites_the_handshake_like_any_request_and_can_not_break_it():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        answer = await shake(client)
        assert answer["x-b"] == "2"
        request = backend.requests[0]
        assert (request.line, request.headers["x-a"]) == ("GET /inner?x=1 HTTP/1.1", "1")
        assert (request.headers["connection"], request.headers["upgrade"]) == ("upgrade", "websocket")

    run(
        scenario,
        rewrite=Rewrite(full="/inner"),
        request=HeaderEdit(set=(("x-a", "1"), ("connection", "close")), remove=("Upgrade", "Connection")),
        response=HeaderEdit(add=(("x-b", "2"),), remove=("upgrade",)),
    )
