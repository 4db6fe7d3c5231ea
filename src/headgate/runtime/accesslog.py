"""One line of JSON for each request, written in batches off the event loop."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import monotonic, time
from typing import TextIO

import msgspec

from headgate.exchange.record import Record

_FLUSH_S = 0.25
_HELD = 100_000  # lines held while the disk or the reader is slow; beyond it they are dropped, and counted
_ROTATE = 64 << 20


class AccessLog:
    """`to` is a path, `-` for standard output. A file is bounded: at 64 MiB it becomes `NAME.1`."""

    def __init__(self, to: str) -> None:
        self.dropped = 0
        self._path = None if to == "-" else Path(to)
        self._file: TextIO | None = None
        self._lines: list[bytes] = []
        self._writing = False
        self._offset = time() - monotonic()
        self._encode = msgspec.json.Encoder().encode

    def write(self, record: Record) -> None:
        """Costs about 2 µs; the writing itself happens later."""
        lines = self._lines
        if len(lines) >= _HELD:
            self.dropped += 1
            return
        if not lines and not self._writing:
            asyncio.get_running_loop().call_later(_FLUSH_S, self._start)
        lines.append(self._encode(line(record, self._offset)))

    def _start(self) -> None:
        if self._writing:
            return
        self._writing = True
        lines, self._lines = self._lines, []
        done = asyncio.get_running_loop().run_in_executor(None, self._put, lines)
        done.add_done_callback(self._written)

    def _written(self, done: "asyncio.Future[None]") -> None:
        self._writing = False
        if not done.cancelled() and done.exception() is not None:
            self.dropped += 1
        if self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_S, self._start)

    def _put(self, lines: list[bytes]) -> None:
        data = b"\n".join(lines) + b"\n"
        if self._path is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        if self._path.exists() and self._path.stat().st_size > _ROTATE:
            os.replace(self._path, self._path.with_name(self._path.name + ".1"))
        with self._path.open("ab") as file:
            file.write(data)

    def close(self) -> None:
        """Write what is left."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._put(lines)


def line(record: Record, offset: float) -> dict[str, object]:
    """The fields of a line. `offset` turns the record's clock into Unix time; durations are milliseconds."""
    asked = record.asked_at
    return {
        "time": _iso(asked + offset),
        "id": record.id,
        "peer": record.peer,
        "method": record.method,
        "host": record.host,
        "path": record.path,
        "status": record.status,
        "duration_ms": round((record.ended_at - asked) * 1000, 2),
        "first_byte_ms": round((record.answered_at - asked) * 1000, 2) if record.answered_at else None,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "route": record.route,
        "pool": record.pool,
        "model": record.model,
        "target_model": record.target,
        "priority": record.priority,
        "endpoint": record.endpoint,
        "tries": record.tries,
        "stream": record.streamed,
        "error": record.error,
    }


def _iso(seconds: float) -> str:
    """RFC 3339 with milliseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
