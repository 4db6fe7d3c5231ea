"""Broken requests: each gets its answer, none of them disturbs anybody else."""

import asyncio
from time import monotonic

import pytest
from broken_requests import BROKEN, HOST, Broken, body
from rig import Rig, eventually, run
from wire import Reply, ok

from headgate.exchange.router import Router
from headgate.exchange.site import Site
from headgate.plan.plan import Backend, Listener, Match, Route, TextMatch
from headgate.proxy.plane import Bounds

BOUNDS = Bounds(body=100_000, head=4096, headers=50)
MODELS = ("llama", "food-review")
ANY_MODEL = TextMatch("x-gateway-model-name", ".+", "regex")
WEBSOCKETS = [name for name in BROKEN if "WebSocket" in name]
GOOD = body(b'{"model":"llama","messages":[]}')


def guarded(scenario) -> None:
    """With the routes that the table says."""

    async def play(rig: Rig):
        await rig.backend(ok)
        routes = (
            Route("ns/web/0/0", Match("/web"), backends=(Backend("p"),)),
            Route("ns/chat/0/0", Match("/v1", headers=(ANY_MODEL,)), backends=(Backend("p"),)),
        )
        old = rig.listening.site
        listener = Listener("ns/gw", "http", 80, hostname="*.example", routes=routes)
        rig.listening.site = Site(Router((listener,)), rig.views, {}, old.dice, old.limits)
        await scenario(rig)

    run(play, models=MODELS, bounds=BOUNDS)


def check(name: str, broken: Broken, reply: Reply) -> None:
    assert reply.whole, name
    error = reply.error
    assert (reply.status, error["message"], error["param"]) == (broken.status, broken.message, broken.param), name
    assert set(error) == {"message", "type", "param", "code"}, name
    assert reply.headers["x-request-id"], name
    assert reply.headers["date"].endswith("GMT"), name


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_gets_its_answer_and_the_next_one_is_served(name):
    broken = BROKEN[name]

    async def scenario(rig: Rig):
        client = await rig.client()
        sending = asyncio.create_task(client.send(broken.raw))
        reply = await client.answer()
        check(name, broken, reply)
        if reply.headers.get("connection") == "close":
            assert await client.ended()
        await sending
        assert (await rig.ask(GOOD)).body == b"ok"
        assert [request.body for request in rig.backends[0].requests] == [b'{"model":"llama","messages":[]}']
        assert rig.records[0].status == broken.status
        assert rig.records[0].error == broken.message

    guarded(scenario)


def test_nobody_else_waits_for_broken_requests():
    async def scenario(rig: Rig):
        slowest = 0.0
        busy = True

        async def good() -> None:
            nonlocal slowest
            client = await rig.client()
            while busy:
                start = monotonic()
                await client.send(GOOD)
                assert (await client.answer()).body == b"ok"
                slowest = max(slowest, monotonic() - start)

        steady = asyncio.create_task(good())
        for name, broken in BROKEN.items():
            client = await rig.client()
            sending = asyncio.create_task(client.send(broken.raw))
            check(name, broken, await client.answer())
            await sending
            await client.close()
        busy = False
        await steady
        assert slowest < 0.5
        await eventually(lambda: len(rig.plane.connections) <= 1)

    guarded(scenario)


@pytest.mark.parametrize("name", ["two lengths", "a length and chunks", "an unknown model", "half of an object"])
def test_broken_requests_may_come_byte_by_byte(name):
    async def scenario(rig: Rig):
        client = await rig.client()
        for byte in range(len(BROKEN[name].raw)):
            await client.send(BROKEN[name].raw[byte : byte + 1])
            await asyncio.sleep(0)
        check(name, BROKEN[name], await client.answer())

    guarded(scenario)


def test_a_broken_body_leaves_the_connection_as_it_was():
    async def scenario(rig: Rig):
        client = await rig.client()
        for name in (
            "half of an object",
            "an unknown model",
            "a compressed body that is cut short",
            "a body in brotli",
            "an unknown Host",
            "a path above the root",
        ):
            await client.send(BROKEN[name].raw)
            check(name, BROKEN[name], await client.answer())
        await client.send(GOOD)
        assert (await client.answer()).body == b"ok"

    guarded(scenario)


def test_nothing_that_follows_a_broken_request_is_served():
    async def scenario(rig: Rig):
        for name in ("two lengths", "a length and chunks", "a folded header", "CONNECT", "TRACE", *WEBSOCKETS):
            client = await rig.client()
            await client.send(BROKEN[name].raw + GOOD + GOOD)
            check(name, BROKEN[name], await client.answer())
            assert await client.ended(), name
        assert not rig.backends[0].requests

    guarded(scenario)


def test_the_table_is_as_long_as_it_should_be():
    assert len(BROKEN) >= 65
    assert len({broken.raw for broken in BROKEN.values()}) == len(BROKEN)
    assert HOST in GOOD
