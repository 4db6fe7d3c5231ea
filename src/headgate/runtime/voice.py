"""What a running headgate says, written by a thread: a terminal that has been stopped must stop nobody else."""

import os
import queue
import select
import threading

_OUT, _ERR = 1, 2


class Voice:
    """`say` writes a line to standard error, `show` a text to standard output. Neither waits, and neither fails.

    Where nobody listens any more, what is said is lost. `aside`: what is shown goes to standard error too.
    """

    def __init__(self, *, aside: bool = False) -> None:
        self._out = _ERR if aside else _OUT
        self._texts: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._speak, name="voice", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        self._texts.put((_ERR, f"headgate: {text}\n"))

    def show(self, text: str) -> None:
        self._texts.put((self._out, text))

    def close(self, patience: float = 1.0) -> None:
        """Wait until everything is said, for at most `patience` seconds."""
        self._texts.put(None)
        self._thread.join(patience)

    def _speak(self) -> None:
        while (said := self._texts.get()) is not None:
            file, text = said
            # Past Python's own streams: what stays in their buffers after a failure fails again at the end.
            try:
                _write(file, text.encode("utf-8", "replace"))
            except OSError:
                continue


def _write(file: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(file, data) :]
        except BlockingIOError:
            select.select([], [file], [])
