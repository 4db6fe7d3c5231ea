"""Processes of containers: started, ended and killed through the spawner, a small process beside ours."""

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headgate.runtime.pods import spawner


class SpawnError(Exception):
    """The program can't be started; the text says why, for people."""


class Process:
    """A process in a session of its own. `ended` gives its exit code (negative: the signal) when all of it is gone."""

    def __init__(self, owner: "Spawner", name: int) -> None:
        self._owner = owner
        self._name = name
        self.pid = 0
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """SIGTERM to the process, and to what is left of its group once it has ended."""
        self._owner.order({"do": "stop", "id": self._name})

    def kill(self) -> None:
        """SIGKILL to the process and all that it started."""
        self._owner.order({"do": "kill", "id": self._name})


class Spawner:
    """Our end of the spawner: started with the first process, started anew should it be killed.

    Every process has `token` in its environment. What bears it when a spawner starts was left by one that was killed
    together with its Headgate, and is killed.
    """

    def __init__(self, python: str, log: Path, token: str) -> None:
        self._python = python
        self._log = log
        self._token = token
        self._names = itertools.count(1)
        self._processes: dict[int, Process] = {}
        self._opening: asyncio.Task[None] | None = None
        self._wire: _Wire | None = None
        self._closed = False

    async def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, log: str) -> Process:
        """A new process, its output appended to the file `log`. Raises SpawnError. When cancelled, it starts none."""
        await self._connect()
        if self._closed:
            raise SpawnError("Headgate is stopping")
        name = next(self._names)
        process = self._processes[name] = Process(self, name)
        self.order({"do": "start", "id": name, "argv": list(argv), "env": dict(env), "cwd": cwd, "log": log})
        try:
            await process.started
        except asyncio.CancelledError:
            process.kill()  # orders are obeyed one after the other: it has been started by then
            raise
        return process

    async def run(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, log: str) -> int:
        """The exit code of a short command; it is killed when the caller is cancelled."""
        process = await self.start(argv, env, cwd, log)
        try:
            return await asyncio.shield(process.ended)
        except asyncio.CancelledError:
            process.kill()
            raise

    def order(self, message: dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.send(message)

    def kill(self) -> None:
        """SIGKILL everything, now; returns when it is gone. Nothing can be started after this."""
        self._closed = True
        if self._wire is not None:
            self._wire.end()

    async def close(self) -> None:
        """End the spawner, and with it whatever still runs."""
        self._closed = True
        if self._opening is not None:
            await asyncio.wait({self._opening})
        if self._wire is not None:
            self._wire.hang_up()
            await self._wire.gone

    async def _connect(self) -> None:
        if self._opening is None or (self._wire is not None and self._wire.gone.done()):
            self._wire = None
            self._opening = asyncio.create_task(self._open())
        await asyncio.shield(self._opening)  # whoever asked first may be cancelled; the others still want it

    async def _open(self) -> None:
        if self._closed:
            raise SpawnError("Headgate is stopping")
        ours, theirs = socket.socketpair()
        with theirs, self._log.open("ab") as log:
            child = subprocess.Popen(  # noqa: ASYNC220 - a vfork, 1 ms
                [self._python, "-I", "-S", spawner.__file__, str(theirs.fileno()), self._token],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us to handle
            )
        ours.setblocking(False)
        self._wire = wire = _Wire(self, ours, child)
        await asyncio.get_running_loop().create_unix_connection(lambda: wire, sock=ours)

    def heard(self, message: dict[str, Any]) -> None:
        process = self._processes.get(message["id"])
        if process is None:
            return
        if "pid" in message:
            process.pid = message["pid"]
            _set(process.started, None)
        elif "error" in message:
            del self._processes[message["id"]]
            if not process.started.done():
                process.started.set_exception(SpawnError(message["error"]))
        else:
            del self._processes[message["id"]]
            _set(process.ended, message["code"])

    def lost(self) -> None:
        """The spawner is gone, and so is everything that it had started."""
        for process in self._processes.values():
            if not process.started.done():
                process.started.set_exception(SpawnError("the process that starts processes was killed"))
                process.started.exception()  # nobody may be waiting any more
            _set(process.ended, -signal.SIGKILL)
        self._processes.clear()


class _Wire(asyncio.Protocol):
    """The socket to one spawner process, and that process."""

    def __init__(self, owner: Spawner, ours: socket.socket, child: subprocess.Popen[bytes]) -> None:
        self._owner = owner
        self._socket = ours
        self._child = child
        self._transport: asyncio.WriteTransport | None = None
        self._unread = b""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, message: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message).encode() + b"\n")

    def hang_up(self) -> None:
        """The spawner reads the end of its orders, and kills everything."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        self.hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=10)  # some milliseconds: it ends when everything is dead

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport writes

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._owner.heard(json.loads(line))

    def connection_lost(self, error: Exception | None) -> None:
        # Its end of the socket closes as the very last thing it does, so this waits for no more than its exit.
        self.end()
        self._owner.lost()
        _set(self.gone, None)


def _set(future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        future.set_result(value)
