"""Answers out: every framing, cut anywhere, and streams that come piece by piece."""

import asyncio

import pytest
from rig import Rig, run
from wire import CHAT, GET, SSE, Request, chunk, writes


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
            assert not {"x-t", "upgrade"} & set(reply.headers)
            if status == 204:
                assert "content-length" not in reply.headers
        assert [record.status for record in rig.records] == [status] * 3
        assert [record.bytes_out for record in rig.records] == [len(body)] * 3

    run(scenario)


INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-b\r\nx-b: 1\r\n\r\n"


def test_what_a_server_says_before_its_answer_is_passed_on_as_it_comes():
    go = asyncio.Event()

    async def hint(request: Request):
        await request.write(b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM + b"HTTP/1.1 102 Processing\r\n\r\n")
        await go.wait()
        await request.reply(b"answer")

    async def scenario(rig: Rig):
        await rig.backend(hint)
        client = await rig.client()
        for _ in range(2):
            go.clear()
            await client.send(GET)
            assert await client.head() == (103, [("link", "</a.css>; rel=preload")]), "100 is not for the client"
            assert await client.head() == (102, [])
            go.set()
            reply = await client.answer()
            assert (reply.status, reply.body) == (200, b"answer")
            assert "link" not in reply.headers
        assert [record.status for record in rig.records] == [200, 200]

    run(scenario)


def test_an_old_client_hears_only_the_answer():
    async def scenario(rig: Rig):
        await rig.backend(writes(INTERIM + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
        for line in (b"HTTP/1.0\r\n", b"HTTP/1.0\r\nconnection: keep-alive\r\n"):
            assert (await rig.ask(b"GET / " + line + b"\r\n")).body == b"ok"

    run(scenario)


def test_what_is_said_before_an_answer_keeps_its_place_among_pipelined_requests():
    async def hint(request: Request):
        await request.write(INTERIM)
        await request.reply(b"%d" % request.number)

    async def scenario(rig: Rig):
        await rig.backend(hint)
        client = await rig.client()
        await client.send(GET * 5)
        for number in range(5):
            assert (await client.head())[0] == 103
            assert (await client.answer()).body == b"%d" % number

    run(scenario)


def test_hints_of_a_server_that_fails_are_no_answer():
    async def hint_and_die(request: Request):
        await request.write(INTERIM)
        request.reset()

    async def scenario(rig: Rig):
        await rig.backend(hint_and_die)
        await rig.backend(writes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
        client = await rig.client()
        await client.send(CHAT)
        reply = await client.answer()
        while reply.status == 103:
            reply = await client.answer()
        assert (reply.status, reply.body) == (200, b"ok")
        assert rig.records[0].endpoint == "ns/b1"

    run(scenario)


def test_hints_without_end_are_no_answer():
    async def scenario(rig: Rig):
        await rig.backend(writes(INTERIM * 10_000))
        client = await rig.client()
        await client.send(GET)
        reply = await client.answer()
        while reply.status == 103:
            reply = await client.answer()
        assert reply.status == 502

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
