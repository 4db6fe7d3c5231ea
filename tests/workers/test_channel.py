"""Messages and files between two processes: in order, of any size, and without waiting for each other."""

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from headgate.runtime.workers.channel import FILES_AT_ONCE, Channel, framed, pair, receive


class _End:
    """One end, and what it heard: messages, each with the contents of as many files as its first byte says."""

    def __init__(self, end: socket.socket) -> None:
        self.heard: list[tuple[bytes, list[bytes]]] = []
        self.ended = 0
        self.channel = Channel(end, self._hear, self._end)

    def _hear(self, message: bytes) -> None:
        contents = []
        for _ in range(message[0] if message else 0):
            with os.fdopen(self.channel.files.popleft(), "rb") as file:
                file.seek(0)
                contents.append(file.read())
        self.heard.append((message, contents))

    def _end(self) -> None:
        self.ended += 1


async def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_messages_and_their_files_arrive_whole_and_in_order(tmp_path: Path) -> None:
    dice = random.Random(5)
    sizes = [0, 1, 3, 70_000, 5_000_000, *(dice.randrange(2000) for _ in range(300))]
    sent: list[tuple[bytes, list[bytes]]] = []

    async def story() -> None:
        ours, theirs = pair()
        sender, hearer = _End(ours), _End(theirs)
        for number, size in enumerate(sizes):
            count = 0 if size == 0 else dice.choice([0, 0, 0, 1, 2, FILES_AT_ONCE])
            contents = [b"%d-%d" % (number, one) for one in range(count)]
            message = (bytes([count]) + dice.randbytes(size))[:size]
            files = []
            for content in contents:
                path = tmp_path / "file"
                path.write_bytes(content)
                files.append(path.open("rb"))
                path.unlink()
            sender.channel.send(message, [file.fileno() for file in files])
            for file in files:
                file.close()  # what was sent needs no sender any more
            sent.append((message, contents))
            if number % 20 == 0:
                await asyncio.sleep(0)
        await _until(lambda: len(hearer.heard) == len(sent))
        assert hearer.heard == sent
        hearer.channel.send(b"\0back")
        await _until(lambda: sender.heard)
        sender.channel.close()
        await _until(lambda: hearer.ended)
        assert (sender.ended, hearer.ended) == (0, 1)

    before = _open_files()
    asyncio.run(story())
    assert _open_files() == before


def test_nobody_waits_for_who_does_not_listen_and_nothing_is_left_open(tmp_path: Path) -> None:
    async def story() -> None:
        ours, theirs = pair()
        sender = _End(ours)
        (tmp_path / "file").write_bytes(b"x")
        with (tmp_path / "file").open("rb") as file:
            began = time.monotonic()
            for _ in range(200):
                sender.channel.send(b"\1" + bytes(50_000), [file.fileno()])
            assert time.monotonic() - began < 1
        await sender.channel.drain(0.05)
        theirs.close()
        sender.channel.send(b"nobody is told in the middle of this")
        assert not sender.ended
        await _until(lambda: sender.ended)
        sender.channel.send(b"too late")
        await sender.channel.drain(1)

    before = _open_files()
    asyncio.run(story())
    assert _open_files() == before


def test_who_has_no_event_loop_reads_the_same() -> None:
    ours, theirs = pair()
    ours.setblocking(True)
    theirs.setblocking(True)
    with ours, theirs:
        socket.send_fds(theirs, [framed(b"first")], [theirs.fileno()])
        theirs.sendall(framed(b"second") + framed(b""))
        message, files = receive(ours) or (b"", [])
        assert message == b"first"
        with socket.socket(fileno=files[0]) as same:
            same.sendall(b"")
        assert receive(ours) == (b"second", [])
        assert receive(ours) == (b"", [])
        theirs.shutdown(socket.SHUT_WR)
        assert receive(ours) is None
