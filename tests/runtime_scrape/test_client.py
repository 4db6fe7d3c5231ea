"""The HTTP client against servers that do all that servers do."""

import asyncio
import socket

import pytest
from raw_server import ok, serving

from headgate.runtime.client import Answer, Client, ClientError


def fetch(said, *, method="GET", times=1, timeout=2.0, **more):
    """The answers to `times` questions, one after the other, and the server."""

    async def scenario():
        client = Client()
        async with serving(lambda path: said) as server:
            answers = [
                await client.fetch(method, "127.0.0.1", server.port, "/x", timeout=timeout, **more)
                for _ in range(times)
            ]
            client.close()
            return answers, server

    return asyncio.run(scenario())


def failure(said, **more):
    with pytest.raises(ClientError) as caught:
        fetch(said, **more)
    return str(caught.value)


def test_an_answer_has_status_headers_in_lower_case_and_body():
    (answer,), server = fetch(ok("hello", headers="X-Thing: A\r\nx-thing: b\r\n"))
    assert answer == Answer(200, (("content-length", "5"), ("x-thing", "A"), ("x-thing", "b")), b"hello")
    assert server.requests == [b"GET /x HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % server.port]


def test_questions_share_one_connection():
    answers, server = fetch(ok("hello"), times=5)
    assert [answer.body for answer in answers] == [b"hello"] * 5
    assert server.connections == 1


def test_a_body_goes_with_its_length_and_headers():
    _, server = fetch(ok(""), method="POST", body=b"{}", headers=[("content-type", "application/json")])
    assert server.requests[0].endswith(b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    _, server = fetch(ok(""), method="POST")
    assert b"content-length: 0\r\n" in server.requests[0]


def test_a_post_never_goes_to_a_connection_that_may_have_been_closed():
    _, server = fetch(ok("done"), method="POST", body=b"{}", times=3)
    assert server.connections == 3


def test_chunks_are_put_together():
    chunked = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    )
    answers, server = fetch(chunked, times=2)
    assert [answer.body for answer in answers] == [b"abcdefg"] * 2
    assert server.connections == 1


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body_end_with_their_head(status):
    answers, server = fetch(b"HTTP/1.1 %d Nothing\r\n\r\n" % status, times=2)
    assert [(answer.status, answer.body) for answer in answers] == [(status, b"")] * 2
    assert server.connections == 1


def test_the_answer_to_head_has_no_body_whatever_its_length_says():
    (answer,), _ = fetch(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("headers", [b"", b"x: y\r\n"])
def test_an_answer_without_a_length_ends_with_the_connection(headers):
    answers, server = fetch((b"HTTP/1.1 200 OK\r\n" + headers + b"\r\nhello", "close"), times=2)
    assert [answer.body for answer in answers] == [b"hello"] * 2
    assert server.connections == 2


def test_an_answer_that_says_close_is_the_last_on_its_connection():
    _, server = fetch(ok("hello", headers="connection: close\r\n"), times=2)
    assert server.connections == 2


def test_a_100_continue_is_not_the_answer():
    (answer,), _ = fetch(b"HTTP/1.1 100 Continue\r\n\r\n" + ok("hello"))
    assert (answer.status, answer.body) == (200, b"hello")


def test_an_answer_cut_short_is_none():
    assert failure((b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhel", "close")) == "the server closed the connection"
    assert failure((b"", "close")) == "the server closed the connection"
    assert failure((b"HTTP/1.1 200", "close")) == "the server closed the connection"


def test_a_second_answer_to_one_question_is_not_taken_for_the_next():
    answers, server = fetch(ok("one") + ok("two"), times=2)
    assert [answer.body for answer in answers] == [b"one", b"one"]
    assert server.connections == 2


def test_what_is_not_http_is_said_to_be():
    assert failure(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").startswith("not an HTTP answer: ")
    assert failure(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")


def test_a_silent_server_is_waited_for_no_longer_than_asked():
    assert failure(None, timeout=0.05) == "no answer within 0.05 s"


def test_an_answer_without_end_is_not_kept_in_memory(monkeypatch):
    monkeypatch.setattr("headgate.runtime.client._LONGEST_BODY", 1 << 20)
    assert failure(ok(bytes(2 << 20))) == "an answer of more than 1 MiB"


def test_a_connection_that_the_server_closed_while_idle_costs_no_answer():
    async def scenario():
        client = Client()
        async with serving(lambda path: ok("hello")) as server:
            for _ in range(3):
                answer = await client.fetch("GET", "127.0.0.1", server.port, "/")
                assert answer.body == b"hello"
                server.drop_connections()  # not seen by the client before it writes
            assert server.connections == 3
        client.close()

    asyncio.run(scenario())


def test_only_so_many_connections_are_kept():
    async def scenario():
        client = Client(idle_per_server=2)
        async with serving(lambda path: ok("hello")) as server:
            questions = (client.fetch("GET", "127.0.0.1", server.port, "/") for _ in range(5))
            assert len(await asyncio.gather(*questions)) == 5
            assert len(client._idle["127.0.0.1", server.port, ""]) == 2
            client.forget("127.0.0.1", server.port)
            assert not client._idle

    asyncio.run(scenario())


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_a_refused_connection_is_said_to_be():
    async def scenario(ask):
        with pytest.raises(ClientError, match=r"^connection refused$"):
            await ask(Client(), free_port())

    asyncio.run(scenario(lambda client, port: client.fetch("GET", "127.0.0.1", port, "/")))
    asyncio.run(scenario(lambda client, port: client.connect("127.0.0.1", port)))


def test_a_name_that_nobody_knows_is_no_answer():
    with pytest.raises(ClientError):
        asyncio.run(Client().fetch("GET", "no-such-host.invalid", 80, "/"))


def test_ipv6_is_spoken():
    async def scenario():
        async with serving(lambda path: ok("hello"), "::1") as server:
            client = Client()
            assert (await client.fetch("GET", "::1", server.port, "/")).body == b"hello"
            assert b"host: [::1]:%d\r\n" % server.port in server.requests[0]
            client.close()

    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6: enable it to run this test")
    asyncio.run(scenario())


def test_connect_says_nothing_and_leaves():
    async def scenario():
        async with serving(lambda path: ok("hello")) as server:
            await Client().connect("127.0.0.1", server.port)
            assert server.requests == []

    asyncio.run(scenario())
