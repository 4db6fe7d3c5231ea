"""Each kind of case measures what it says: small ones of their kind, against real systems."""

import json
import socket
import threading
from pathlib import Path

import msgspec
import pytest
from bench.answers import CHECKS
from bench.backend import backend
from bench.canned import CHAT, STAMP, stream
from bench.cases import CASES, Case
from bench.drive import Target, crowd
from bench.measure import measure


def small(name: str, **changes: object) -> Case:
    return msgspec.structs.replace(CASES[name](), **changes)


def test_idle_connections_are_counted_and_weighed(tmp_path: Path) -> None:
    case = small("idle-1k", connections=50)
    with backend(case, tmp_path / "backend") as canned:
        found = measure(case, "floor", canned, 0.3, tmp_path / "floor")
    assert (found.errors, found.figures["connections"]) == (0, 50), found.why
    assert found.figures["rss_mb"] > 5
    assert found.figures["cpu_percent"] < 50


def test_clients_that_are_hung_up_on_have_not_stayed(tmp_path: Path) -> None:
    """A server that answers each of five clients, and closes two of the connections when all have their answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(CHAT), CHAT)
    hung_up = threading.Event()

    def serve() -> None:
        clients = [listener.accept()[0] for _ in range(5)]
        for client in clients:
            client.recv(65536)
            client.sendall(answer)
        for client in clients[:2]:
            client.close()
        hung_up.set()
        listener.accept()  # until the test ends

    threading.Thread(target=serve, daemon=True).start()
    authority = f"127.0.0.1:{listener.getsockname()[1]}"
    with crowd(small("idle-1k", connections=5), Target(authority), tmp_path) as clients:
        assert (clients.came.requests, clients.came.wrong) == (5, 0)
        assert hung_up.wait(10)
        assert clients.leave().stayed == 3


def test_a_burst_is_at_once_and_complete(tmp_path: Path) -> None:
    case = small("burst-10k", connections=300, interval_ms=100.0)
    with backend(case, tmp_path / "backend") as canned:
        found = measure(case, "headgate", canned, 1, tmp_path / "headgate")
    assert found.errors == 0, found.why
    assert (found.figures["streams"], found.figures["at_once"]) == (300, 300)
    assert 0 < found.figures["kb_per_stream"] < 400


def test_more_streams_than_descriptors_allow_are_not_asked_for(tmp_path: Path) -> None:
    case = small("burst-10k", connections=10**9, interval_ms=50.0)
    with backend(case, tmp_path / "backend") as canned, pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.measure.most_files", lambda: 700)
        found = measure(case, "direct", canned, 1, tmp_path / "direct")
    assert (found.figures["streams"], found.figures["descriptor_limit"], found.errors) == (100, 700, 0), found.why


def test_an_interval_that_was_asked_for_holds_for_a_large_fleet(tmp_path: Path) -> None:
    """As it comes, headgate asks for no more than 400 pages in a second."""
    case = small("scrape-100")
    with backend(case, tmp_path / "backend") as canned:
        found = measure(case, "headgate", canned, 1, tmp_path / "headgate")
    assert found.errors == 0, found.why
    assert 600 < found.figures["pages_per_s"] <= 2200
    assert found.figures["cores"] > 0


def test_streams_are_timed_at_full_and_at_half_load(tmp_path: Path) -> None:
    case = small("stream", connections=4)
    with backend(case, tmp_path / "backend") as canned:
        found = measure(case, "floor", canned, 0.3, tmp_path / "floor")
    assert found.errors == 0, found.why
    assert found.figures["cpu_us_per_chunk"] == pytest.approx(found.figures["cpu_us_per_request"] / 200)
    assert 0 < found.figures["half_load_p50_ms"] <= found.figures["half_load_p99_ms"] < 5000


@pytest.mark.parametrize("check", ["exact", "meaning"])
def test_what_an_answer_says_is_checked(check: str) -> None:
    right, right_stream = CHECKS[check](CHAT), CHECKS[check](stream(5))
    assert right(CHAT)
    assert not right(CHAT.replace(b"fennel", b"funnel"))
    assert not right(CHAT.replace(b'"stop"', b'"length"'))
    assert not right(CHAT[:-1])
    assert not right(b"")
    sent = stream(5).replace(STAMP, b"sent-%019d" % 123)
    assert right_stream(sent)
    assert not right_stream(sent.replace(b"data: [DONE]\n\n", b""))
    assert not right_stream(sent.replace(b" word1", b" word2"))
    assert not right_stream(CHAT)


def test_only_the_meaning_may_be_written_in_other_words() -> None:
    value = json.loads(CHAT)
    rewritten = json.dumps({"object": "chat.completion", **value, "provider": "x"}, indent=1).encode()
    assert CHECKS["meaning"](CHAT)(rewritten)
    assert not CHECKS["exact"](CHAT)(rewritten)
