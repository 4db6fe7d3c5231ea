"""What a running headgate says, written by a thread: a terminal that has been stopped must stop nobody else."""

import queue
import sys
import threading
from typing import TextIO


class Voice:
    """`say` writes a line to standard error, `show` a text to standard output. Neither waits, and neither fails.

    Where nobody listens any more, what is said is lost.
    """

    def __init__(self) -> None:
        self._texts: queue.SimpleQueue[tuple[TextIO | None, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._speak, name="voice", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        self._texts.put((sys.stderr, f"headgate: {text}\n"))

    def show(self, text: str) -> None:
        self._texts.put((sys.stdout, text))

    def close(self, patience: float = 1.0) -> None:
        """Wait until everything is said, for at most `patience` seconds."""
        self._texts.put(None)
        self._thread.join(patience)

    def _speak(self) -> None:
        while (said := self._texts.get()) is not None:
            stream, text = said
            try:
                if stream is not None:
                    stream.write(text)
                    stream.flush()
            except (OSError, ValueError):
                continue
