"""The HTTP server over real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from headgate.runtime.client import Client
from headgate.runtime.server import Answer, Request, Server, Stream, serve


def echo(request: Request) -> Answer:
    told = f"{request.method} {request.path} {request.query}".encode()
    return Answer(200, (("content-type", "text/plain"),), told + b" " + request.body)


async def talk(server: Server, *sent: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def with_server(handler: Callable[[Request], Answer | Stream | Awaitable[Answer | Stream]], **options: float):  # type: ignore[no-untyped-def]
    """A decorator's worth of set-up: run `body(server)` with a server."""

    def run(body: Callable[[Server], Awaitable[None]]) -> None:
        async def main() -> None:
            server = await serve(handler, host="127.0.0.1", port=0, **options)  # type: ignore[arg-type]
            try:
                await body(server)
            finally:
                await server.close(0)

        asyncio.run(main())

    return run


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


CLOSE = b"connection: close\r\n\r\n"


def test_a_request_is_told_apart_into_method_path_query_and_body() -> None:
    async def check(server: Server) -> None:
        sent = b"POST /a%20b/c?d=e%20f HTTP/1.1\r\ncontent-length: 5\r\n" + CLOSE + b"hello"
        answer = await talk(server, sent)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
        assert b"\r\nserver: uvicorn\r\n" in answer
        assert body_of(answer) == b"POST /a b/c d=e%20f hello"

    with_server(echo)(check)


def test_bytes_may_come_one_at_a_time() -> None:
    async def check(server: Server) -> None:
        sent = b"PUT /x?y HTTP/1.1\r\ntransfer-encoding: chunked\r\n" + CLOSE + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        assert body_of(await talk(server, *(sent[at : at + 1] for at in range(len(sent))))) == b"PUT /x y abcde"

    with_server(echo)(check)


def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def slowly(request: Request) -> Answer:
        await asyncio.sleep(0.01)
        return echo(request)

    def handler(request: Request) -> Answer | Awaitable[Answer | Stream]:
        return slowly(request) if request.path == "/slow" else echo(request)

    async def check(server: Server) -> None:
        many = b"GET /slow HTTP/1.1\r\n\r\n" + b"GET /1 HTTP/1.1\r\n\r\n" * 40 + b"GET /last HTTP/1.1\r\n" + CLOSE
        answer = await talk(server, many)
        assert answer.count(b"HTTP/1.1 200 OK") == 42
        assert answer.index(b"GET /slow") < answer.index(b"GET /1") < answer.index(b"GET /last")

    with_server(handler)(check)


def test_a_stream_is_sent_in_chunks_and_goes_on_until_it_ends() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one", b"", b"three"):
            yield part
            await asyncio.sleep(0)

    async def check(server: Server) -> None:
        answer = await talk(server, b"GET / HTTP/1.1\r\n" + CLOSE)
        assert b"transfer-encoding: chunked\r\n" in answer
        assert body_of(answer) == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"
        assert body_of(await talk(server, b"GET / HTTP/1.0\r\n\r\n")) == b"onethree"
        assert body_of(await talk(server, b"HEAD / HTTP/1.1\r\n" + CLOSE)) == b""

    with_server(lambda request: Stream(200, (), parts()))(check)


def test_a_stream_ends_when_its_client_goes_away() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"more"
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        server = await serve(lambda request: Stream(200, (), endless()), host="127.0.0.1", port=0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"more")
        writer.close()
        await asyncio.wait_for(ended.wait(), 5)
        await server.close(0)

    asyncio.run(main())


def test_a_stream_that_breaks_is_cut_so_that_nobody_takes_it_for_whole(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("oh")

    async def check(server: Server) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert not (await talk(server, b"GET / HTTP/1.1\r\n\r\n")).endswith(b"0\r\n\r\n")

    with_server(lambda request: Stream(200, (), broken()))(check)
    assert "GET / failed: RuntimeError: oh" in caplog.text


def test_a_mistake_of_ours_is_a_500_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Request) -> Answer:
        raise KeyError("gone")

    async def check(server: Server) -> None:
        answer = await talk(server, b"GET / HTTP/1.1\r\n" + CLOSE)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert body_of(answer) == b"Internal Server Error"

    with_server(handler)(check)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello world\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001, 413),
        (b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 300_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_for_us_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    async def check(server: Server) -> None:
        answer = await talk(server, sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer

    with_server(echo, body_limit=1000)(check)


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async def check(server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n" + CLOSE)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert body_of(await reader.read()) == b"POST /  hi"
        writer.close()

    with_server(echo)(check)


def test_head_has_the_length_and_not_the_body() -> None:
    async def check(server: Server) -> None:
        answer = await talk(server, b"HEAD / HTTP/1.1\r\n" + CLOSE)
        assert b"content-length: 8\r\n" in answer
        assert body_of(answer) == b""

    with_server(echo)(check)


def test_an_idle_connection_is_closed_after_a_while_and_a_busy_one_is_not() -> None:
    async def slowly(request: Request) -> Answer:
        await asyncio.sleep(0.4)
        return echo(request)

    async def check(server: Server) -> None:
        answer = await talk(server, b"GET /slow HTTP/1.1\r\n\r\n")
        assert body_of(answer) == b"GET /slow  "

    with_server(slowly, keep_alive=0.1)(check)


def test_close_finishes_what_runs_and_takes_nothing_new() -> None:
    async def main() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def handler(request: Request) -> Answer:
            begun.set()
            await go_on.wait()
            return echo(request)

        server = await serve(handler, host="127.0.0.1", port=0)
        port = server.port
        asked = asyncio.create_task(Client().fetch("GET", "127.0.0.1", port, "/slow"))
        _, idle = await asyncio.open_connection("127.0.0.1", port)
        await begun.wait()
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0)  # one turn of the loop: it has begun to close
        with pytest.raises(OSError):  # noqa: PT011 - refused, whatever the system calls it
            await asyncio.open_connection("127.0.0.1", port)
        assert not closing.done()
        go_on.set()
        assert (await asked).body == b"GET /slow  "
        await asyncio.wait_for(closing, 5)
        idle.close()

    asyncio.run(main())


def test_close_cuts_what_does_not_end_within_its_grace() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def never(request: Request) -> Answer:
            begun.set()
            await asyncio.Event().wait()
            return echo(request)

        server = await serve(never, host="127.0.0.1", port=0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await begun.wait()
        await asyncio.wait_for(server.close(0.05), 5)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    asyncio.run(main())


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "s")
        server = await serve(echo, path=path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /u HTTP/1.1\r\n" + CLOSE)
        assert body_of(await reader.read()) == b"GET /u  "
        writer.close()
        assert server.port == 0
        await server.close(0)

    asyncio.run(main())


def test_an_address_that_is_taken_is_an_error_of_the_system() -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OSError, match="address already in use"):
                await serve(echo, host="127.0.0.1", port=taken.getsockname()[1])

    asyncio.run(main())
