"""A new version of the gateway takes over from the one that runs: its name, and its listening sockets as they are.

No socket is closed on the way, so no connection is refused or lost, not even one that nobody has accepted yet. From the
moment that the new one serves, the old one takes nothing more, finishes what it has, and ends.

    new ──Take──→ old            over a unix socket in the directory of the instance
    new ←─Given── old            with the files: the lock, the metrics' socket, each listening socket
    new ──Serving→ old           it leaves; had the new one ended before, the old one would have gone on
"""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct, field

from headgate.runtime.instance import reachable
from headgate.runtime.workers.channel import FILES_AT_ONCE, Channel, framed, receive

_PATIENCE_S = 10.0
LOCK, METRICS, LISTENER = "lock", "metrics", "listener"


class Take(Struct, frozen=True, tag=True):
    protocol: int = 1


class Serving(Struct, frozen=True, tag=True):
    pass


class Gift(Struct, frozen=True):
    """One file: `what` it is, and of a socket the address and port by which it is known."""

    what: str
    address: str = ""
    port: int = 0


class Given(Struct, frozen=True):
    """Part of what there is, with a file for each; the `last` part says so."""

    gifts: tuple[Gift, ...]
    last: bool


class Inherited(Struct, eq=False):
    """What was taken over. Mutable: who uses a socket takes it out."""

    instance: tuple[Path, IO[str]]  # as `instance.claim` gives it
    end: socket.socket
    metrics: dict[tuple[str, int], socket.socket] = field(default_factory=dict)
    listeners: dict[tuple[str, int], list[socket.socket]] = field(default_factory=dict)

    def serving(self) -> None:
        """Tell the one before that it can go, and let go of what nobody wanted."""
        with self.end:
            self.end.sendall(framed(msgspec.msgpack.encode(Serving())))
        for one in (*self.metrics.values(), *(one for group in self.listeners.values() for one in group)):
            one.close()


def handover_socket(directory: Path) -> Path:
    return directory / "handover.sock"


def take(directory: Path) -> Inherited | None:
    """Ask the gateway that runs in this directory for what it has; None where there is none that gives it."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.settimeout(_PATIENCE_S)
    had: list[tuple[Gift, int]] = []
    try:
        with reachable(handover_socket(directory)) as path:
            end.connect(path)
        end.sendall(framed(msgspec.msgpack.encode(Take())))
        last = False
        while not last:
            received = receive(end)
            if received is None:
                raise ConnectionResetError("it has ended")
            given = msgspec.msgpack.decode(received[0], type=Given)
            had += zip(given.gifts, received[1], strict=True)
            last = given.last
    except (OSError, ValueError):
        end.close()
        for _, file in had:
            os.close(file)
        return None
    return _sorted_out(directory, had, end)


def _sorted_out(directory: Path, had: Sequence[tuple[Gift, int]], end: socket.socket) -> Inherited:
    lock = next(file for gift, file in had if gift.what == LOCK)
    inherited = Inherited((directory, os.fdopen(lock, "a+")), end)
    for gift, file in had:
        if gift.what == METRICS:
            inherited.metrics[gift.address, gift.port] = socket.socket(fileno=file)
        elif gift.what == LISTENER:
            inherited.listeners.setdefault((gift.address, gift.port), []).append(socket.socket(fileno=file))
    return inherited


class Handover:
    """Offers what a gateway has to the one after it. `leave` is called when that one serves. Raises OSError."""

    def __init__(
        self, directory: Path, gifts: Callable[[], Sequence[tuple[Gift, int]]], leave: Callable[[], None]
    ) -> None:
        self._path = handover_socket(directory)
        self._gifts = gifts
        self._leave = leave
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channels: set[Channel] = set()
        self._path.unlink(missing_ok=True)
        with reachable(self._path) as path:
            self._listener.bind(path)
        self._listener.setblocking(False)
        self._listener.listen()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def close(self, *, taken: bool) -> None:
        """`taken`: its path belongs to another one now."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        for channel in list(self._channels):
            channel.close()
        if not taken:
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            end, _ = self._listener.accept()
        except OSError:
            return
        end.setblocking(False)
        channel = Channel(end, lambda message: self._hear(channel, message), lambda: self._channels.discard(channel))
        self._channels.add(channel)

    def _hear(self, channel: Channel, message: bytes) -> None:
        try:
            heard: Any = msgspec.msgpack.decode(message, type=Take | Serving)
        except msgspec.DecodeError:  # it comes from nobody that we know
            channel.close()
            return
        if isinstance(heard, Serving):
            self._leave()
            return
        gifts = list(self._gifts())
        for start in range(0, len(gifts), FILES_AT_ONCE):
            part = gifts[start : start + FILES_AT_ONCE]
            given = Given(tuple(gift for gift, _ in part), last=start + FILES_AT_ONCE >= len(gifts))
            channel.send(msgspec.msgpack.encode(given), [file for _, file in part])
