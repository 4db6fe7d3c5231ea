"""What routes do besides forwarding, on real sockets: mirrors, retries, sessions, pages from elsewhere."""

import asyncio
from time import monotonic

import pytest
from rig import Rig, eventually, run
from wire import CHAT, GET, SSE, Answer, Request, Server, chunk, echo, hang, ok, post, writes

from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Endpoint
from headgate.pick.profile import SERVICE
from headgate.pick.standing import Standing
from headgate.plan.plan import Cors, Mirror, Pool, Retry, Session
from headgate.proxy.plane import Bounds

# Mirrors.


async def mirror(rig: Rig, answer: Answer) -> Server:
    """Another pool, `m`, of one server. Make the backends before."""
    server = Server("ns/m0", answer)
    await server.start()
    pool = Pool("m", "ns", {"app": "m"}, (8000,), kind="service")
    standing = Standing("m", [Endpoint(server.name, "127.0.0.1", server.port)], {}, rig.ledger, rig.prefixes)
    rig.views["m"] = PoolView(pool, standing, SERVICE)
    rig.backends.append(server)
    return server


async def no_copies(rig: Rig) -> None:
    await eventually(lambda: not len(rig.plane.mirrors), "copies are under way")


def test_a_mirror_gets_the_same_bytes_and_its_answer_goes_nowhere():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        shadow = await mirror(rig, echo)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            assert (await client.answer()).body == b"ok"
        await no_copies(rig)
        for mine, its in zip(backend.requests, shadow.requests, strict=True):
            assert (mine.line, mine.headers, mine.body) == (its.line, its.headers, its.body)
        assert shadow.accepted == 1, "its connection is kept like any other"
        assert rig.plane.mirrors.outcomes == {"answered": 3, "failed": 0, "left_out": 0}
        assert len(rig.records) == 3

    run(scenario, mirrors=(Mirror("m"),))


def test_a_mirror_that_hangs_holds_nobody_up():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        shadow = await mirror(rig, hang)
        client = await rig.client()
        began = monotonic()
        for _ in range(20):
            await client.send(CHAT)
            assert (await client.answer()).status == 200
        assert monotonic() - began < 2
        await eventually(lambda: len(shadow.requests) == 20)
        assert rig.ledger.counts["ns/m0"] == 20
        rig.plane.mirrors.close()

    run(scenario, mirrors=(Mirror("m"),))


@pytest.mark.parametrize("how", ["reset", "close", "garbage", "refused"])
def test_a_mirror_that_fails_is_counted_and_nothing_else(how):
    async def fail(request: Request):
        if how == "garbage":
            await request.write(b"SSH-2.0\r\n")
        else:
            getattr(request, how)()

    async def scenario(rig: Rig):
        await rig.backend(ok)
        shadow = await mirror(rig, fail)
        if how == "refused":
            await shadow.stop()
        client = await rig.client()
        for _ in range(3):
            await client.send(CHAT)
            assert (await client.answer()).status == 200
        await no_copies(rig)
        assert rig.plane.mirrors.outcomes["failed"] == 3
        assert [record.tries for record in rig.records] == [1, 1, 1]

    run(scenario, mirrors=(Mirror("m"),))


def test_a_mirror_streams_to_the_end_though_nobody_listens():
    async def stream(request: Request):
        await request.write(SSE)
        for _ in range(50):
            await request.write(chunk(b"data: x\n\n" * 1000))
        await request.write(b"0\r\n\r\n")

    async def scenario(rig: Rig):
        await rig.backend(ok)
        shadow = await mirror(rig, stream)
        assert (await rig.ask(CHAT)).body == b"ok"
        await no_copies(rig)
        assert rig.plane.mirrors.outcomes["answered"] == 1
        assert shadow.accepted == 1

    run(scenario, mirrors=(Mirror("m"),))


def test_copies_that_pile_up_are_left_out():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        shadow = await mirror(rig, hang)
        big = post(b'{"model":"m","messages":["' + b"x" * 70_000 + b'"]}')
        client = await rig.client()
        for raw in (big, big, CHAT, CHAT, CHAT):
            await client.send(raw)
            assert (await client.answer()).status == 200
        await eventually(lambda: len(shadow.requests) == 3)
        assert rig.plane.mirrors.outcomes["left_out"] == 2, "one for its bytes, and one for the number"
        rig.plane.mirrors.close()

    run(scenario, mirrors=(Mirror("m"),), bounds=Bounds(mirrored=3, mirrored_bytes=100_000))


def test_a_copy_has_the_time_of_its_request():
    async def scenario(rig: Rig):
        await rig.backend(ok)
        await mirror(rig, hang)
        assert (await rig.ask(CHAT)).status == 200
        await no_copies(rig)
        assert rig.plane.mirrors.outcomes["failed"] == 1

    run(scenario, mirrors=(Mirror("m"),), timeout_s=0.3)


# Retries.


def times(*answers: str) -> Answer:
    """A server that answers each request with the next status; `hang` does not answer."""

    async def answer(request: Request) -> None:
        does = answers[request.number] if request.number < len(answers) else "200 OK"
        if does == "hang":
            await hang(request)
        await request.reply(b"%d" % request.number, status=does)

    return answer


def test_a_code_of_the_route_is_tried_again_with_the_whole_body():
    async def scenario(rig: Rig):
        backend = await rig.backend(times("503 Busy", "503 Busy"))
        client = await rig.client()
        body = b'{"model":"m","messages":["' + b"x" * 300_000 + b'"]}'
        for number in (2, 3, 4):
            await client.send(post(body))
            reply = await client.answer()
            assert (reply.status, reply.body) == (200, b"%d" % number)
        assert {len(request.body) for request in backend.requests} == {len(body)}
        assert [record.tries for record in rig.records] == [3, 1, 1]

    run(scenario, retry=Retry((503,)))


def test_an_answer_that_is_still_coming_is_let_go_for_another_attempt():
    async def slow(request: Request):
        if request.number == 0:
            await request.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\nbu")
            await hang(request)
        await request.reply()

    async def scenario(rig: Rig):
        await rig.backend(slow)
        assert (await rig.ask(CHAT)).body == b"ok"

    run(scenario, retry=Retry((503,)))


def test_attempts_are_as_far_apart_as_the_route_says():
    async def scenario(rig: Rig):
        await rig.backend(times("503 Busy", "503 Busy"))
        began = monotonic()
        assert (await rig.ask(CHAT)).status == 200
        assert 0.1 <= monotonic() - began < 2
        assert not rig.waited_for, "it did not wait for the pool"

    run(scenario, retry=Retry((503,), backoff_s=0.05))


def test_a_client_that_leaves_between_attempts_leaves_nothing():
    async def scenario(rig: Rig):
        backend = await rig.backend(times("503 Busy"))
        client = await rig.client()
        await client.send(CHAT)
        await eventually(lambda: backend.requests and rig.ledger.total() == 0)
        client.reset()
        await eventually(lambda: rig.records)
        assert rig.records[0].status == 499
        await asyncio.sleep(0)
        assert len(backend.requests) == 1

    run(scenario, retry=Retry((503,), backoff_s=30.0))


def test_an_attempt_that_takes_too_long_gives_way_to_the_next():
    async def scenario(rig: Rig):
        await rig.backend(hang)
        good = await rig.backend(ok)
        assert (await rig.ask(CHAT)).status == 200
        assert len(good.requests) == 1
        assert rig.records[0].tries == 2

    run(scenario, retry=Retry(), backend_timeout_s=1.0)


def test_when_attempts_are_used_up_the_last_answer_is_the_clients():
    async def scenario(rig: Rig):
        backend = await rig.backend(times(*["503 Busy"] * 9))
        reply = await rig.ask(CHAT)
        assert (reply.status, reply.body) == (503, b"1")
        assert len(backend.requests) == 2

    run(scenario, retry=Retry((503,), attempts=1))


# Sessions.


async def asked_by(rig: Rig, cookie: str = "") -> tuple[str, str]:
    """Which server answered, and the cookie that it came with."""
    extra = f"cookie: {cookie}\r\n" if cookie else ""
    reply = await rig.ask(GET[:-2] + extra.encode() + b"\r\n")
    assert reply.status == 200
    return reply.body.decode(), reply.headers.get("set-cookie", "").partition(";")[0]


def test_a_client_comes_back_to_its_server_until_that_is_gone():
    async def name(request: Request):
        await request.reply(request.backend.name.encode())

    async def scenario(rig: Rig):
        for _ in range(3):
            await rig.backend(name)
        first, cookie = await asked_by(rig)
        assert cookie.startswith("sid=")
        for _ in range(4):
            rig.ledger.take(first)
            assert await asked_by(rig, f"theme=dark; {cookie}") == (first, "")
        assert (await asked_by(rig))[0] != first
        for _ in range(4):
            rig.ledger.give(first)
        gone = next(backend for backend in rig.backends if backend.name == first)
        await gone.stop()
        second, moved = await asked_by(rig, cookie)
        assert second != first
        assert moved not in ("", cookie)
        assert await asked_by(rig, moved) == (second, "")

    run(scenario, kind="service", session=Session("ns/r/0", "sid"))


# Pages from elsewhere.

CORS = Cors(("https://a.com",), methods=("POST",), headers=("content-type",))


def test_a_page_asks_first_and_then_reads_the_answer():
    async def shares_all(request: Request):
        await request.reply(headers="access-control-allow-origin: *\r\n")

    async def scenario(rig: Rig):
        backend = await rig.backend(shares_all)
        client = await rig.client()
        for _ in range(3):
            await client.send(
                b"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: gw\r\norigin: https://a.com\r\n"
                b"access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n"
            )
            preflight = await client.answer()
            assert (preflight.status, preflight.headers["access-control-allow-methods"]) == (204, "POST")
            assert "content-length" not in preflight.headers
            for origin, shared in (("https://a.com", "https://a.com"), ("https://b.com", None)):
                await client.send(post(b'{"model":"m"}', extra=b"origin: %b\r\n" % origin.encode()))
                reply = await client.answer()
                assert (reply.status, reply.headers.get("access-control-allow-origin")) == (200, shared)
        assert len(backend.requests) == 6

    run(scenario, cors=CORS)


def test_a_page_reads_streams_too():
    async def scenario(rig: Rig):
        await rig.backend(writes(SSE + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"))
        reply = await rig.ask(post(b'{"model":"m","stream":true}', extra=b"origin: https://a.com\r\n"))
        assert reply.headers["access-control-allow-origin"] == "https://a.com"
        assert reply.body == b"data: [DONE]\n\n"

    run(scenario, cors=CORS)
