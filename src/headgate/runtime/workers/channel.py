"""Messages, with open files beside them, between two processes. Nobody waits for the other."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

FILES_AT_ONCE = 100  # beside one message; the kernel takes 253
_READ = 256 << 10
_TURNS = 8  # reads in a row, before others have their turn
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # where there is none, workers start no programs anyway


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends. Whose process dies, the other end hears of it."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setblocking(False)
    return ends


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def receive(end: socket.socket) -> tuple[bytes, list[int]] | None:
    """Wait for the next message, and the files that came with it, without an event loop; None: there are no more.

    Raises OSError when the other end stops in the middle, TimeoutError where the socket has a timeout.
    """
    head, files, *_ = socket.recv_fds(end, 4, FILES_AT_ONCE, _CLOSE_ON_EXEC)
    if not head:
        return None
    head += _exactly(end, 4 - len(head))
    return _exactly(end, int.from_bytes(head, "big")), list(files)


def _exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = end.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the other end is gone")
        data += part
    return data


class Channel:
    """One end. `heard` gets each message; the files that came with it, or before it, are in `files`, oldest first.

    What is sent is kept until the other end takes it. `ended` is called once, when the other end is gone.
    """

    def __init__(self, end: socket.socket, heard: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self.files: deque[int] = deque()
        self._end = end
        self._heard = heard
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._in = bytearray()
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._closed = False
        self._drained = asyncio.Event()
        self._loop.add_reader(end, self._read)

    def send(self, message: bytes, files: Sequence[int] = ()) -> None:
        """At most FILES_AT_ONCE of them; they stay the sender's."""
        if self._closed:
            return
        idle = not self._out
        self._out.append((memoryview(framed(message)), [os.dup(file) for file in files]))
        if idle:
            self._write()
            if self._out:
                self._loop.add_writer(self._end, self._write)

    async def drain(self, patience: float) -> None:
        """Wait until the other end has taken everything, at most so many seconds."""
        self._drained.clear()
        if self._out:
            try:
                async with asyncio.timeout(patience):
                    await self._drained.wait()
            except TimeoutError:
                return

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._end.close()
        self._discard()
        for file in self.files:
            os.close(file)
        self.files.clear()
        self._drained.set()

    def _discard(self) -> None:
        """Nobody will take what is left to send."""
        for _, files in self._out:
            for file in files:
                os.close(file)
        self._out.clear()

    def _lost(self) -> None:
        if not self._closed:
            self.close()
            self._ended()

    def _write(self) -> None:
        while self._out:
            data, files = self._out[0]
            try:
                sent = socket.send_fds(self._end, [data], files) if files else self._end.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the other end is gone: reading tells of it, when nobody is in the middle of something
                self._discard()
                break
            for file in files:  # they went with the first byte
                os.close(file)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], [])
        self._loop.remove_writer(self._end)
        self._drained.set()

    def _read(self) -> None:
        for _ in range(_TURNS):
            try:
                data, files, *_ = socket.recv_fds(self._end, _READ, FILES_AT_ONCE, _CLOSE_ON_EXEC)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data, files = b"", []
            if not data:
                self._lost()
                return
            self.files.extend(files)
            self._in += data
            self._take()
            if self._closed:
                return

    def _take(self) -> None:
        buffer = self._in
        while len(buffer) >= 4:
            end = 4 + int.from_bytes(buffer[:4], "big")
            if len(buffer) < end:
                return
            message = bytes(memoryview(buffer)[4:end])
            del buffer[:end]
            self._heard(message)
            if self._closed:
                return
