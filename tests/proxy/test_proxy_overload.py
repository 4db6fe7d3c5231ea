"""More connections, or more bytes, than there may be: refused at once, counted, and over as soon as there are less."""

import asyncio

import pytest
from rig import Rig, eventually, run
from wire import CHAT, GET, SSE, Client, Request, chunk, echo, hang, ok, post

from headgate.proxy.plane import Bounds


def is_overloaded(reply) -> bool:
    return (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "overloaded", "1")


def test_a_connection_too_many_gets_503_and_the_next_one_is_served():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        first, second, third = [await rig.client() for _ in range(3)]
        for client in (first, second):
            await client.send(GET)
            assert (await client.answer()).status == 200
        await third.send(GET)
        reply = await third.answer()
        assert is_overloaded(reply)
        assert reply.headers["connection"] == "close"
        assert await third.ended()
        record = rig.records[-1]
        assert (record.status, record.refused) == (503, "overloaded")
        await first.close()
        await third.close()
        await eventually(lambda: len(rig.plane.connections) == 1)
        assert (await rig.ask(GET)).status == 200

    run(scenario, bounds=Bounds(connections=2))


def test_a_connection_too_many_that_asks_nothing_does_not_stay():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        keeps, goes = await rig.client(), await rig.client()
        assert await goes.ended()
        await keeps.send(GET)
        assert (await keeps.answer()).status == 200

    run(scenario, bounds=Bounds(connections=1, linger_s=0.2))


def test_so_many_connections_that_none_can_be_answered_are_turned_away_and_counted():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        clients = [await rig.client() for _ in range(40)]
        await eventually(lambda: rig.plane.turned_away == 40 - 2 - 16)
        await clients[0].send(GET)
        assert (await clients[0].answer()).status == 200

    run(scenario, bounds=Bounds(connections=2))


async def fill(rig: Rig) -> list[Client]:
    """Clients whose requests hang, until no more is let in."""
    clients = []
    while not rig.plane.held.over:
        client = await rig.client()
        clients.append(client)
        before = len(rig.backends[0].requests)
        await client.send(post(b"x" * 100_000))
        await eventually(lambda n=before: len(rig.backends[0].requests) > n or rig.plane.held.over)
    return clients


def test_when_bodies_are_too_many_bytes_requests_get_503_until_there_are_less():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        waiting = await fill(rig)
        assert len(waiting) >= 10
        kept = await rig.client()
        for raw in (GET, CHAT, GET):
            await kept.send(raw)
            assert is_overloaded(await kept.answer())
        records = [record for record in rig.records if record.peer and record.path in ("/a", "/v1/chat/completions")]
        assert {record.refused for record in records} == {"overloaded"}
        expecting = await rig.client()
        await expecting.send(b"POST / HTTP/1.1\r\nhost: gw\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert is_overloaded(await expecting.answer())
        for client in waiting[:3]:
            client.reset()
        await eventually(lambda: not rig.plane.held.over)
        backend.answer = ok
        await kept.send(GET)
        assert (await kept.answer()).status == 200
        for client in waiting[3:]:
            client.reset()

    run(scenario, bounds=Bounds(held=1_000_000))


@pytest.mark.parametrize("framing", ["length", "chunks", "known"])
def test_a_body_that_would_be_too_much_is_refused_while_it_comes(framing):
    async def scenario(rig: Rig):
        await rig.backend(ok)
        client = await rig.client()
        if framing == "known":  # a head that has been seen, twice
            for _ in range(3):
                await client.send(post(b"x"))
                assert (await client.answer()).status == 200
        if framing == "chunks":
            raw = b"POST / HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"x" * 3_000_000)
        else:
            raw = post(b"x" * 3_000_000)
        await client.send(raw[:-10])
        assert is_overloaded(await client.answer())
        assert await client.ended()
        assert rig.plane.held.total == 0
        assert (await rig.ask(GET)).status == 200

    run(scenario, bounds=Bounds(held=1_000_000))


def test_what_is_held_of_a_body_is_free_as_soon_as_the_answer_begins():
    async def streams(request: Request):
        await request.write(SSE + chunk(b"data: 1\n\n"))
        await asyncio.Event().wait()

    async def scenario(rig: Rig):
        await rig.backend(streams)
        client = await rig.client()
        await client.send(
            post(b'{"model":"m","messages":"' + b"x" * 500_000 + b'"}', extra=b"content-type: application/json\r\n")
        )
        await client.head()
        assert rig.plane.held.total == 0
        client.reset()

    run(scenario)


def largest(rig: Rig, seen: list[int]) -> None:
    """How much is held now of answers that clients do not take, for the one connection."""
    sizes = [connection.transport.get_write_buffer_size() for connection in rig.plane.connections]
    sizes += [sum(len(data) for _, data in rig.plane.outbox._writes)]
    seen.append(sum(sizes))


@pytest.mark.parametrize("framing", ["length", "chunks", "stream"])
def test_no_more_than_256_kib_are_held_of_an_answer_that_its_client_does_not_take(framing):
    async def flood(request: Request):
        if framing == "length":
            await request.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (12 << 20))
            piece = b"x" * (1 << 20)
        else:
            await request.write(SSE if framing == "stream" else SSE.replace(b"text/event-stream", b"text/plain"))
            piece = chunk(b"data: " + b"x" * 1000 + b"\n\n") * 1000
        for _ in range(12):
            await request.write(piece)
        await request.write(b"" if framing == "length" else b"0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(flood)
        client = await rig.client(receive_buffer=8192)
        client.writer.transport.pause_reading()
        seen: list[int] = []
        await client.send(CHAT)
        for _ in range(100):
            largest(rig, seen)
            await asyncio.sleep(0.005)
        assert 0 < max(seen) <= 256 << 10
        assert rig.plane.held.total <= 256 << 10
        client.writer.transport.resume_reading()
        reply = await client.answer()
        assert reply.whole
        largest(rig, seen)
        assert max(seen) <= 256 << 10

    run(scenario)


def test_a_client_may_not_have_much_read_of_requests_that_wait_their_turn():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        client = await rig.client()
        await client.send(GET)
        await eventually(lambda: backend.requests)
        writing = asyncio.create_task(flood(client))
        await eventually(lambda: rig.plane.held.total)
        await asyncio.sleep(0.3)
        assert rig.plane.held.total <= 400 << 10
        writing.cancel()
        client.reset()

    run(scenario)


async def flood(client: Client) -> None:
    client.writer.write(post(b"x" * (20 << 20)))
    await client.writer.drain()


def test_it_goes_on_where_it_stopped_when_its_turn_comes():
    async def scenario(rig: Rig):
        release = asyncio.Event()

        async def slow_first(request: Request):
            if request.number == 0:
                await release.wait()
            await echo(request)

        await rig.backend(slow_first)
        client = await rig.client()
        body = b"x" * (5 << 20)
        sending = asyncio.create_task(client.send(GET + post(body, "/big") + GET))
        await asyncio.sleep(0.2)
        release.set()
        assert (await client.answer()).body.startswith(b"GET /a")
        assert (await client.answer()).body == b"POST /big HTTP/1.1\n" + body
        assert (await client.answer()).body.startswith(b"GET /a")
        await sending

    run(scenario)
