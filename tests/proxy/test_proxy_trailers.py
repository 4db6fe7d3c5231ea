"""Trailers, both ways: passed on behind the body, except for what must not stand there."""

import pytest
from rig import Rig, run
from wire import GET, Request, chunk, echo, ok, writes

from headgate.plan.plan import HeaderEdit

CHUNKED = b"POST /x HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\nx-a: 1\r\n\r\n"
BODY = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n"
FORBIDDEN = [
    *("content-length", "transfer-encoding", "host", "content-type", "content-encoding", "connection", "te", "trailer"),
    *("authorization", "cookie", "set-cookie", "cache-control", "x-forwarded-for", "x-forwarded-host", "forwarded"),
    *("x-request-id", "x-gateway-model-name", "X_Gateway_Model_Name", "x-gateway-destination-endpoint", "expect"),
]


def test_a_client_may_send_trailers():
    async def scenario(rig: Rig):
        backend = await rig.backend(echo)
        client = await rig.client()
        for _ in range(3):
            await client.send(CHUNKED + BODY + b"X-Checksum: abc\r\nx-b:  two words \r\n\r\n")
            assert (await client.answer()).status == 200
        assert backend.accepted == 1
        for request in backend.requests:
            assert (request.body, request.trailers) == (b"abc0123456789", {"x-checksum": "abc", "x-b": "two words"})
            assert request.headers["trailer"] == "x-checksum, x-b"

    run(scenario, kind="service")


def test_a_model_server_gets_its_body_by_its_length():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        assert (await rig.ask(CHUNKED + BODY + b"X-Checksum: abc\r\n\r\n")).status == 200
        request = backend.requests[0]
        assert (request.body, request.headers["content-length"]) == (b"abc0123456789", "13")
        assert not {"x-checksum", "trailer"} & {*request.headers, *request.trailers}

    run(scenario)


def test_a_body_with_trailers_may_be_empty_and_a_small_one_is_no_different():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        await rig.ask(CHUNKED + b"0\r\nx-b: 1\r\n\r\n")
        assert (backend.requests[0].body, backend.requests[0].trailers) == (b"", {"x-b": "1"})

    run(scenario, kind="service")


@pytest.mark.parametrize("name", [name for name in FORBIDDEN if name not in ("content-length", "transfer-encoding")])
def test_what_a_server_acts_upon_before_the_body_is_no_trailer(name):
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        assert (await rig.ask(CHUNKED + BODY + name.encode() + b": evil\r\n\r\n")).status == 200
        request = backend.requests[0]
        assert request.headers["content-length"] == "13", "nothing is left that takes chunks"
        assert not request.trailers
        assert "evil" not in str(request.headers)

    run(scenario, kind="service")


def test_a_trailer_does_not_say_again_what_the_head_has_said_or_the_route_decides():
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        await rig.ask(CHUNKED + BODY + b"x-a: 2\r\nX-User: root\r\nx-secret: 1\r\nx-added: 1\r\nx-b: 1\r\n\r\n")
        request = backend.requests[0]
        assert request.trailers == {"x-b": "1"}
        assert (request.headers["x-a"], request.headers["x-user"]) == ("1", "nobody")

    edit = HeaderEdit(set=(("X-User", "nobody"),), add=(("x-added", "0"),), remove=("X-Secret",))
    run(scenario, request=edit, kind="service")


@pytest.mark.parametrize(
    "trailers", [b"x-a: b\r\n" * 101, b"x-a: " + b"b" * 70_000 + b"\r\n", b"x-" + b"b" * 70_000 + b": a\r\n"]
)
def test_trailers_without_end_are_refused(trailers):
    async def scenario(rig: Rig):
        backend = await rig.backend(ok)
        big = b"10000\r\n" + b"x" * 65_536 + b"\r\n"  # the more body there is, the more may frame it; not so behind it
        client = await rig.client()
        await client.send(CHUNKED + big * 8 + b"0\r\n")
        await client.send(trailers + b"\r\n")
        reply = await client.answer()
        assert (reply.status, reply.error["message"]) == (400, "The body's trailers are too large or too many.")
        assert await client.ended()
        assert not backend.requests

    run(scenario)


def test_a_server_may_send_trailers():
    async def scenario(rig: Rig):
        await rig.backend(writes(ANSWER + b"5\r\nhello\r\n0\r\nX-Checksum: abc\r\nx-b: 2\r\n\r\n"))
        client = await rig.client()
        for _ in range(3):
            await client.send(GET)
            reply = await client.answer()
            assert (reply.body, reply.trailers) == (b"hello", {"x-checksum": "abc", "x-b": "2"})
            assert reply.headers["trailer"] == "x-checksum"

    run(scenario)


def test_trailers_may_be_cut_at_every_byte():
    raw = ANSWER + chunk(b"hello") + b"0\r\nX-Checksum: abc\r\nx-b: 2\r\n\r\n"

    async def cut(request: Request):
        await request.write(raw[: request.number])
        await request.write(raw[request.number :])

    async def scenario(rig: Rig):
        await rig.backend(cut)
        client = await rig.client()
        for _ in range(len(raw)):
            await client.send(GET)
            reply = await client.answer()
            assert (reply.body, reply.trailers) == (b"hello", {"x-checksum": "abc", "x-b": "2"})

    run(scenario)


def test_what_a_client_acts_upon_before_the_body_is_no_trailer():
    names = [name for name in FORBIDDEN if name not in ("content-length", "transfer-encoding", "connection")]

    async def scenario(rig: Rig):
        lines = b"".join(b"%b: evil\r\n" % name.encode() for name in names)
        await rig.backend(writes(ANSWER + b"5\r\nhello\r\n0\r\n" + lines + b"x-b: 1\r\n\r\n"))
        assert (await rig.ask(GET)).trailers == {"x-b": "1"}

    run(scenario)


def test_an_old_client_gets_none():
    async def scenario(rig: Rig):
        await rig.backend(writes(ANSWER + b"5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n"))
        reply = await rig.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (reply.body, reply.trailers) == (b"hello", {})

    run(scenario)
