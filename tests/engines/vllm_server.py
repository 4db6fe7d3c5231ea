"""A real vLLM server's process, as the tests hold it."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


class Vllm:
    """A vLLM server's process, its address, its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", host: str, port: int, log: Path) -> None:
        self.process = process
        self.host = host
        self.port = port
        self.log = log

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ready(self, seconds: float = 240.0) -> "Vllm":
        """Wait until it answers. Fails with the end of its log when it ends before, or takes longer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
        raise AssertionError(f"vLLM did not get ready on {self.url}:\n{tail}")

    def stop(self) -> None:
        """End it and all of its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
