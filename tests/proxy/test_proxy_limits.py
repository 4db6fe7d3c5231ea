"""What one client may take: bytes, counts and time."""

import asyncio

import pytest
from rig import Rig, eventually, run
from wire import GET, Request, echo, hang, ok, post

from headgate.proxy.plane import Bounds


@pytest.mark.parametrize("size", [1 << 20, 10 << 20])
def test_a_big_body_goes_through(size):
    async def scenario(rig: Rig):
        async def count(request: Request):
            await request.reply(b"%d" % len(request.body))

        await rig.backend(count)
        client = await rig.client()
        await client.send(post(b"x" * size))
        assert (await client.answer()).body == b"%d" % size
        assert rig.records[0].bytes_in == size

    run(scenario)


def test_a_body_that_is_too_big_is_refused_before_it_comes():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        client = await rig.client()
        await client.send(b"POST / HTTP/1.1\r\nhost: gw\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n")
        reply = await client.answer()
        assert reply.status == 413
        assert reply.error["message"] == "The body is larger than 1000 bytes."
        assert reply.headers["connection"] == "close"
        assert await client.ended()
        assert not backend.requests

    run(scenario, bounds=Bounds(body=1000))


def test_a_client_that_sends_too_much_still_reads_why():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        chunked = b"POST / HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n" + b"186A0\r\n%b\r\n" % (
            b"x" * 100_000
        )
        for raw in (post(b"x" * (10 << 20)), chunked * 1 + b"186A0\r\n%b\r\n" % (b"x" * 100_000) * 50):
            client = await rig.client()
            sending = asyncio.create_task(client.send(raw))
            assert (await client.answer()).status == 413
            await sending
            assert await client.ended()
            await client.close()

    run(scenario, bounds=Bounds(body=1000))


def test_chunks_of_one_byte_are_fine_and_endless_extensions_are_not():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        head = b"POST / HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n"
        assert (await rig.ask(head + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")).status == 200
        assert len(backend.requests[0].body) == 100_000
        client = await rig.client()
        await client.send(head + b"1;" + b"x" * 200_000)
        assert (await client.answer()).status == 400

    run(scenario)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /%b HTTP/1.1\r\nhost: gw\r\n\r\n" % (b"x" * 40_000), 414),
        (b"GET / HTTP/1.1\r\nhost: gw\r\nx: %b\r\n\r\n" % (b"x" * 40_000), 431),
        (b"GET / HTTP/1.1\r\nhost: gw\r\nx: %b" % (b"x" * 400_000), 431),
        (b"GET / HTTP/1.1\r\nhost: gw\r\n%b\r\n" % (b"x: y\r\n" * 101), 431),
    ],
)
def test_a_head_that_is_too_big_is_refused(raw, status):
    async def scenario(rig: Rig):
        await rig.backend(ok)
        client = await rig.client()
        await client.send(raw)
        reply = await client.answer()
        assert reply.status == status
        assert reply.error["type"] == "invalid_request_error"
        assert await client.ended()

    run(scenario)


def test_a_slow_head_gets_408():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        client = await rig.client()
        await client.send(GET)
        await client.answer()
        drip = asyncio.create_task(dripping(client, b"GET / HTTP/1.1\r\nhost: gw\r\nx: " + b"x" * 1000))
        reply = await client.answer()
        drip.cancel()
        assert (reply.status, reply.error["type"]) == (408, "timeout_error")
        assert await client.ended()
        assert rig.records[-1].status == 408

    run(scenario, bounds=Bounds(head_s=0.3))


async def dripping(client, data: bytes) -> None:
    for byte in range(len(data)):
        await client.send(data[byte : byte + 1])
        await asyncio.sleep(0.02)


def test_a_slow_body_gets_408_and_one_that_goes_on_does_not():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        slow = await rig.client()
        await slow.send(b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 30\r\n\r\nabc")
        steady = await rig.client()
        await steady.send(b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 30\r\n\r\n")
        await dripping(steady, b"x" * 30)
        assert (await steady.answer()).status == 200
        reply = await slow.answer()
        assert reply.status == 408
        assert "body" in reply.error["message"]

    run(scenario, bounds=Bounds(body_s=0.4))


def test_an_idle_connection_is_closed_without_a_word():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        fresh, used = await rig.client(), await rig.client()
        await used.send(GET)
        await used.answer()
        assert await fresh.ended()
        assert await used.ended()

    run(scenario, bounds=Bounds(keep_alive_s=0.3))


def test_a_client_that_does_not_listen_to_its_refusal_is_cut_off():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        client = await rig.client()
        await client.send(b"garbage\r\n\r\n")
        assert (await client.answer()).status == 400
        await eventually(lambda: not rig.plane.connections)

    run(scenario, bounds=Bounds(linger_s=0.2))


def test_a_request_that_its_client_leaves_half_said_leaves_nothing():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        for part in (b"GET", b"GET / HTTP/1.1\r\nhost", b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 5\r\n\r\nab"):
            client = await rig.client()
            await client.send(part)
            await eventually(lambda: rig.plane.connections)
            await client.close()
            await eventually(lambda: not rig.plane.connections)
        assert not backend.requests

    run(scenario)


def test_a_client_may_not_pile_up_requests():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        client = await rig.client()
        await client.send(GET)
        await eventually(lambda: backend.requests)
        sent = 0
        while sent < (256 << 20):
            client.writer.write(post(b"x" * (1 << 20)))
            sent += 1 << 20
            try:
                await asyncio.wait_for(client.writer.drain(), 0.5)
            except TimeoutError:
                break
        assert sent < (32 << 20), "the gateway took all of it"
        client.reset()

    run(scenario, timeout_s=2.0)
