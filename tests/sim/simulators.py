"""Simulators as the tests run them: real processes on ports of their own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

COMMAND = "import sys; from headgate.runtime.simulator import main; sys.exit(main(sys.argv[1:]))"


class Running:
    """A simulator's process and where it listens."""

    def __init__(self, process: "subprocess.Popen[str]", host: str, port: int, said: list[str]) -> None:
        self.process = process
        self.host = host
        self.port = port
        self.said = said

    def stop(self, number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
        """Send it a signal; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextlib.contextmanager
def running(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A simulator on 127.0.0.1 and a free port, from when it listens until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--host", "127.0.0.1", "--port", "0", *flags],
        env={**os.environ, **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line.rstrip())
            found = re.search(r"http://([\d.]+):(\d+)", line)
            if found:
                yield Running(process, found[1], int(found[2]), said)
                break
        else:
            raise AssertionError(f"the simulator did not start: {said}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()
