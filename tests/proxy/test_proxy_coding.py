"""Compressed requests over sockets: decoded without holding up anybody, bounded, or refused."""

import asyncio
import gzip
import json
import os
import zlib
from time import monotonic

import pytest
from rig import Rig, eventually, run
from wire import GET, ok, post

from headgate.proxy.plane import Bounds

JSON = b"content-type: application/json\r\n"


def coded(coding: str, body: bytes) -> bytes:
    return post(body, extra=JSON + b"content-encoding: %b\r\n" % coding.encode())


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("size", [10, 100_000, 4_000_000])
def test_a_model_server_gets_the_body_unpacked_whatever_its_size(coding, pack, size):
    body = json.dumps({"model": "m", "prompt": os.urandom(size // 2).hex()}).encode()

    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        client = await rig.client()
        for _ in range(3):  # the head is remembered by then
            await client.send(coded(coding, pack(body)))
            assert (await client.answer()).status == 200
        for request in backend.requests:
            assert request.body == body
            assert request.headers["content-length"] == str(len(body))
            assert "content-encoding" not in request.headers
        assert {record.bytes_in for record in rig.records} == {len(pack(body))}

    run(scenario)


def test_others_are_served_while_large_bodies_are_decoded():
    body = json.dumps({"model": "m", "prompt": os.urandom(6_000_000).hex()}).encode()
    packed = gzip.compress(body, 1)

    async def scenario(rig: Rig):
        await rig.backend(ok)
        heavy = [await rig.client() for _ in range(4)]
        other = await rig.client()
        for client in heavy:
            await client.send(coded("gzip", packed))
        answers = [asyncio.create_task(client.answer()) for client in heavy]
        slowest, served = 0.0, 0
        while not all(answer.done() for answer in answers):
            start = monotonic()
            await other.send(GET)
            assert (await other.answer()).status == 200
            slowest, served = max(slowest, monotonic() - start), served + 1
        assert [answer.result().status for answer in answers] == [200] * 4
        assert served > 20
        assert slowest < 0.5

    run(scenario)


def test_a_bomb_costs_its_sender_the_request_and_nobody_anything():
    bomb = gzip.compress(b"\0" * (100 << 20))

    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        client = await rig.client()
        await client.send(coded("gzip", bomb))
        reply = await client.answer()
        assert (reply.status, reply.error["code"]) == (413, "body_too_large")
        await client.send(coded("gzip", gzip.compress(b'{"model":"m"}')))
        assert (await client.answer()).status == 200, "the connection goes on"
        assert len(backend.requests) == 1

    run(scenario)


def test_the_limit_holds_for_what_comes_out():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        assert (await rig.ask(coded("gzip", gzip.compress(b'{"model":"m"}' + b" " * 987)))).status == 200
        reply = await rig.ask(coded("gzip", gzip.compress(b'{"model":"m"}' + b" " * 988)))
        assert (reply.status, reply.error["message"]) == (413, "The decoded body is larger than 1000 bytes.")

    run(scenario, bounds=Bounds(body=1000))


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_what_is_not_decoded_here_is_refused_with_what_is(coding):
    async def scenario(rig: Rig):
        await rig.backend(ok)
        reply = await rig.ask(coded(coding, b"\x28\xb5\x2f\xfd"))
        assert (reply.status, reply.headers["accept-encoding"]) == (415, "gzip, deflate")
        assert coding in reply.error["message"]

    run(scenario)


def test_a_service_gets_every_coding_as_it_came():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        for coding in ("gzip", "br", "zstd", "gzip, br"):
            assert (await rig.ask(coded(coding, b"whatever"))).status == 200
            assert backend.requests[-1].headers["content-encoding"] == coding
            assert backend.requests[-1].body == b"whatever"

    run(scenario, kind="service")


def test_a_client_that_leaves_while_its_body_is_decoded_leaves_nothing():
    packed = gzip.compress(os.urandom(8_000_000), 1)

    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        client = await rig.client()
        await client.send(coded("gzip", packed))
        await eventually(lambda: rig.plane.decoding._under_way)
        client.reset()
        await eventually(lambda: not rig.plane.connections)
        assert not rig.plane.decoding._under_way
        assert [record.status for record in rig.records] == [499]
        assert not backend.requests

    run(scenario)
