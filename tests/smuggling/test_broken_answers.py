"""Whatever an endpoint answers: no client gets a mangled answer that looks whole, or a byte of another's."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken_answers import BROKEN, CASES, REFUSED, SECRET, Case, Whole
from gated import Gated, gated
from raw_client import Answer, RawClient
from raw_endpoint import PATIENCE_S, Taken, ok


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("answers")) as found:
        yield found


class Playing:
    """Answers each request for /play with the case's bytes, in pieces; others rightly. `done`: all of it is sent."""

    def __init__(self, case: Case, step: int) -> None:
        self.case, self.step = case, step
        self.done = threading.Event()

    def __call__(self, taken: Taken) -> None:
        if "/play" not in taken.line:
            ok(taken)
            return
        try:
            self._play(taken)
        finally:
            self.done.set()

    def _play(self, taken: Taken) -> None:
        raw, step = self.case.raw, self.step or len(self.case.raw) or 1
        for place in range(0, len(raw), step):
            taken.peer.sendall(raw[place : place + step])
        if self.case.then == "reset":
            taken.reset()
        elif self.case.then == "close":
            taken.peer.close()


def ask(client: RawClient, path: str, method: str = "POST", version: str = "1.1") -> Answer | None:
    length = "content-length: 0\r\n" if method == "POST" else ""
    kept = "connection: keep-alive\r\n" if version == "1.0" else ""
    client.send(f"{method} {path} HTTP/{version}\r\nHost: gw.example\r\n{kept}{length}\r\n".encode())
    answer = client.answer(method)
    while answer is not None and answer.status < 200:  # what comes before an answer is passed on
        assert version == "1.1"
        assert "set-cookie" in answer.headers or "evil" not in str(answer.headers)
        answer = client.answer(method)
    return answer


def outcome(answer: Answer | None) -> Whole | str:
    assert answer is not None, "the client was left without an answer"
    assert SECRET not in answer.body
    assert "evil" not in str(answer.headers)
    if not answer.whole:
        assert b"hello".startswith(answer.body[:5])
        return BROKEN
    if answer.status == 502:
        assert json.loads(answer.body)["error"]["code"] == "endpoint_failed"
        return REFUSED
    return Whole(answer.status, answer.body)


@pytest.mark.parametrize("name", CASES)
def test_a_client_gets_the_answer_or_sees_that_it_is_none(gate: Gated, name: str) -> None:
    case = CASES[name]
    # At one go, again now that the gateway may remember the head, and byte by byte; to clients of both versions.
    for step, version in ((0, "1.1"), (0, "1.1"), (0, "1.0"), (0, "1.1"), (1, "1.1")):
        if step and len(case.raw) > 3000:
            continue
        gate.endpoint.answer = playing = Playing(case, step)
        with gate.client() as client, gate.client() as other:
            answer = ask(client, "/play", case.to, version)
            assert outcome(answer) in case.may_become, answer
            # What comes behind an answer when the connection is in use again can't be told from the next one.
            assert playing.done.wait(PATIENCE_S)
            # Whoever is next, here or elsewhere, gets what it asked for.
            assert _is_right(ask(other, "/other", "GET"), "/other")
            assert answer is not None
            if answer.whole and answer.headers.get("connection") != "close":
                assert _is_right(ask(client, "/next", "GET"), "/next")
            else:
                assert client.ended()


def _is_right(answer: Answer | None, path: str) -> bool:
    return answer is not None and answer.whole and json.loads(answer.body)["line"] == f"GET {path} HTTP/1.1"


def test_the_corpus_is_as_long_as_it_should_be_and_repeats_nothing() -> None:
    assert len(CASES) >= 100
    assert len({(case.raw, case.then, case.to) for case in CASES.values()}) == len(CASES)


def test_an_answer_that_nobody_asked_for_ends_the_connection_it_came_on(gate: Gated) -> None:
    gate.endpoint.answer = ok
    with gate.client() as client:
        for number in range(20):
            assert _is_right(ask(client, f"/{number}", "GET"), f"/{number}")
            idle = gate.endpoint.taken[-1].peer
            idle.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(SECRET), SECRET))
            wait_for_end(gate, len(gate.endpoint.taken))


def test_what_was_left_of_an_answer_spoils_no_other(gate: Gated) -> None:
    """An answer that is longer than it said, the rest of which comes when the next request has been sent."""
    asked: set[int] = set()

    def say_the_rest(taken: Taken) -> None:
        if id(taken.peer) in asked:
            taken.peer.sendall(SECRET)
        else:
            asked.add(id(taken.peer))
            ok(taken)

    gate.endpoint.answer = say_the_rest
    with gate.client() as client:
        for number in range(20):
            assert _is_right(ask(client, f"/{number}", "GET"), f"/{number}")
        assert len(asked) > 1


def wait_for_end(gate: Gated, number: int) -> None:
    """Until the gateway has closed the connection of that request: the endpoint's thread then closes its side."""
    gate.running.until(lambda: gate.endpoint.taken[number - 1].peer.fileno() == -1)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    "endless",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: ",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=",
        b"HTTP/1.1 200 OK\r\nx-a: ",
        b"HTTP/1.1 200 ",
    ],
)
def test_what_never_ends_is_not_kept(gate: Gated, endless: bytes) -> None:
    def flood(taken: Taken) -> None:
        taken.peer.sendall(endless)
        for _ in range(1000):
            taken.peer.sendall(b"a" * 64_000)

    gate.endpoint.answer = flood
    before = resident(gate.pid)
    with gate.client() as client:
        assert outcome(ask(client, "/play")) in (REFUSED, BROKEN)
    assert resident(gate.pid) - before < 16 << 20
