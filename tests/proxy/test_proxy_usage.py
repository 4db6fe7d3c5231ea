"""Usage over real sockets: hidden wherever TCP cut it, and nothing else waits for it."""

import asyncio
import json

import pytest
from rig import Rig, eventually, run
from wire import SSE, Request, chunk, hang, post

EVENTS = [b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % n for n in range(3)]
USAGE = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}\n\n'
DONE = b"data: [DONE]\n\n"
JSON = b"content-type: application/json\r\n"


def asking(**more: object) -> bytes:
    return post(json.dumps({"model": "m", "messages": [], "stream": True, **more}).encode(), extra=JSON)


@pytest.mark.parametrize("framing", ["chunked", "until the end"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_cut_anywhere_by_tcp_comes_without_the_usage_that_nobody_asked_for(size, framing):
    body = b"".join([*EVENTS, USAGE, DONE])
    raw = b"".join(map(chunk, [*EVENTS, USAGE, DONE])) + b"0\r\n\r\n" if framing == "chunked" else body
    head = SSE if framing == "chunked" else SSE.replace(b"transfer-encoding: chunked\r\n", b"connection: close\r\n")

    async def stream(request: Request):
        assert json.loads(request.body)["stream_options"] == {"include_usage": True}
        await request.write(head)
        for start in range(0, len(raw), size):
            await request.write(raw[start : start + size])
            await asyncio.sleep(0)
        if framing != "chunked":
            request.close()

    async def scenario(rig: Rig):
        await rig.backend(stream)
        reply = await rig.ask(asking())
        assert reply.whole
        assert reply.body == b"".join([*EVENTS, DONE])
        (record,) = rig.records
        assert (record.prompt_tokens, record.completion_tokens) == (5, 3)
        assert record.bytes_out == len(reply.body)

    run(scenario)


def test_an_event_waits_for_nothing_and_the_hidden_one_for_its_end():
    async def stream(request: Request):
        await request.write(SSE)
        for event in EVENTS:
            await request.write(chunk(event))
        await request.write(chunk(USAGE[:40]))
        await hang(request)

    async def scenario(rig: Rig):
        await rig.backend(stream)
        client = await rig.client()
        await client.send(asking())
        await client.head()
        got = b""
        while len(got) < sum(map(len, EVENTS)):
            got += await asyncio.wait_for(client.chunk(), 5)
        assert got == b"".join(EVENTS)
        assert not client.reader._buffer  # type: ignore[attr-defined]  # nothing of the hidden one
        await client.close()
        await eventually(lambda: rig.records)
        assert rig.records[0].chunks == 4
        assert rig.records[0].prompt_tokens is None

    run(scenario)


def test_a_client_that_asks_gets_the_usage():
    async def stream(request: Request):
        await request.write(SSE + b"".join(map(chunk, [*EVENTS, USAGE, DONE])) + b"0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(stream)
        reply = await rig.ask(asking(stream_options={"include_usage": True}))
        assert reply.body == b"".join([*EVENTS, USAGE, DONE])
        assert rig.records[0].completion_tokens == 3

    run(scenario)


@pytest.mark.parametrize("framed", ["content-length", "chunked"])
def test_a_json_answer_keeps_its_length_and_tells_its_usage(framed):
    body = json.dumps({"data": ["x" * 300_000], "usage": {"prompt_tokens": 9, "total_tokens": 9}}).encode()

    async def answer(request: Request):
        kind = "content-type: application/json\r\n"
        if framed == "content-length":
            await request.reply(body, headers=kind)
        else:
            head = f"HTTP/1.1 200 OK\r\n{kind}transfer-encoding: chunked\r\n\r\n".encode()
            await request.write(head + chunk(body[:1000]) + chunk(body[1000:]) + b"0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(answer)
        for _ in range(3):  # heads that are known go another way
            reply = await rig.ask(post(b'{"model":"m","input":"x"}', "/v1/embeddings", JSON))
            assert reply.body == body
            assert ("content-length" in reply.headers) is (framed == "content-length")
        assert [(record.prompt_tokens, record.completion_tokens) for record in rig.records] == [(9, 0)] * 3

    run(scenario)
