"""The bench itself: what it compares with is right, what it counts is whole, and it leaves nothing behind."""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from bench.answers import stamps
from bench.backend import Backend, backend
from bench.canned import CHAT, STAMP, USAGE_EVENT, stream
from bench.cases import CASES
from bench.drive import Target, drive
from bench.measure import Measurement
from bench.page import metrics_page
from bench.processes import ROOT, running, usage
from bench.report import in_data, markdown, summarise

needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler: install gcc or clang as cc")
needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk: install it (Debian: apt install wrk)")
SHORT = CASES["chat-short"]()
STAMPED = re.compile(rb"sent-\d{19}")
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
    with backend(SHORT, tmp_path, kind) as canned:
        assert body_of(ask(canned, post(b'{"model":"food-review"}'))) == CHAT
        assert body_of(ask(canned, post(b"x" * 400_000))) == CHAT
        assert body_of(ask(canned, *(bytes([byte]) for byte in chunked))) == CHAT
        assert ask(canned, post(b"{}") + post(b"{}") + chunked).count(CHAT) == 3
        sent = body_of(ask(canned, post(b'{"stream": true}')))
        assert STAMPED.sub(STAMP, sent) == stream(200)
        with_usage = stream(200).replace(b"data: [DONE]", USAGE_EVENT + b"data: [DONE]")
        sent = body_of(ask(canned, post(b'{"stream":true,"stream_options":{"include_usage":true}}')))
        assert STAMPED.sub(STAMP, sent) == with_usage
        times = stamps(sent)[:-1]  # the usage has none
        assert len(times) == 200
        assert all(0 < now - before < 1e9 for before, now in itertools.pairwise(times))
        assert 0 < time.monotonic_ns() - times[-1] < 10e9
        page = metrics_page(3, 0.78, ("travel-helper",)).replace("@RUNNING@", "0.0")
        assert body_of(ask(canned, GET % b"/metrics", at=3)).decode() == page
        assert ask(canned, GET % b"/health").startswith(b"HTTP/1.1 200 OK\r\n")
        assert canned.pages() == 1


@pytest.mark.parametrize("tool", ["own", pytest.param("wrk", marks=needs_wrk)])
def test_an_answer_that_differs_by_one_byte_is_an_error(tool: str, tmp_path: Path) -> None:
    other = msgspec.structs.replace(SHORT, answer=CHAT[:-1] + b" ")
    with backend(SHORT, tmp_path / "backend") as canned:
        right = drive(SHORT, Target(canned.endpoints[0]), 1, tmp_path / "right", tool)
        wrong = drive(other, Target(canned.endpoints[0]), 1, tmp_path / "wrong", tool)
    assert right.requests > 100
    assert (right.wrong, right.why) == (0, "")
    assert 0 < right.p50_ms <= right.p99_ms
    assert wrong.wrong > 0
    assert wrong.why.startswith("status 200, ")


def test_streams_are_checked_to_the_last_chunk(tmp_path: Path) -> None:
    case = msgspec.structs.replace(CASES["stream"](), connections=3)
    cut = msgspec.structs.replace(case, answer=case.answer.removesuffix(b"data: [DONE]\n\n"))
    with backend(case, tmp_path / "backend") as canned:
        right = drive(case, Target(canned.endpoints[0]), 0.2, tmp_path / "right", "own")
        wrong = drive(cut, Target(canned.endpoints[0]), 0.2, tmp_path / "wrong", "own")
    assert (right.requests, right.wrong, right.at_once) == (3, 0, 3)
    assert 0 < right.p50_ms <= right.p99_ms < 1000
    assert (wrong.requests, wrong.wrong > 0) == (0, True)


def test_a_server_that_nobody_answers_for_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # never listens
        tally = drive(SHORT, Target(f"127.0.0.1:{taken.getsockname()[1]}"), 0.2, tmp_path, "own")
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
    figures = {"cpu_us_per_request": 30.0, "requests_per_s": 20_000.0, "p50_ms": 1.0, "p99_ms": 2.0, "rss_mb": 60.0}
    good = Measurement("as it is", figures)
    bad = msgspec.structs.replace(good, errors=1, why="status 502, 0 bytes: ")
    rows = [summarise(SHORT, "floor", [good, good]), summarise(SHORT, "envoy", [good, bad])]
    assert in_data(rows[0])["cpu_us_per_request"] == 30.0
    assert in_data(rows[1])["cpu_us_per_request"] is None
    assert in_data(rows[1])["errors"] == 1
    table = markdown({SHORT.name: SHORT}, rows).splitlines()
    assert table[2].startswith("| floor | 30.0 | 1.00 | 20,000 |")
    assert table[3].startswith("| envoy | void: 1 errors: status 502, 0 bytes: |")


def test_the_median_of_the_rounds_counts() -> None:
    def one(cpu_us: float) -> Measurement:
        rest = {"requests_per_s": 1.0, "p50_ms": 1.0, "p99_ms": 1.0, "rss_mb": 1.0}
        return Measurement("as it is", {"cpu_us_per_request": cpu_us, **rest})

    row = summarise(SHORT, "floor", [one(10.0), one(90.0), one(11.0)])
    assert row.figures["cpu_us_per_request"] == 11.0
    assert row.rounds == (10.0, 90.0, 11.0)
    assert "| 10.0 to 90.0 |" in markdown({SHORT.name: SHORT}, [row])
