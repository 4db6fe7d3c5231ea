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
        (b"HTTP/1.1 103 E\r\nlink: x\r\n\r\nHTTP/1.1 404 N\r\ncontent-length: 0\r\n\r\n", "", 404, b""),
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
