"""Clients that leave or read slowly, and the gateway that changes or leaves."""

import asyncio
from time import monotonic

import pytest
from rig import Rig, eventually, run
from wire import CHAT, GET, SSE, Request, chunk, echo, hang, ok, post

from headgate.plan.plan import Rewrite
from headgate.proxy.plane import Bounds

# Clients.


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("answering", [False, True])
def test_when_the_client_leaves_the_server_notices_within_a_tenth_of_a_second(leave, answering):
    async def stream(request: Request):
        if answering:
            await request.write(SSE + chunk(b"data: 1\n\n"))
        await hang(request)

    async def scenario(rig: Rig):
        backend = await rig.backend(stream)
        client = await rig.client()
        await client.send(CHAT)
        await eventually(lambda: backend.requests)
        if answering:
            await client.head()
        assert rig.ledger.total() == 1
        if leave == "close":
            client.writer.close()
        else:
            client.reset()
        assert await eventually(lambda: not backend.open) < 0.1
        assert rig.ledger.total() == 0
        assert rig.records[0].status == (200 if answering else 499)
        assert rig.records[0].error == "the client went away"

    run(scenario)


def test_a_client_that_leaves_while_its_server_is_being_reached_leaves_nothing():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        for _ in range(20):
            client = await rig.client()
            await client.send(CHAT)
            client.reset()
        await eventually(lambda: not rig.plane.connections)
        assert rig.ledger.total() == 0
        await rig.ask(CHAT)
        assert backend.requests[-1].line.startswith("POST")

    run(scenario)


# A client that closes its side.


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("kind", ["whole", "stream", "slow stream"])
def test_a_client_that_closes_its_side_after_its_request_gets_its_answer(kind, version):
    async def answers(request: Request):
        await asyncio.sleep(0.15)
        if kind == "whole":
            await request.reply(b"here")
            return
        await request.write(SSE + chunk(b"data: 1\n\n"))
        await asyncio.sleep(0.15 if kind == "slow stream" else 0)
        await request.write(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(answers)
        client = await rig.client()
        await client.send(CHAT.replace(b"HTTP/1.1", b"HTTP/" + version))
        client.writer.write_eof()
        reply = await client.answer()
        assert (reply.status, reply.whole) == (200, True)
        assert reply.body == (b"here" if kind == "whole" else b"data: 1\n\ndata: 2\n\n")
        assert await client.ended()
        assert (rig.records[0].status, rig.records[0].error) == (200, "")

    run(scenario)


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_a_client_may_close_its_side_at_any_time(tokens):
    goes_on = asyncio.Event()

    async def answers(request: Request):
        await request.write(SSE)
        for number in range(4):
            await request.write(chunk(b"data: %d\n\n" % number))
            if number == tokens:
                await goes_on.wait()
        await request.write(b"0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(answers)
        client = await rig.client()
        await client.send(CHAT)
        await client.head()
        body = b""
        while body.count(b"data") <= tokens:
            body += await client.chunk()
        client.writer.write_eof()
        await asyncio.sleep(0.15)  # so long that it would be found to be gone
        goes_on.set()
        while (data := await client.chunk()) != b"":
            body += data
        assert body == b"".join(b"data: %d\n\n" % number for number in range(4))
        assert await client.reader.read() == b"\r\n", "the end of the chunks, and of the connection"

    run(scenario)


def test_a_client_may_close_its_side_right_after_a_large_request():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        body = b"x" * (9 << 20)
        client = await rig.client()
        await client.send(post(body))
        client.writer.write_eof()
        assert (await client.answer()).body.endswith(body)
        assert await client.ended()

    run(scenario)


def test_all_requests_of_a_client_that_closes_its_side_are_answered_and_half_a_one_is_not():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        client = await rig.client()
        await client.send(CHAT + GET.replace(b"/a", b"/b") + GET + b"GET /half")
        client.writer.write_eof()
        bodies = [(await client.answer()).body for _ in range(3)]
        assert [body.split()[1] for body in bodies] == [b"/v1/chat/completions", b"/b", b"/a"]
        assert await client.ended()

    run(scenario)


def test_a_client_that_closes_its_side_while_it_waits_for_an_endpoint_gets_its_answer():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        rig.see(ready=False)
        client = await rig.client()
        await client.send(CHAT)
        client.writer.write_eof()
        await eventually(lambda: any(rig.plane.parked.values()))
        await asyncio.sleep(0.1)
        rig.see()
        rig.plane.wake("p")
        assert (await client.answer()).body == b"ok"

    run(scenario)


def test_a_refusal_reaches_a_client_that_has_closed_its_side():
    async def scenario(rig: Rig):
        await rig.backend(hang)
        client = await rig.client()
        await client.send(CHAT)
        client.writer.write_eof()
        assert (await client.answer()).status == 504
        assert await client.ended()

    run(scenario, timeout_s=0.2)


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_that_closes_everything_while_nothing_moves_is_gone_at_once(waits):
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        rig.see(ready=not waits)
        client = await rig.client()
        await client.send(CHAT)
        await eventually(lambda: any(rig.plane.parked.values()) if waits else backend.requests)
        client.writer.close()
        assert await eventually(lambda: rig.records) < 0.1
        assert (rig.records[0].status, rig.records[0].error) == (499, "the client went away")
        assert await eventually(lambda: not backend.open) < 0.1

    run(scenario)


def test_a_client_that_closes_everything_before_its_answer_comes_is_gone_when_it_comes():
    """It still listened when it closed its side, so that only the next byte can tell."""

    async def late(request: Request):
        await asyncio.sleep(0.3)
        await request.write(SSE)
        while True:
            await request.write(chunk(b"data: 1\n\n"))
            await asyncio.sleep(0.01)

    async def scenario(rig: Rig):
        backend = await rig.backend(late)
        client = await rig.client()
        await client.send(CHAT)
        client.writer.write_eof()
        await asyncio.sleep(0.2)
        client.writer.close()
        await eventually(lambda: not backend.open)
        assert rig.records[0].error == "the client went away"

    run(scenario)


def test_a_client_that_reads_slowly_makes_the_server_wait():
    total = 64 << 20
    sent = 0

    async def flood(request: Request):
        nonlocal sent
        await request.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total >> 16):
            await request.write(b"x" * (1 << 16))
            sent += 1 << 16

    async def scenario(rig: Rig):
        await rig.backend(flood)
        client = await rig.client(receive_buffer=8192)
        client.writer.transport.pause_reading()
        await client.send(GET)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.2)
        assert 0 < sent < total // 2, "the gateway (and the kernel) took it all"
        client.writer.transport.resume_reading()
        reply = await client.answer()
        assert (len(reply.body), reply.whole) == (total, True)
        await client.send(GET)
        assert (await client.answer()).status == 200

    run(scenario)


@pytest.mark.parametrize("framing", [b"content-length: %d\r\n\r\n" % (32 << 20), b"transfer-encoding: chunked\r\n\r\n"])
@pytest.mark.parametrize("slow", [True, False])
def test_no_more_than_256_kib_of_an_answer_are_held(framing, slow):
    piece = b"x" * (1 << 20)

    async def flood(request: Request):
        await request.write(b"HTTP/1.1 200 OK\r\n" + framing)
        for _ in range(32):
            await request.write(piece if b"length" in framing else chunk(piece))
        if b"chunked" in framing:
            await request.write(b"0\r\n\r\n")

    async def scenario(rig: Rig):
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                for connection in rig.plane.connections:
                    most = max(most, connection.transport.get_write_buffer_size())
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        await rig.backend(flood)
        client = await rig.client(receive_buffer=8192 if slow else 0)
        await client.send(GET)
        assert len((await client.answer()).body) == 32 << 20
        watching.cancel()
        assert most <= 256 << 10

    run(scenario)


def test_a_client_that_never_reads_is_cut_off():
    async def flood(request: Request):
        await request.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await request.write(chunk(b"x" * (1 << 16)))

    async def scenario(rig: Rig):
        backend = await rig.backend(flood)
        client = await rig.client(receive_buffer=8192)
        client.writer.transport.pause_reading()
        await client.send(GET)
        await eventually(lambda: backend.requests)
        await eventually(lambda: not backend.open)
        client.reset()

    run(scenario, bounds=Bounds(silence_s=0.5))


def test_a_slow_reader_of_many_small_answers_holds_back_the_rest():
    async def scenario(rig: Rig):
        async def big(request: Request):
            await request.reply(b"x" * 200_000)

        backend = await rig.backend(big)
        client = await rig.client(receive_buffer=8192)
        client.writer.transport.pause_reading()
        for _ in range(300):
            client.writer.write(GET)
        before = -1
        while before != len(backend.requests):
            before = len(backend.requests)
            await asyncio.sleep(0.2)
        assert before < 100, "60 MB wait in the gateway"
        client.writer.transport.resume_reading()
        for _ in range(300):
            assert len((await client.answer()).body) == 200_000

    run(scenario)


# Change and end.


def test_a_plan_may_change_while_requests_run():
    async def waits(request: Request):
        if request.number == 0:
            await go.wait()
        await echo(request)

    go = asyncio.Event()

    async def scenario(rig: Rig):
        await rig.backend(waits)
        client = await rig.client()
        await client.send(GET)
        await eventually(lambda: rig.backends[0].requests)
        rig.listening.site = rig.site(rewrite=Rewrite(full="/changed"))
        go.set()
        assert (await client.answer()).body.startswith(b"GET /a ")
        await client.send(GET)
        assert (await client.answer()).body.startswith(b"GET /changed ")

    run(scenario)


def test_draining_finishes_what_runs_and_closes_the_rest():
    go = asyncio.Event()

    async def waits(request: Request):
        await go.wait()
        await request.reply(b"finished")

    async def scenario(rig: Rig):
        backend = await rig.backend(waits)
        idle, busy, half = await rig.client(), await rig.client(), await rig.client()
        await busy.send(GET)
        await half.send(GET[:10])
        await eventually(lambda: backend.requests and len(rig.plane.connections) == 3)
        draining = asyncio.create_task(rig.plane.drain(10))
        assert await idle.ended()
        await half.send(GET[10:])
        go.set()
        for client in (busy, half):
            reply = await client.answer()
            assert (reply.body, reply.headers["connection"]) == (b"finished", "close")
            assert await client.ended()
        await asyncio.wait_for(draining, 5)

    run(scenario)


def test_draining_ends_after_its_grace():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        client = await rig.client()
        await client.send(GET)
        await eventually(lambda: backend.requests)
        start = monotonic()
        await rig.plane.drain(0.2)
        assert monotonic() - start < 2
        await eventually(lambda: not rig.plane.connections)
        await eventually(lambda: not backend.open)

    run(scenario)


def test_a_listener_that_is_removed_finishes_what_runs():
    go = asyncio.Event()

    async def waits(request: Request):
        await go.wait()
        await request.reply(b"finished")

    async def scenario(rig: Rig):
        backend = await rig.backend(waits)
        idle, busy = await rig.client(), await rig.client()
        await busy.send(GET)
        await eventually(lambda: backend.requests and len(rig.plane.connections) == 2)
        rig.server.close()
        rig.listening.close()
        assert await idle.ended()
        go.set()
        reply = await busy.answer()
        assert (reply.body, reply.headers["connection"]) == (b"finished", "close")
        assert await busy.ended()

    run(scenario)


def test_who_comes_just_as_the_listener_is_removed_is_sent_away():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        rig.listening.close()
        client = await rig.client()
        assert await client.ended()

    run(scenario)
