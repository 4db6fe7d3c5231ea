"""Requests that are sent again, unseen: what was not begun can be had from another model server."""

import asyncio
import json

import pytest
from rig import Rig, eventually, run
from wire import CHAT, GET, SSE, Request, chunk, ok, writes

DIED = json.dumps({"error": {"message": "EngineCore encountered an issue. See stack trace", "code": 500}}).encode()


def says(status: str, body: bytes = b"no", *, pieces: bool = False):
    """A server that answers so; head and body come one after the other, as uvicorn sends them."""

    async def answer(request: Request):
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (
            status.encode(),
            len(body),
        )
        if pieces:
            await request.write(head)
            await asyncio.sleep(0.005)
            await request.write(body)
        else:
            await request.write(head + body)

    return answer


@pytest.mark.parametrize("pieces", [True, False])
@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable"])
def test_a_model_server_that_says_it_can_not_is_replaced_by_one_that_can(status, pieces):
    async def scenario(rig: Rig):
        bad, good = await rig.backend(says(status, pieces=pieces)), await rig.backend(ok)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            assert (await client.answer()).body == b"ok"
        assert (len(bad.requests), len(good.requests)) == (3, 3)
        assert [record.tries for record in rig.records] == [2, 2, 2]
        assert rig.records[0].error == ""

    run(scenario)


@pytest.mark.parametrize("pieces", [True, False])
def test_what_all_model_servers_say_is_passed_on(pieces):
    async def scenario(rig: Rig):
        for _ in range(2):
            await rig.backend(says("503 Service Unavailable", b"full", pieces=pieces))
        reply = await rig.ask(CHAT)
        assert (reply.status, reply.body) == (503, b"full")

    run(scenario)


@pytest.mark.parametrize("pieces", [True, False])
def test_a_500_may_be_the_fault_of_the_request_and_is_passed_on(pieces):
    async def scenario(rig: Rig):
        await rig.backend(says("500 Internal Server Error", b"a" * 10_000, pieces=pieces))
        good = await rig.backend(ok)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            reply = await client.answer()
            assert (reply.status, reply.body) == (500, b"a" * 10_000)
        assert not good.requests

    run(scenario)


def test_a_500_in_chunks_is_passed_on_whole_however_it_is_cut():
    async def answer(request: Request):
        raw = (
            b"HTTP/1.1 500 E\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            + chunk(b'{"a":')
            + chunk(b"[1,")
            + chunk(b"2]}")
            + b"0\r\n\r\n"
        )
        size = 1 + request.number * 9
        for place in range(0, len(raw), size):
            await request.write(raw[place : place + size])
            await asyncio.sleep(0.001)

    async def scenario(rig: Rig):
        await rig.backend(answer)
        client = await rig.client()
        for _ in range(8):
            await client.send(CHAT)
            reply = await client.answer()
            assert (reply.status, reply.body, reply.whole) == (500, b'{"a":[1,2]}', True)

    run(scenario)


@pytest.mark.parametrize("pieces", [True, False])
def test_a_500_of_an_engine_that_has_died_is_asked_elsewhere(pieces):
    async def scenario(rig: Rig):
        await rig.backend(says("500 Internal Server Error", DIED, pieces=pieces))
        good = await rig.backend(ok)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            assert (await client.answer()).status == 200
        assert len(good.requests) == 3

    run(scenario)


def test_an_engine_that_dies_before_the_first_token_of_a_stream_is_replaced():
    async def scenario(rig: Rig):
        await rig.backend(writes(SSE + chunk(b"data: %b\n\n" % DIED) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"))
        await rig.backend(writes(SSE + chunk(b"data: 1\n\n") + b"0\r\n\r\n"))
        reply = await rig.ask(CHAT)
        assert reply.body == b"data: 1\n\n"

    run(scenario)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("head", [SSE, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"])
def test_a_stream_that_breaks_off_before_its_first_byte_is_asked_for_elsewhere(head, end):
    async def dies_in_prefill(request: Request):
        await request.write(head)
        await asyncio.sleep(0.02)
        getattr(request, end)()

    async def scenario(rig: Rig):
        bad = await rig.backend(dies_in_prefill)
        await rig.backend(writes(SSE + chunk(b"data: 1\n\n") + b"0\r\n\r\n"))
        reply = await rig.ask(CHAT)
        assert (reply.status, reply.body) == (200, b"data: 1\n\n")
        assert len(bad.requests) == 1
        assert rig.records[0].tries == 2

    run(scenario)


def test_a_stream_of_a_service_is_answered_by_its_head():
    async def waits(request: Request):
        await request.write(SSE)
        await asyncio.Event().wait()

    async def scenario(rig: Rig):
        await rig.backend(waits)
        client = await rig.client()
        await client.send(GET)
        assert (await client.head())[0] == 200
        client.reset()

    run(scenario, kind="service")


def test_a_stream_that_has_no_bytes_at_all_is_one_all_the_same():
    async def scenario(rig: Rig):
        await rig.backend(writes(SSE + b"0\r\n\r\n"))
        client = await rig.client()
        for _ in range(2):
            await client.send(CHAT)
            reply = await client.answer()
            assert (reply.status, reply.body, reply.whole) == (200, b"", True)

    run(scenario)


def test_a_stream_that_a_client_leaves_before_its_first_byte_is_aborted_at_the_server():
    async def waits(request: Request):
        await request.write(SSE)
        await asyncio.Event().wait()

    async def scenario(rig: Rig):
        backend = await rig.backend(waits)
        client = await rig.client()
        await client.send(CHAT)
        await eventually(lambda: backend.requests)
        client.reset()
        await eventually(lambda: not backend.open)
        assert rig.records[0].status == 499

    run(scenario)


def test_many_requests_that_a_dying_server_takes_along_are_all_answered_by_the_other_one():
    async def scenario(rig: Rig):
        dead = asyncio.Event()

        async def dies(request: Request):
            if len(request.backend.requests) >= 15:
                dead.set()
            await dead.wait()
            request.reset()

        async def outlives(request: Request):
            await dead.wait()
            await ok(request)

        bad, good = await rig.backend(dies), await rig.backend(outlives)
        replies = await asyncio.gather(*(rig.ask(CHAT) for _ in range(40)))
        assert {reply.status for reply in replies} == {200}
        assert len(bad.requests) >= 15
        assert len(good.requests) == 40
        assert any(record.waited for record in rig.records), "the budget was exceeded for a moment"

    run(scenario)
