"""Servers that close, refuse, die, dawdle or speak nonsense, and what their clients see of it."""

import asyncio
import json
import socket
from time import monotonic

import pytest
from openai._streaming import SSEDecoder
from rig import Rig, eventually, run
from wire import CHAT, GET, SSE, Request, chunk, hang, ok, writes

from headgate.fleet.endpoint import Endpoint
from headgate.pick.standing import Standing
from headgate.proxy.plane import Bounds

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


def test_a_404_is_asked_elsewhere_while_its_body_is_still_coming():
    async def lost(request: Request):
        await request.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\nno such a")

    async def scenario(rig: Rig):
        bad, good = await rig.backend(lost), await rig.backend(ok)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            assert (await client.answer()).body == b"ok"
        assert (len(bad.requests), len(good.requests)) == (3, 3)
        await eventually(lambda: not bad.open)

    run(scenario)


@pytest.mark.parametrize("address", ["x" * 70 + ".example", ".."])
def test_an_address_that_is_no_host_is_a_server_that_refuses(address):
    async def scenario(rig: Rig):
        rig.nobody()
        await rig.backend(ok)
        view = rig.views["p"]
        first, second = view.standing.endpoints
        loads = dict(zip((first.name, second.name), view.standing.loads, strict=True))
        wrong = Endpoint(first.name, address, first.port)
        view.standing = Standing("p", (wrong, second), loads, rig.ledger, rig.prefixes)
        assert (await rig.ask(CHAT)).body == b"ok"
        assert len(rig.records[0].decisions) == 2

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
        assert rig.waited_for == ["p"]
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


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_a_stream_that_breaks_off_inside_an_event_can_be_read_to_its_end(end, pieces):
    whole = f'data: {{"n":1}}{end}{end}'.encode()
    half = b'data: {"choices":[{"delta":{"content":"' + "née ".encode() * 20 + b"\xc3"
    size = len(half) // pieces + 1

    async def breaks(request: Request):
        await request.write(SSE + chunk(whole) * 20)
        for place in range(0, len(half), size):
            await request.write(chunk(half[place : place + size]))
            await asyncio.sleep(0.001)
        request.reset()

    async def scenario(rig: Rig):
        await rig.backend(breaks)
        reply = await rig.ask(CHAT)
        assert reply.whole
        events = [json.loads(event.data) for event in SSEDecoder().iter_bytes(iter([reply.body]))]
        assert events[:-1] == [{"n": 1}] * 20
        assert events[-1]["error"]["code"] == "endpoint_failed"
        assert events[-1]["choices"][0]["delta"]["content"].startswith("née née")

    run(scenario)


def test_a_stream_of_known_length_that_breaks_off_is_not_made_longer():
    async def half(request: Request):
        await request.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 50\r\n\r\ndata: 1\n\n"
        )
        await asyncio.sleep(0.02)
        request.close()

    async def scenario(rig: Rig):
        await rig.backend(half)
        reply = await rig.ask(CHAT)
        assert (reply.body, reply.whole) == (b"data: 1\n\n", False)

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


def test_a_server_that_never_begins_its_answer_is_given_up():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        reply = await rig.ask(CHAT)
        assert (reply.status, reply.error["code"]) == (504, "timeout")
        assert reply.error["message"] == "The model server did not answer in time: nothing came within 0.3 s."
        await eventually(lambda: not backend.open)

    run(scenario, bounds=Bounds(first_byte_s=0.3))


def test_a_server_that_falls_silent_in_the_middle_is_given_up():
    async def tires(request: Request):
        for _ in range(5):
            await request.write(chunk(b"data: 1\n\n") if request.number else SSE + chunk(b"data: 1\n\n"))
            request.number = 1
            await asyncio.sleep(0.1)
        await asyncio.Event().wait()

    async def scenario(rig: Rig):
        backend = await rig.backend(tires)
        reply = await rig.ask(CHAT)
        *data, last = reply.body.decode().strip().split("\n\n")
        assert data == ["data: 1"] * 5, "the first byte came in time, and so did the others"
        problem = json.loads(last.removeprefix("data: "))["error"]
        assert problem["message"].endswith("(timeout: nothing came for 0.4 s).")
        await eventually(lambda: not backend.open)

    run(scenario, bounds=Bounds(first_byte_s=0.2, silence_s=0.4))


def test_a_stream_that_is_only_begun_by_its_head_is_given_up_as_one_that_is_not():
    async def head_only(request: Request):
        await request.write(SSE)
        await asyncio.Event().wait()

    async def scenario(rig: Rig):
        await rig.backend(head_only)
        assert (await rig.ask(CHAT)).status == 504

    run(scenario, bounds=Bounds(first_byte_s=0.3))


def test_a_connection_that_is_not_had_in_time_is_one_that_is_refused():
    async def scenario(rig: Rig):
        with socket.socket() as full:  # its backlog takes no more, and it never accepts
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            rig.nobody()
            rig.backends[0].port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            await rig.backend(ok)
            assert (await rig.ask(CHAT)).body == b"ok"
            for one in waiting:
                one.close()
        assert len(rig.records[0].decisions) == 2
        assert rig.records[0].tries == 1

    run(scenario, bounds=Bounds(connect_s=0.2))


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
