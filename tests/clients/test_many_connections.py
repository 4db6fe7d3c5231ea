"""Connections by the thousand, one after the other: nothing of them stays."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gated import Gated, gated
from raw_endpoint import ok


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("many")) as found:
        yield found


def held(pid: int) -> tuple[int, float]:
    """Files and sockets, and MB of memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def one(gate: Gated, number: int) -> None:
    request = (
        b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number,
        b"POST /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello" % number,
        b"GET /%d HTTP/1.0\r\nHost: a\r\n\r\n" % number,
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Number: %d\r\n\r\n" % number,
        b"nonsense %d\r\n\r\n" % number,
    )[number % 5]
    with gate.client() as client:
        client.send(request)
        answer = client.answer()
        assert answer is not None
        assert answer.status == (400 if number % 5 == 4 else 200)


def test_a_thousand_connections_one_after_the_other_leave_nothing(gate: Gated) -> None:
    gate.endpoint.answer = ok
    for number in range(2500):  # records of requests are kept for a while: first they must be as many as they ever are
        one(gate, number)
    files, memory = held(gate.pid)
    for number in range(2500, 3500):
        one(gate, number)
    gate.running.until(lambda: held(gate.pid)[0] <= files)
    assert held(gate.pid)[1] - memory < 4
