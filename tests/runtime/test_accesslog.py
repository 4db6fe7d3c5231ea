"""The access log: whole lines, none lost, and no request waits for whoever reads them."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.exchange.record import Record
from headgate.runtime import accesslog
from headgate.runtime.accesslog import AccessLog, Clock, line

_RECORD = Record(
    id="one",
    method="POST",
    path='/v1/"quoted"\n',
    status=200,
    asked_at=10.0,
    answered_at=10.0125,
    ended_at=11.5,
    model="food",
    target="food-v2",
    tries=1,
)


def _no_word(text: str) -> None:
    raise AssertionError(f"it should have nothing to say, and says: {text}")


def _log(path: Path | str, story: Callable[[AccessLog], object], say: Callable[[str], None] = _no_word) -> None:
    async def main() -> None:
        log = AccessLog(str(path), say)
        told = story(log)
        if asyncio.iscoroutine(told):
            await told
        log.close()

    asyncio.run(main())


async def _until(condition: Callable[[], object], patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_line_is_json_with_milliseconds_and_the_time_it_was_asked_at(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    before = time.time() - time.monotonic() + 10.0
    _log(path, lambda log: log.write(_RECORD))
    found = json.loads(path.read_text())
    assert found["path"] == '/v1/"quoted"\n'
    assert (found["duration_ms"], found["first_byte_ms"]) == (1500.0, 12.5)
    assert (found["model"], found["target_model"]) == ("food", "food-v2")
    written = time.strptime(found["time"][:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(written) - time.timezone - before) <= 1.5
    assert found["time"][19:] == f".{int(found['time'][20:23]):03d}Z"


def test_the_fields_of_a_line_are_those_that_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    names = [name for name in line(_RECORD, Clock()).__struct_fields__ if f"| `{name}` |" not in text]
    assert not names


def test_what_never_was_answered_has_no_first_byte() -> None:
    assert line(Record(asked_at=1.0, ended_at=2.0), Clock()).first_byte_ms is None


def test_lines_come_by_themselves_and_close_writes_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def story(log: AccessLog) -> None:
        for _ in range(10):
            log.write(_RECORD)
        await _until(lambda: path.read_text().count("\n") == 10, 2)
        for _ in range(7):
            log.write(_RECORD)

    _log(path, story)
    assert [json.loads(text)["id"] for text in path.read_text().splitlines()] == ["one"] * 17


def test_a_full_disk_is_said_once_and_counted_and_nothing_else_happens() -> None:
    said: list[str] = []

    async def story(log: AccessLog) -> None:
        for number in range(3):
            log.write(_RECORD)
            await _until(lambda number=number: log.dropped == number + 1)

    _log("/dev/full", story, said.append)
    assert said == [
        "The access log can't be written (No space left on device). What it misses is counted in the metrics."
    ]


def test_it_is_said_when_it_goes_on_after_trouble(tmp_path: Path) -> None:
    said: list[str] = []
    directory = tmp_path / "logs"
    directory.mkdir()

    async def story(log: AccessLog) -> None:
        directory.rename(tmp_path / "moved")
        log.write(_RECORD)
        await _until(lambda: said)
        (tmp_path / "moved").rename(directory)
        log.write(_RECORD)
        await _until(lambda: len(said) > 1)

    _log(directory / "access.log", story, said.append)
    assert [text.partition(" (")[0] for text in said] == [
        "The access log can't be written",
        "The access log is being written again.",
    ]


def test_a_place_that_can_not_be_written_is_an_error_from_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "nobody-reads-it")
    for path in (tmp_path / "absent" / "access.log", tmp_path, tmp_path / "nobody-reads-it"):
        with pytest.raises(OSError, match=r"."):
            AccessLog(str(path), _no_word)


def test_a_reader_that_has_stopped_reading_stalls_nothing_and_costs_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "_HELD", 1000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    async def story(log: AccessLog) -> None:
        longest = 0.0
        for _ in range(30):
            began = time.monotonic()
            for _ in range(200):
                log.write(_RECORD)
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.02)
        assert longest < 0.2
        assert log.dropped > 0
        began = time.monotonic()
        log.close(patience=0.3)
        assert time.monotonic() - began < 1

    async def main() -> None:
        await story(AccessLog(str(pipe), lambda text: None))

    asyncio.run(main())
    os.close(reader)


def test_a_large_file_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accesslog, "_ROTATE", 100)
    path = tmp_path / "access.log"
    for _ in range(2):
        _log(path, lambda log: log.write(_RECORD))
    assert (path.read_text(), (tmp_path / "access.log.1").read_text().count("\n")) == (path.read_text(), 1)
    assert path.read_text().count("\n") == 1


_TORN = """
import asyncio, resource, sys
from headgate.exchange.record import Record
from headgate.runtime.accesslog import AccessLog

async def main():
    log = AccessLog(sys.argv[1], lambda text: None)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    log.write(Record())
    while not log.dropped:
        await asyncio.sleep(0.01)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.write(Record())
    log.close()

asyncio.run(main())
"""


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    subprocess.run([sys.executable, "-c", _TORN, str(path)], check=True, timeout=20)
    first, second = path.read_text().splitlines()
    assert len(first) == 100
    assert json.loads(second)["status"] == 0


_BESIDE_OTHERS = """
import asyncio, sys
from headgate.exchange.record import Record
from headgate.runtime import accesslog

async def main():
    path, lock, who = sys.argv[1:]
    accesslog._ROTATE = 100
    log = accesslog.AccessLog(path, lambda text: sys.exit(text), int(lock))
    for number in range(3000):
        log.write(Record(id=f"{who}-{number}"))
    log.close(10)

asyncio.run(main())
"""


def _beside_others(path: str, lock: int, who: int, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """A process that writes 3,000 lines at one go."""
    command = [sys.executable, "-c", _BESIDE_OTHERS, path, str(lock), str(who)]
    return subprocess.Popen(command, pass_fds=[lock], stdout=stdout)


def test_processes_that_write_to_one_pipe_do_not_mix_their_lines(tmp_path: Path) -> None:
    out, end = os.pipe()
    with (tmp_path / "lock").open("w") as lock:
        writers = [_beside_others("-", lock.fileno(), who, end) for who in range(3)]
        os.close(end)
        with os.fdopen(out) as reader:
            ids = [json.loads(text)["id"] for text in reader]
    assert [writer.wait(10) for writer in writers] == [0, 0, 0]
    assert sorted(ids) == sorted(f"{who}-{number}" for who in range(3) for number in range(3000))


def test_a_process_waits_for_its_turn_to_write_and_to_put_the_file_aside(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("x" * 101)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        writer = _beside_others(str(path), lock.fileno(), 0)
        deadline = time.monotonic() + 10
        while not any(
            "->" in text and str(writer.pid) in text for text in Path("/proc/locks").read_text().splitlines()
        ):
            assert time.monotonic() < deadline, "it does not wait"
            time.sleep(0.01)
        assert path.read_text() == "x" * 101
        fcntl.lockf(lock, fcntl.LOCK_UN)
        assert writer.wait(10) == 0
    assert path.read_text().count("\n") == 3000
    assert path.with_name("access.log.1").read_text() == "x" * 101
