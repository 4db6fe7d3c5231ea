"""No request reaches an endpoint in two readings, whatever a client sends."""

import json
from collections.abc import Iterator

import pytest
from fuzz.readings import HABITS, Message, read, telling
from gated import Gated, gated
from raw_client import Answer, RawClient
from smuggled_requests import CASES, EVIL, HOST, SERVED_EVIL, Case, One, post

GOOD = b"GET /good HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("smuggling")) as found:
        yield found


def check(gate: Gated, client: RawClient, case: Case) -> None:
    """What the client gets, and what the endpoint has got by then."""
    wanted = [one for one in case.answers if isinstance(one, One)]
    for expected in case.answers:
        answer = client.answer()
        while answer is not None and answer.status == 100:
            answer = client.answer()
        assert answer is not None
        assert answer.whole
        if isinstance(expected, One):
            assert answer.status == 200, answer
            said = json.loads(answer.body)
            assert (said["line"], said["body"].encode("latin-1")) == (expected.line, expected.body)
        else:
            assert answer.status in (expected if isinstance(expected, frozenset) else {expected}), answer
            assert "x-seen" not in answer.headers
            assert json.loads(answer.body)["error"]["message"]
    if case.ends:
        assert client.ended()
    elif case.waits:
        assert client.silent()
    else:
        client.send(GOOD)
        good = client.answer()
        assert good is not None
        assert json.loads(good.body)["line"] == "GET /good HTTP/1.1"
        wanted.append(One("GET /good HTTP/1.1"))
    if case.ends or case.waits:
        client.close()
        with gate.client() as other:
            other.send(GOOD)
            assert other.answer() is not None
        wanted.append(One("GET /good HTTP/1.1"))
    assert [One(one.line, one.body, one.headers["host"]) for one in gate.endpoint.taken] == wanted


def in_one_reading(gate: Gated) -> None:
    """What has arrived means the same to every server."""
    for raw in gate.endpoint.raw:
        strictly = read(bytes(raw), HABITS[0])
        assert all(isinstance(message, Message) for message in strictly)
        for habits in telling(raw)[1:]:
            assert read(bytes(raw), habits) == strictly, habits


@pytest.mark.parametrize("name", CASES)
def test_each_request_reaches_an_endpoint_in_one_reading_or_not_at_all(gate: Gated, name: str) -> None:
    case = CASES[name]
    # Whole; after others, which the gateway may remember; byte by byte; and again, now that it knows this one.
    for before, step in (([], 0), ([GOOD, post(b"Content-Length: 5\r\n")], 0), ([], 1), ([], 0)):
        gate.endpoint.forget()
        with gate.client() as client:
            for raw in before * 3:
                client.send(raw)
                assert client.answer() is not None
            gate.endpoint.forget()
            client.send(case.raw, step=step if len(case.raw) < 3000 else 0)
            check(gate, client, case)
            in_one_reading(gate)


def test_the_corpus_is_as_long_as_it_should_be_and_repeats_nothing() -> None:
    assert len(CASES) >= 200
    assert len({case.raw for case in CASES.values()}) == len(CASES)
    assert SERVED_EVIL.line.encode() in EVIL


def test_readings_differ_where_servers_do() -> None:
    """The parser that says that nothing was smuggled knows smuggling when it sees it."""
    smuggled = [
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 0\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nx: a\ncontent-length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nx: a\rcontent-length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nx: a\r\n content-length: 3\r\ncontent-length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length : 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ncontent_length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    ]
    for raw in smuggled:
        assert len({repr(read(raw, habits)) for habits in HABITS}) > 1, raw


def test_the_habits_that_are_left_out_would_have_told_nothing_more() -> None:
    for case in CASES.values():
        raw = case.raw[:3000]
        all_readings = {repr(read(raw, habits)) for habits in HABITS}
        assert {repr(read(raw, habits)) for habits in telling(raw)} == all_readings, raw
        assert telling(raw)[0] == HABITS[0]


def test_what_a_client_says_of_itself_does_not_replace_what_the_gateway_says(gate: Gated) -> None:
    names = (
        "X-Forwarded-Proto",
        "X_Forwarded_Proto",
        "x-gateway-model-name",
        "X_Gateway_Model_Name",
        "TE",
        "HTTP2-Settings",
    )
    gate.endpoint.forget()
    with gate.client() as client:
        client.send(
            b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"%b: evil\r\n" % name.encode() for name in names) + b"\r\n"
        )
        answer = client.answer()
        assert isinstance(answer, Answer)
        assert answer.status == 200
    (taken,) = gate.endpoint.taken
    assert [pair for pair in taken.pairs if "evil" in pair[1]] == []
