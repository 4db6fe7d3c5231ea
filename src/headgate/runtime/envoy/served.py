"""Requests that Envoy serves without asking us: read from its access log, so that they are logged and counted too.

The log is a pipe: nothing of it is ever on a disk.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, time

import msgspec
from msgspec import Struct

from headgate.exchange.record import Record
from headgate.exchange.site import PoolView

_SWITCHED = 101
_PIECE = 1 << 18


class Line(Struct):
    """As envoy.render.accesslog has it written. Where Envoy knows nothing it says null."""

    id: str | None = None
    method: str | None = None
    host: str | None = None
    path: str | None = None
    peer: str | None = None
    route: str | None = None
    pool: str | None = None
    endpoint: str | None = None
    status: int | None = None
    details: str | None = None
    flags: str | None = None
    tries: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    began: str = "0"
    first_us: int | None = None
    whole_us: int | None = None


class Served:
    """`done` gets a record of each; `views` know the endpoints' names."""

    def __init__(self, path: Path, views: Mapping[str, PoolView], done: Callable[[Record], None]) -> None:
        self._path = path
        self._views = views
        self._done = done
        self._decode = msgspec.json.Decoder(Line).decode
        self._unread = b""
        self._file = -1

    def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.mkfifo(self._path, 0o600)
        # For writing too, so that it does not come to an end when Envoy does.
        self._file = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._file, self.read)

    def stop(self) -> None:
        if self._file >= 0:
            self.read()
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._file, _PIECE):
                *lines, self._unread = (self._unread + data).split(b"\n")
                offset = time() - monotonic()
                for line in lines:
                    self._done(self._record(self._decode(line), offset))

    def _record(self, line: Line, offset: float) -> Record:
        began = float(line.began) - offset
        whole = (line.whole_us or 0) / 1e6
        status = line.status or 499  # the client went away before there was one
        return Record(
            id=line.id or "",
            method=line.method or "",
            path=line.path or "",
            host=line.host or "",
            peer=line.peer or "",
            route=(line.route or "").partition("#")[0],
            pool=line.pool or "",
            endpoint=self._name(line.pool or "", line.endpoint or ""),
            status=status,
            error=_error(line) if status != _SWITCHED else "",  # a tunnel has no end that would be right or wrong
            tries=line.tries or 0,
            bytes_in=line.bytes_in or 0,
            bytes_out=line.bytes_out or 0,
            asked_at=began,
            answered_at=began + line.first_us / 1e6 if line.first_us else 0.0,
            ended_at=began + whole,
        )

    def _name(self, pool: str, hostport: str) -> str:
        view = self._views.get(pool)
        endpoints = view.standing.endpoints if view is not None else ()
        return next((one.name for one in endpoints if one.hostport == hostport), hostport)


def _error(line: Line) -> str:
    """In Envoy's words, "" where all is well."""
    return (line.details or "").replace("_", " ") if line.flags not in (None, "-") else ""
