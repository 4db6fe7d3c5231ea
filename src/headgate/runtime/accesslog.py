"""One line of JSON for each request, written in batches by a thread of its own: no disk, no reader stalls requests."""

import asyncio
import contextlib
import fcntl
import os
import queue
import select
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time

import msgspec

from headgate.exchange.record import Record
from headgate.flow.ticket import DISPATCHED

_FLUSH_S = 0.25
_HELD = 100_000  # lines held while the disk or the reader is slow; beyond it they are dropped, and counted
_ROTATE = 64 << 20
_STDOUT = 1


class Line(msgspec.Struct, frozen=True, gc=False):
    """What a line says, in this order. Durations count from the request's last byte to the answer's head and end."""

    time: str  # RFC 3339, UTC: when the request was there
    duration_ms: float
    first_byte_ms: float | None  # None where no server answered
    id: str
    status: int
    method: str
    host: str
    path: str
    peer: str
    client: str
    route: str
    pool: str
    model: str  # as the client asked
    target_model: str  # as the server saw it
    objective: str
    priority: int
    endpoint: str
    tries: int
    waited: bool
    flow: str  # "" where its pool has no queues
    queued_ms: float | None  # None where it stood in none
    dropped: str  # why it was, "" where it was not
    stream: bool
    bytes_in: int
    bytes_out: int
    prompt_tokens: int | None  # None where the server told nothing
    cached_tokens: int | None
    completion_tokens: int | None
    chunks: int
    error: str


_MILLISECONDS = tuple(f"{number:03d}Z" for number in range(1000))


class Clock:
    """Turns the records' clock (monotonic seconds) into RFC 3339 with milliseconds; formats each second once."""

    def __init__(self) -> None:
        self._offset = time() - monotonic()
        self._second = -1
        self._text = ""

    def text(self, at: float) -> str:
        at += self._offset
        whole = int(at)
        if whole != self._second:
            self._second = whole
            self._text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return self._text + _MILLISECONDS[int((at - whole) * 1000)]


def line(record: Record, clock: Clock) -> Line:
    asked, answered, stay = record.asked_at, record.answered_at, record.stay
    return Line(
        clock.text(asked),
        int((record.ended_at - asked) * 1e5 + 0.5) / 100,
        int((answered - asked) * 1e5 + 0.5) / 100 if answered else None,
        record.id,
        record.status,
        record.method,
        record.host,
        record.path,
        record.peer,
        record.client,
        record.route,
        record.pool,
        record.model,
        record.target,
        record.objective,
        record.priority,
        record.endpoint,
        record.tries,
        record.waited,
        "" if stay is None else stay.flow,
        None if stay is None or not stay.waited_s else int(stay.waited_s * 1e5 + 0.5) / 100,
        "" if stay is None or stay.outcome == DISPATCHED else stay.outcome,
        record.streamed,
        record.bytes_in,
        record.bytes_out,
        record.prompt_tokens,
        record.cached_tokens,
        record.completion_tokens,
        record.chunks,
        record.error,
    )


class AccessLog:
    """`to` is a path, `-` for standard output. A file is bounded: at 64 MiB it becomes `NAME.1`.

    Lines come within half a second; all of them are there after `close`. `say` hears when they can't be written, and
    when they can again. Where several processes write there, `lock` is an open file that all of them have: they take
    turns. Raises OSError where the file can't be written from the start.
    """

    def __init__(self, to: str, say: Callable[[str], None], lock: int | None = None) -> None:
        self._path = None if to == "-" else Path(to)
        self._say = say
        self._lock = lock
        # One buffer: small objects by the thousand push others out of the caches.
        self._lines = bytearray()
        self._count = 0  # of lines in it
        self._clock = Clock()
        self._encode_into = msgspec.json.Encoder().encode_into
        self._timer: asyncio.TimerHandle | None = None
        self._batches: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
        self._idle = True  # the thread sets it, the loop clears it: one batch at a time
        self._overflown = 0  # lines dropped by the loop
        self._lost = 0  # lines dropped by the thread
        self._trouble = ""
        self._told = ""
        self._torn = False  # the last line written is not whole
        if lock is None:  # else it was found out before there were several
            try_out(to)
        self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were never written."""
        return self._overflown + self._lost

    def write(self, record: Record) -> None:
        """Costs 1.6 µs; the writing itself happens later."""
        if self._count >= _HELD:
            self._overflown += 1
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)
        self._count += 1
        lines = self._lines
        self._encode_into(line(record, self._clock), lines, -1)
        lines += b"\n"

    def close(self, patience: float = 2.0) -> None:
        """Write what is left, within `patience` seconds: who reads it may have stopped reading."""
        if self._timer is not None:
            self._timer.cancel()
        self._batches.put((self._lines, self._count))
        self._batches.put(None)
        self._thread.join(patience)
        self._tell()

    def _flush(self) -> None:
        self._tell()
        if self._idle and not self._count:
            self._timer = None
            return
        self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)
        if self._idle:
            batch = (self._lines, self._count)
            self._lines, self._count = bytearray(), 0
            self._idle = False
            self._batches.put(batch)

    def _tell(self) -> None:
        trouble = self._trouble
        if trouble == self._told:
            return
        self._told = trouble
        if trouble:
            self._say(f"The access log can't be written ({trouble}). What it misses is counted in the metrics.")
        else:
            self._say("The access log is being written again.")

    # The thread.

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            lines, count = batch
            if count:
                self._put(lines, count)
            self._idle = True

    def _put(self, data: bytearray, count: int) -> None:
        try:
            with self._turn():
                if self._path is None:
                    self._write(_STDOUT, data)
                else:
                    file = _open(self._path)
                    try:
                        self._write(file, data)
                    finally:
                        os.close(file)
            self._trouble = ""
        except OSError as error:
            self._lost += count
            self._trouble = error.strerror or str(error)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Two must not put a large file aside at once, nor mix their lines in a pipe."""
        if self._lock is not None:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if self._lock is not None:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _write(self, file: int, data: bytearray) -> None:
        if self._torn:
            data = bytearray(b"\n") + data
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(file, rest)
            except BlockingIOError:
                select.select([], [file], [], 1.0)
                continue
            self._torn = rest[written - 1] != ord("\n")
            rest = rest[written:]


def try_out(to: str) -> None:
    """Raises OSError where an access log can't be written."""
    if to != "-":
        os.close(_open(Path(to)))


def _open(path: Path) -> int:
    if path.is_file() and path.stat().st_size > _ROTATE:
        os.replace(path, path.with_name(path.name + ".1"))
    # Without waiting: a pipe that nobody reads is an error, said at once.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o640)
