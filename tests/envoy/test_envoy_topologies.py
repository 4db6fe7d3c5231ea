"""Through a real Envoy: the destination by header and by override host, bodies of all sizes, and what goes wrong.

ENVOY_ROUNDS=20 asks twenty times as much.
"""

import asyncio
import json
import os
import random
from typing import Any

import pytest
from proxied import Envoy, configuration, free_port, original_dst, processor
from rig import eventually
from rig_envoy import EnvoyRig, run
from wire import CHAT, GET, SSE, Client, Request, chunk, echo, hang, ok, post, writes

from headgate.envoy.options import Options
from headgate.pick.room import Room

ROUNDS = int(os.environ.get("ENVOY_ROUNDS", "1"))
JSON = b"content-type: application/json\r\n"
TOPOLOGIES = ("original_dst", "override_host")


def body_of(size: int) -> bytes:
    """A chat request of about so many bytes, at least the smallest there is."""
    least = len(json.dumps({"model": "m", "messages": []}))
    more = {"user": "x" * (size - least - 12)} if size > least + 12 else {}
    return json.dumps({"model": "m", "messages": [], **more}).encode()


async def send_cut(client: Client, raw: bytes, dice: random.Random) -> None:
    """In pieces, as a network would bring them."""
    at = 0
    while at < len(raw):
        size = dice.choice((1, 100, 5_000, 70_000, 1 << 20))
        await client.send(raw[at : at + size])
        at += size
        if dice.random() < 0.3:
            await asyncio.sleep(0)


async def digest(request: Request) -> None:
    """Says how many bytes came, and which, without sending all of them back."""
    import hashlib

    await request.reply(f"{len(request.body)} {hashlib.sha256(request.body).hexdigest()}".encode())


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("mode", ["FULL_DUPLEX_STREAMED", "BUFFERED"])
def test_bodies_of_all_sizes_cut_at_random_get_there_as_they_are(topology: str, mode: str) -> None:
    import hashlib

    async def scenario(rig: EnvoyRig) -> None:
        await rig.backend(digest)
        await rig.backend(digest)
        await rig.open(topology=topology, request=mode, response=mode, buffer=64 << 20)
        dice = random.Random(f"{topology}{mode}{ROUNDS}")
        sizes = [0, 1, 31, 62_000, 62_001, 1 << 20, (1 << 20) + 1, 8 << 20]
        sizes += [int(2 ** dice.uniform(4, 17)) for _ in range(25 * ROUNDS)]
        dice.shuffle(sizes)
        at_once = 6

        async def some(mine: list[int]) -> None:
            client = await rig.client()
            for size in mine:
                body = body_of(size) if size > 1 else b"x"[:size]
                raw = post(body, "/anything", extra=b"content-type: text/plain\r\n" if size == 1 else JSON)
                await send_cut(client, raw, dice)
                reply = await client.answer()
                assert reply.status == 200, (size, reply.status, reply.body)
                assert reply.body.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}"

        await asyncio.gather(*(some(sizes[n::at_once]) for n in range(at_once)))
        await eventually(lambda: len(rig.records) == len(sizes))
        assert {record.status for record in rig.records} == {200}

    run(scenario)


def test_streams_come_through_as_they_are_and_are_accounted() -> None:
    usage = b'data: {"usage": {"prompt_tokens": 4, "completion_tokens": 2}}\n\n'
    events = [b'data: {"id": 1}\n\n', usage, b"data: [DONE]\n\n"]

    async def stream(request: Request) -> None:
        await request.write(SSE)
        for event in events:
            await request.write(chunk(event))
            await asyncio.sleep(0.01)
        await request.write(b"0\r\n\r\n")

    async def scenario(rig: EnvoyRig) -> None:
        await rig.backend(stream)
        await rig.open()
        body = b'{"model": "m", "stream": true, "messages": [], "stream_options": {"include_usage": true}}'
        replies = await asyncio.gather(*(rig.ask(post(body, extra=JSON)) for _ in range(8)))
        assert {reply.body for reply in replies} == {b"".join(events)}
        await eventually(lambda: len(rig.records) == 8)
        assert {(r.streamed, r.prompt_tokens, r.completion_tokens) for r in rig.records} == {(True, 4, 2)}

    run(scenario)


def test_usage_that_only_the_picker_wanted_is_asked_for_and_hidden() -> None:
    async def stream(request: Request) -> None:
        assert json.loads(request.body)["stream_options"] == {"include_usage": True}
        usage = b'data: {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}\n\n'
        events = [b'data: {"choices": [1]}\n\n', usage, b"data: [DONE]\n\n"]
        await request.write(SSE + b"".join(map(chunk, events)) + b"0\r\n\r\n")

    async def scenario(rig: EnvoyRig) -> None:
        await rig.backend(stream)
        await rig.open()
        reply = await rig.ask(post(b'{"model": "m", "stream": true, "messages": []}', extra=JSON))
        assert reply.body == b'data: {"choices": [1]}\n\ndata: [DONE]\n\n'
        await eventually(lambda: rig.records)
        assert rig.records[0].completion_tokens == 2

    run(scenario)


def test_clients_that_leave_leave_nothing_behind() -> None:
    async def slow(request: Request) -> None:
        await request.write(SSE + chunk(b"data: 1\n\n"))
        await asyncio.Event().wait()

    async def scenario(rig: EnvoyRig) -> None:
        answering, hanging = await rig.backend(slow), await rig.backend(hang)
        await rig.open()
        for _ in range(4 * ROUNDS):
            client = await rig.client()
            await client.send(CHAT)
            await client.head()
            client.reset()
        unfinished = await rig.client()
        await unfinished.send(CHAT[:-5])  # its body never ends
        await eventually(lambda: len(answering.requests) == 4 * ROUNDS)
        unfinished.reset()
        await eventually(lambda: len(rig.records) == 4 * ROUNDS + 1)
        assert rig.ledger.total() == 0
        assert hanging.requests == []

    run(scenario)


def test_the_next_of_the_list_serves_where_the_first_can_not_be_reached() -> None:
    retry = {"retry_on": "connect-failure,refused-stream", "num_retries": 2}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "servers", "timeout": "0s", "retry_policy": retry}}]

    async def scenario(rig: EnvoyRig) -> None:
        rig.nobody()  # the least loaded: it is always the best
        second = await rig.backend(ok)
        await rig.open(options=Options(destinations=2), topology="override_host", routes=routes, served=True)
        for _ in range(3):
            assert (await rig.ask(CHAT)).status == 200
        await eventually(lambda: len(rig.records) == 3)
        assert len(second.requests) == 3
        assert {(record.endpoint, record.tries) for record in rig.records} == {("ns/b1", 2)}

    run(scenario)


def test_an_endpoint_that_refuses_is_a_503_where_nothing_else_is_named() -> None:
    async def scenario(rig: EnvoyRig) -> None:
        rig.nobody()
        await rig.open()
        assert (await rig.ask(CHAT)).status == 503
        await eventually(lambda: rig.records)
        assert rig.records[0].status == 503
        assert rig.ledger.total() == 0

    run(scenario)


@pytest.mark.parametrize("fail_open", [False, True])
def test_a_picker_that_is_gone_is_done_without_where_the_proxy_may(fail_open: bool) -> None:
    async def scenario(rig: EnvoyRig) -> None:
        backend = await rig.backend(ok)
        # In full duplex Envoy has no body left that it could send on: there it fails open for requests without one.
        await rig.open(topology="override_host", fail_open=fail_open, request="BUFFERED")
        assert (await rig.ask(CHAT)).status == 200
        await rig.grpc.close()
        replies = [(await rig.ask(raw)).status for raw in (CHAT, GET, CHAT)]
        assert replies == ([200] * 3 if fail_open else [500] * 3)
        assert len(backend.requests) == (4 if fail_open else 1)

    run(scenario)


def test_requests_wait_their_turn_where_the_pool_is_full() -> None:
    async def scenario(rig: EnvoyRig) -> None:
        gate = asyncio.Event()

        async def gated(request: Request) -> None:
            await gate.wait()
            await request.reply()

        backend = await rig.backend(gated)
        await rig.open()
        asking = [asyncio.create_task(rig.ask(CHAT)) for _ in range(4)]
        await eventually(lambda: len(backend.requests) == 1 and len(rig.plane.parked.get("p", ())) == 3)
        gate.set()
        assert [(await one).status for one in asking] == [200] * 4

    run(scenario, room=Room(endpoint=1))


def test_only_endpoints_that_the_proxy_names_are_picked() -> None:
    async def scenario(rig: EnvoyRig) -> None:
        first, second = await rig.backend(echo), await rig.backend(echo)
        await rig.open(before=[_subset(f"127.0.0.1:{second.port}")])
        assert (await rig.ask(CHAT)).status == 200
        assert (len(first.requests), len(second.requests)) == (0, 1)

    run(scenario)


def _subset(value: str) -> dict[str, Any]:
    """A filter that says which endpoints can be reached, as a gateway does for its subsets."""
    config = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
        "metadata": [
            {
                "metadata_namespace": "envoy.lb.subset_hint",
                "value": {"x-gateway-destination-endpoint-subset": [value]},
            }
        ],
    }
    return {"name": "subset", "typed_config": config}


def test_two_processors_in_a_row_first_the_model_then_the_endpoint() -> None:
    from bbr_rig import body_router

    async def scenario(rig: EnvoyRig) -> None:
        backend = await rig.backend(digest)
        grpc, bbr = await rig.picker(), await body_router({"m": "base"})
        rig.port = free_port()
        names = [_exactly("x-gateway-model-name", "m"), _exactly("x-gateway-base-model-name", "base")]
        routes = [{"match": {"prefix": "/", "headers": names}, "route": {"cluster": "servers", "timeout": "0s"}}]
        processors = [processor("bbr", response="NONE"), processor("epp")]
        config = configuration(rig.port, processors, {"epp": grpc, "bbr": bbr.port}, original_dst(), routes=routes)
        envoy = Envoy(config, rig.port, rig.directory)
        await envoy.__aenter__()
        rig.envoys.append(envoy)
        for size in (100, 62_000, 1_500_000, 3_000_000):
            body = body_of(size)
            reply = await rig.ask(post(body, extra=JSON))
            assert (reply.status, reply.body.split()[0]) == (200, b"%d" % len(body))
        head = backend.requests[-1].headers
        assert (head["x-gateway-model-name"], head["x-gateway-base-model-name"]) == ("m", "base")
        assert (await rig.ask(post(b'{"model": "other"}', extra=JSON))).status == 404  # no route
        assert (await rig.ask(post(b"{", extra=JSON))).status == 400
        await eventually(lambda: len(rig.records) >= 4)
        await bbr.close()

    run(scenario)


def _exactly(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}


def test_an_answer_that_is_broken_off_is_broken_off() -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"

    async def scenario(rig: EnvoyRig) -> None:
        await rig.backend(writes(raw, then="reset"))
        await rig.open()
        reply = await rig.ask(CHAT)
        assert reply.status >= 500 or not reply.whole
        await eventually(lambda: rig.records)
        assert rig.ledger.total() == 0

    run(scenario)
