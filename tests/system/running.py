"""A real `headgate up` for tests: its own addresses, its own state, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from headgate.runtime.instance import ask

ROOT = Path(__file__).parents[2]
_numbers = iter(range(1, 250))


class Running:
    """`address` is where the first gateway listens. Use as a context manager."""

    patience = 60.0  # seconds until it must be ready

    def __init__(
        self, state: Path, *paths: Path | str, verb: str = "up", args: tuple[str, ...] = (), given: str = ""
    ) -> None:
        """`given` is what it reads from standard input."""
        # The process id keeps test runs on one machine apart, the counter the instances of one run.
        block, number = os.getpid() % 200 + 10, next(_numbers)
        self.address = f"127.{block}.{number}.1"
        self.network = f"127.{block}.{number}.128/25"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(state),
            "HEADGATE_STATE": str(state),
            "TMPDIR": str(state),
        }
        command = [
            sys.executable,
            "-m",
            "headgate",
            verb,
            *map(str, paths),
            "--address",
            self.address,
            "--metrics",
            "off",
        ]
        if verb == "up":
            command += ["--pod-network", self.network, "--engine", "sim"]
        self.command = [*command, *args]
        self.plane = "envoy" if "--data-plane" in args else "native"
        self.given = given
        self.lines: list[str] = []
        self.output: list[str] = []

    def __enter__(self) -> "Running":
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self.command, env=self.environment, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert self.process.stdin is not None
        self.process.stdin.write(self.given)
        self.process.stdin.close()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stderr, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stdout, self.output), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self.until(lambda: self.said("Ready after") or self.process.poll() is not None, self.patience)
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.left(), f"processes left behind: {self.left()}"
        assert not any("Traceback" in line for line in self.lines), "\n".join(self.lines)

    def stop(self, number: int = signal.SIGTERM, patience: float = 20) -> int:
        """End it with a signal; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said = "\n".join(self.lines[-40:])
            raise AssertionError(f"it did not end within {patience} s; it said:\n{said}") from None
        for reader in self._readers:
            reader.join(5)
        return status

    @staticmethod
    def _read(stream: object, lines: list[str]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            lines.append(line.rstrip("\n"))

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def until(self, condition: Callable[[], object], patience: float = 10) -> None:
        """Wait until the condition holds, at most `patience` seconds."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                said = "\n".join(self.lines[-40:])
                raise AssertionError(f"it never came to that; it said:\n{said}\n{self._logs()}")
            time.sleep(0.02)

    def _logs(self) -> str:
        """How the logs of its Pods end."""
        ends = []
        for log in sorted(Path(self.environment["HEADGATE_STATE"]).rglob("logs/*.log")):
            lines = log.read_text(errors="replace").splitlines()
            ends.append("\n".join([f"{log.name}:", *lines[-15:]]))
        return "\n".join(ends)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another headgate command of the same instance."""
        command = [sys.executable, "-m", "headgate", *words]
        return subprocess.run(command, env=self.environment, cwd=ROOT, text=True, capture_output=True, timeout=30)

    def admin(self, path: str) -> bytes:
        """What its admin face answers, in a few milliseconds: no process of ours is started for it."""
        with patch.dict(os.environ, {"HEADGATE_STATE": self.environment["HEADGATE_STATE"]}):
            return ask("default", path)[1]

    def get(self, what: str) -> list[dict[str, object]]:
        """What `headgate get` shows."""
        rows: list[dict[str, object]] = json.loads(self.admin(f"/get/{what}"))
        return rows

    def servers(self) -> dict[str, int]:
        """The model servers that run, as address → process id."""
        found = {}
        for pid, words in _processes():
            if "sim" in words and "--host" in words:
                host = words[words.index("--host") + 1]
                if self._mine(host):
                    found[host] = pid
        return found

    def left(self) -> list[list[str]]:
        """Processes that belong to this instance, other than the command itself."""
        return [words for pid, words in _processes() if pid != self.process.pid and any(map(self._mine, words))]

    def _mine(self, word: str) -> bool:
        return word.startswith(self.network.rsplit(".", 1)[0] + ".")


def _processes() -> list[tuple[int, list[str]]]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            found.append((int(directory.name), words))
    return found
