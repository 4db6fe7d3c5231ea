"""Answers out: every framing, servers that misbehave in every way, clients that leave or read slowly."""

import asyncio
import json
from time import monotonic

import pytest
from rig import Request, Rig, echo, eventually, hang, ok, run

from headgate.proxy.plane import Bounds

GET = b"GET /a HTTP/1.1\r\nhost: gw\r\n\r\n"
CHAT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n"
    b'{"model":"m"}'
)
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def writes(raw: bytes, *, then: str = "") -> object:
    """A server that writes these bytes, and then may `close` or `reset`."""

    async def answer(request: Request):
        await request.write(raw)
        if then:
            getattr(request, then)()

    return answer


@pytest.mark.parametrize(
    ("raw", "then", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "", 200, b"hello"),
        (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", "", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", 200, b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n", "", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "", 200, b""),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "close", 200, b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", "close", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello", "close", 200, b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "", 200, b"hello"),
        (b"HTTP/1.1 103 E\r\nlink: x\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 404 N\r\ncontent-length: 0\r\n\r\n", "", 404, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "", 204, b""),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", "", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 55\r\n\r\n", "", 304, b""),
        (b"HTTP/1.1 599 Strange\r\ncontent-length: 1\r\n\r\nx", "", 599, b"x"),
        (b"HTTP/1.1 200 OK\r\nconnection: Upgrade\r\nupgrade: h2c\r\ncontent-length: 1\r\n\r\nx", "", 200, b"x"),
    ],
)  # fmt: skip
def test_every_framing_is_understood_and_the_connection_goes_on(raw, then, status, body):
    async def scenario(rig: Rig):
        await rig.backend(writes(raw, then=then))
        client = await rig.client()
        for _ in range(3):
            await client.send(GET)
            reply = await client.answer()
            assert (reply.status, reply.body, reply.whole) == (status, body, True)
            assert not {"x-t", "upgrade", "link"} & set(reply.headers)
            if status == 204:
                assert "content-length" not in reply.headers
        assert [record.status for record in rig.records] == [status] * 3
        assert [record.bytes_out for record in rig.records] == [len(body)] * 3

    run(scenario)


def test_an_answer_may_be_cut_at_every_byte():
    raw = b"HTTP/1.1 100 C\r\n\r\n" + SSE + chunk(b'data: {"a":1}\n\n') + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    async def cut(request: Request):
        await request.write(raw[: request.number])
        await asyncio.sleep(0.001)
        await request.write(raw[request.number :])

    async def scenario(rig: Rig):
        await rig.backend(cut)
        client = await rig.client()
        for _ in range(len(raw)):
            await client.send(GET)
            assert (await client.answer()).body == b'data: {"a":1}\n\ndata: [DONE]\n\n'

    run(scenario)


def test_a_stream_comes_piece_by_piece():
    async def stream(request: Request):
        await request.write(SSE)
        for number in range(3):
            await request.write(chunk(b"data: %d\n\n" % number))
            await turn[number].wait()
        await request.write(b"0\r\n\r\n")

    turn = [asyncio.Event() for _ in range(3)]

    async def scenario(rig: Rig):
        await rig.backend(stream)
        client = await rig.client()
        await client.send(CHAT)
        status, headers = await client.head()
        assert (status, dict(headers)["transfer-encoding"]) == (200, "chunked")
        for number in range(3):
            assert await asyncio.wait_for(client.chunk(), 5) == b"data: %d\n\n" % number
            turn[number].set()
        assert await client.chunk() == b""

    run(scenario)


# Connections to servers.


def test_a_kept_connection_that_the_server_has_closed_is_no_trouble():
    async def once(request: Request):
        await request.reply()
        request.close()

    async def scenario(rig: Rig):
        backend = await rig.backend(once)
        client = await rig.client()
        for _ in range(5):
            await client.send(CHAT)
            assert (await client.answer()).status == 200
        assert backend.accepted == 5
        assert {record.tries for record in rig.records} == {1}

    run(scenario)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_server_that_closes_just_as_a_kept_connection_is_used_is_asked_again_unseen(end):
    async def every_second(request: Request):
        if request.number % 2:
            getattr(request, end)()  # the second request of each connection
        else:
            await request.reply()

    async def scenario(rig: Rig):
        backend = await rig.backend(every_second)
        client = await rig.client()
        for _ in range(4):
            await client.send(CHAT)
            assert (await client.answer()).status == 200
        assert backend.accepted > 1
        assert {record.tries for record in rig.records} == {1}

    run(scenario)


def test_a_post_to_a_service_is_not_asked_again():
    async def first_only(request: Request):
        await request.reply() if request.number == 0 else request.close()

    async def scenario(rig: Rig):
        backend = await rig.backend(first_only)
        client = await rig.client()
        await client.send(CHAT)
        assert (await client.answer()).status == 200
        await client.send(CHAT)
        assert (await client.answer()).status == 502
        assert len(backend.requests) == 2

    run(scenario, kind="service")


@pytest.mark.parametrize("how", ["refused", "reset", "close", "garbage", "half a head"])
def test_a_server_that_fails_before_it_answers_is_replaced(how):
    async def fail(request: Request):
        if how == "garbage":
            await request.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        elif how == "half a head":
            await request.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
            request.close()
        else:
            getattr(request, how)()

    async def scenario(rig: Rig):
        if how == "refused":
            rig.nobody()
        else:
            await rig.backend(fail)
        good = await rig.backend(ok)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            assert (await client.answer()).status == 200
        assert len(good.requests) == 3
        assert rig.records[0].decisions[0].endpoint.name == "ns/b0"
        assert rig.records[0].endpoint == "ns/b1"
        assert rig.ledger.total() == 0

    run(scenario)


def test_the_body_is_sent_whole_to_the_second_server_too():
    async def scenario(rig: Rig):
        async def read_and_die(request: Request):
            request.reset()

        await rig.backend(read_and_die)
        good = await rig.backend(ok)
        body = b'{"model":"m","messages":"' + b"x" * (3 << 20) + b'"}'
        await rig.ask(
            b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        assert good.requests[0].body == body

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2.0 \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 300_000,
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
def test_garbage_of_the_only_server_gets_502(raw):
    async def scenario(rig: Rig):
        await rig.backend(writes(raw))
        reply = await rig.ask(CHAT)
        assert reply.status == 502
        assert reply.error["code"] == "endpoint_failed"

    run(scenario)


def test_a_server_that_nobody_asked_is_not_listened_to():
    async def chatty(request: Request):
        await request.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
        )

    async def scenario(rig: Rig):
        backend = await rig.backend(chatty)
        client = await rig.client()
        for _ in range(4):
            await client.send(GET)
            assert (await client.answer()).body == b"ok"
        assert backend.accepted == 4, "none of these connections can be used again"

    run(scenario)


def test_a_pool_where_everybody_refuses_gets_503():
    async def scenario(rig: Rig):
        rig.nobody()
        rig.nobody()
        reply = await rig.ask(CHAT)
        assert reply.status == 503
        assert reply.headers["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints"
        assert reply.headers["retry-after"] == "1"

    run(scenario, wait_s=0.6)


def test_a_server_that_comes_back_gets_what_waited_for_it():
    async def scenario(rig: Rig):
        port = rig.nobody()
        client = await rig.client()
        await client.send(CHAT)
        await eventually(lambda: any(rig.plane.parked.values()))
        backend = rig.backends[0]
        backend.answer = ok
        await backend.start(port)
        assert (await client.answer()).status == 200

    run(scenario)


def test_a_request_waits_for_a_pool_to_be_ready():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        rig.see(ready=False)
        client = await rig.client()
        await client.send(CHAT + CHAT)
        await eventually(lambda: any(rig.plane.parked.values()))
        rig.plane.wake("p")
        await eventually(lambda: any(rig.plane.parked.values()))
        rig.see(ready=True)
        rig.plane.wake("p")
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]

    run(scenario)


def test_a_client_that_leaves_while_it_waits_is_forgotten():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        rig.see(ready=False)
        client = await rig.client()
        await client.send(CHAT)
        await eventually(lambda: any(rig.plane.parked.values()))
        client.reset()
        await eventually(lambda: rig.records)
        assert rig.records[0].status == 499
        rig.see()
        rig.plane.wake("p")

    run(scenario)


# Answers that break off.


@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(end):
    async def half(request: Request):
        await request.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await asyncio.sleep(0.02)
        getattr(request, end)()

    async def scenario(rig: Rig):
        await rig.backend(half)
        await rig.backend(ok)
        reply = await rig.ask(GET)
        assert (reply.status, reply.body, reply.whole) == (200, b"half", False)
        assert rig.records[0].error.startswith("reset")

    run(scenario)


def test_a_chunked_answer_that_breaks_off_does_too():
    async def half(request: Request):
        await request.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"half"))
        await asyncio.sleep(0.02)
        request.close()

    async def scenario(rig: Rig):
        await rig.backend(half)
        reply = await rig.ask(GET)
        assert (reply.body, reply.whole) == (b"half", False)
        old = await rig.client()
        await old.send(b"GET / HTTP/1.0\r\n\r\n")
        await old.head()
        with pytest.raises(ConnectionResetError):
            await old.reader.read()

    run(scenario)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_stream_that_breaks_off_ends_with_an_error_event(end, version):
    async def half(request: Request):
        await request.write(SSE + chunk(b"data: 1\n\n"))
        await asyncio.sleep(0.02)
        getattr(request, end)()

    async def scenario(rig: Rig):
        await rig.backend(half)
        reply = await rig.ask(CHAT.replace(b"HTTP/1.1", b"HTTP/" + version))
        assert reply.whole
        events = [event for event in reply.body.decode().split("\n\n") if event]
        assert events[0] == "data: 1"
        assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == "endpoint_failed"
        assert len(events) == 2

    run(scenario)


# Time.


def test_a_server_that_hangs_gets_its_route_504():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        start = monotonic()
        reply = await rig.ask(CHAT)
        assert (reply.status, reply.error["code"]) == (504, "timeout")
        assert 0.25 < monotonic() - start < 3
        await eventually(lambda: not backend.open)

    run(scenario, timeout_s=0.3)


def test_a_stream_that_outlasts_its_route_is_told_so():
    async def endless(request: Request):
        await request.write(SSE)
        while True:
            await request.write(chunk(b"data: 1\n\n"))
            await asyncio.sleep(0.02)

    async def scenario(rig: Rig):
        backend = await rig.backend(endless)
        reply = await rig.ask(CHAT)
        assert reply.whole
        assert json.loads(reply.body.decode().rstrip().rsplit("data: ", 1)[1])["error"]["code"] == "timeout"
        await eventually(lambda: not backend.open)

    run(scenario, timeout_s=0.4)


def test_a_server_that_falls_silent_is_given_up():
    async def scenario(rig: Rig):
        await rig.backend(hang)
        assert (await rig.ask(CHAT)).status == 504

    run(scenario, bounds=Bounds(silence_s=0.3))


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
        from headgate.plan.plan import Rewrite

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


def test_a_server_may_answer_before_it_has_read_everything():
    async def too_large(request: Request):
        raise AssertionError("it never reads a whole request")

    async def scenario(rig: Rig):
        backend = await rig.backend(too_large)

        async def early(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
            await writer.drain()
            while await reader.read(1 << 16):
                pass
            writer.close()

        server = await asyncio.start_server(early, "127.0.0.1", 0)
        backend.port = server.sockets[0].getsockname()[1]
        rig.see()
        client = await rig.client()
        for _ in range(3):
            body = b"x" * (8 << 20)
            await client.send(b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            assert (await client.answer()).status == 413
        server.close()

    run(scenario)
