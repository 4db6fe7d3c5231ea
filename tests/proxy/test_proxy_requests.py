"""Requests in: kept connections, pipelines, cuts, chunks, expectations, old clients."""

import asyncio

import pytest
from rig import Rig, eventually, run
from wire import GET, Request, echo, hang, ok, post


def test_a_connection_is_kept_on_both_sides():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        for number in range(5):
            await client.send(post(b"%d" % number))
            reply = await client.answer()
            assert reply.body.endswith(b"\n%d" % number)
            assert "connection" not in reply.headers
        assert backend.accepted == 1

    run(scenario)


def test_every_answer_says_its_request():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        first, second = await rig.ask(GET), await rig.ask(GET)
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        reply = await rig.ask(b"GET / HTTP/1.1\r\nhost: gw\r\nx-request-id: mine\r\n\r\n")
        assert reply.headers["x-request-id"] == "mine"
        assert [record.id for record in rig.records[2:]] == ["mine"]

    run(scenario)


def test_pipelined_requests_are_answered_in_order():
    async def slow_first(request: Request):
        if request.number == 0:
            await asyncio.sleep(0.05)
        await echo(request)

    async def scenario(rig: Rig):
        backend = await rig.backend(slow_first)
        client = await rig.client()
        await client.send(b"".join(post(b"%d" % n) for n in range(40)))
        for number in range(40):
            assert (await client.answer()).body.endswith(b"\n%d" % number)
        assert backend.accepted == 1

    run(scenario)


def test_pipelined_refusals_and_answers_keep_their_order():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        client = await rig.client()
        await client.send(GET + b"GET * HTTP/1.1\r\nhost: gw\r\n\r\n" + GET + b"garbage\r\n\r\n" + GET)
        assert [(await client.answer()).status for _ in range(4)] == [200, 400, 200, 400]
        assert await client.ended()

    run(scenario)


def test_a_request_behind_one_that_hangs_waits_and_ends_with_the_client():
    async def scenario(rig: Rig):
        backend = await rig.backend(hang)
        client = await rig.client()
        await client.send(GET + GET)
        await eventually(lambda: backend.requests)
        client.reset()
        await eventually(lambda: not backend.open)
        assert len(backend.requests) == 1

    run(scenario)


@pytest.mark.parametrize(
    "message",
    [
        post(b'{"model":"m"}'),
        b"POST /x HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n",
    ],
)
def test_a_request_may_be_cut_at_every_byte(message):
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        for cut in range(1, len(message)):
            await client.send(message[:cut])
            await asyncio.sleep(0)
            await client.send(message[cut:])
            assert (await client.answer()).status == 200
        await client.send(message)
        whole = await client.answer()
        for byte in range(len(message)):
            client.writer.write(message[byte : byte + 1])
            await asyncio.sleep(0.0005)
        assert (await client.answer()).body == whole.body
        assert {request.body for request in backend.requests} == {backend.requests[0].body}

    run(scenario)


def test_a_chunked_body_goes_on_with_its_length():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        head = b"POST /x HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n"
        await rig.ask(head + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
        request = backend.requests[0]
        assert request.body == b"abc0123456789"
        assert request.headers["content-length"] == "13"

    run(scenario)


def test_a_client_that_waits_to_be_told_is_told_to_go_on():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        for body in (b"one", b"two"):
            await client.send(b"POST / HTTP/1.1\r\nhost: gw\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
            assert (await client.answer()).status == 100
            await client.send(body)
            assert (await client.answer()).body.endswith(body)
        assert "expect" not in backend.requests[0].headers

    run(scenario)


def test_a_client_is_told_to_go_on_only_after_the_answers_before():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        client = await rig.client()
        expecting = b"POST /b HTTP/1.1\r\nhost: gw\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        await client.send(GET + GET + expecting)
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 100]
        await client.send(b"end")
        assert (await client.answer()).body.endswith(b"end")

    run(scenario)


def test_a_client_that_did_not_wait_is_not_told():
    async def scenario(rig: Rig):
        await rig.backend(echo)
        client = await rig.client()
        await client.send(post(b"abc", extra=b"expect: 100-continue\r\n"))
        assert (await client.answer()).status == 200
        await client.send(b"POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        await asyncio.sleep(0.05)
        await client.send(b"abc")
        assert (await client.answer()).status == 200

    run(scenario)


@pytest.mark.parametrize(
    ("line", "connection"),
    [
        (b"HTTP/1.0\r\n", "close"),
        (b"HTTP/1.0\r\nconnection: keep-alive\r\n", "keep-alive"),
        (b"HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", "close"),
    ],
)
def test_who_does_not_keep_connections_gets_them_closed(line, connection):
    async def scenario(rig: Rig):
        await rig.backend(ok)
        client = await rig.client()
        await client.send(b"GET / " + line + b"\r\n")
        reply = await client.answer()
        assert (reply.status, reply.body, reply.headers["connection"]) == (200, b"ok", connection)
        if connection == "close":
            assert await client.ended()
        else:
            await client.send(b"GET / " + line + b"\r\n")
            assert (await client.answer()).status == 200

    run(scenario)


def test_an_old_client_gets_a_stream_that_ends_with_the_connection():
    async def stream(request: Request):
        await request.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(stream)
        client = await rig.client()
        await client.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        reply = await client.answer()
        assert reply.body == b"abcde"
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"

    run(scenario)


def test_head_has_no_body_and_the_connection_goes_on():
    async def length_only(request: Request):
        if request.line.startswith("HEAD"):
            await request.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\nx-a: 1\r\n\r\n")
        else:
            await request.reply(b"body")

    async def scenario(rig: Rig):
        await rig.backend(length_only)
        client = await rig.client()
        for _ in range(3):
            await client.send(b"HEAD / HTTP/1.1\r\nhost: gw\r\n\r\n")
            reply = await client.answer(to="HEAD")
            assert (reply.status, reply.headers["content-length"]) == (200, "500")
            await client.send(GET)
            assert (await client.answer()).body == b"body"
        await client.send(b"HEAD /v1/models HTTP/1.1\r\nhost: gw\r\n\r\n" + GET)
        assert int((await client.answer(to="HEAD")).headers["content-length"]) > 50
        assert (await client.answer()).body == b"body"

    run(scenario)


@pytest.mark.parametrize("offer", [b"h2c", b"TLS/1.0, HTTP/1.1"])
def test_an_offer_to_speak_another_protocol_is_not_taken(offer):
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        extra = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: %b\r\nhttp2-settings: AAMAAABk\r\n" % offer
        message = post(b"the body", extra=extra) + GET
        for cut in (0, 30, len(message) - len(GET) - 3):
            await client.send(message[:cut])
            await asyncio.sleep(0.01)
            await client.send(message[cut:])
            assert (await client.answer()).body.endswith(b"the body")
            assert (await client.answer()).body.startswith(b"GET /a")
        assert not {"upgrade", "connection", "http2-settings"} & set(backend.requests[0].headers)

    run(scenario)
