"""A process that has everything loaded and does nothing but fork: a worker costs milliseconds, and shares its memory.

The controller itself can't fork: it has threads and an event loop.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from headgate.runtime.process import settle_memory
from headgate.runtime.workers.channel import framed, pair, receive
from headgate.runtime.workers.messages import Begin, encode


class ForkServer:
    """What the controller has of it. It ends when the controller does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._end: socket.socket | None = None

    def fork(self, begin: Begin, files: Sequence[int]) -> None:
        """A worker is wanted, and gets these files. Whether there comes one its channel will show. Raises OSError."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._end is not None
        socket.send_fds(self._end, [framed(encode(begin))], files)

    def _start(self) -> None:
        self._end, other = pair()
        other.setblocking(True)
        with other:
            # A process group of its own: Ctrl-C is for the controller, which tells the others what to do.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(other.fileno())],
                pass_fds=[other.fileno()],
                process_group=0,
                stdin=subprocess.DEVNULL,
            )

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def close(self, patience: float = 5.0) -> None:
        if self._end is not None:
            self._end.close()
            self._end = None
        if self._process is not None:
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def main(file: int) -> None:
    """Fork a worker for each Begin, until the other end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # the access log may go to a terminal
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they leave nothing behind
    import uvloop  # noqa: F401 - so that no worker has to

    from headgate.runtime.workers.worker import run

    settle_memory()
    orders = socket.socket(fileno=file)
    while (order := receive(orders)) is not None:
        message, files = order
        begin = msgspec.msgpack.decode(message, type=Begin)
        try:
            forked = os.fork()
        except OSError:  # the controller sees that nothing came of it, and asks again
            forked = -1
        if forked == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 1
            try:
                status = run(begin, *files)
            finally:
                os._exit(status)
        for one in files:
            os.close(one)


if __name__ == "__main__":
    main(int(sys.argv[1]))
