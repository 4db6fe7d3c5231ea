"""A headgate command in a process of its own, of which a test reads what it says, without waiting for it."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path


class Speaking:
    def __init__(self, state: Path, *words: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(state), "HEADGATE_STATE": str(state)}
        command = [sys.executable, "-m", "headgate", *words]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        self.said = ""

    def says(self, text: str) -> bool:
        assert self.process.stderr is not None
        with contextlib.suppress(TypeError):
            self.said += self.process.stderr.read() or ""
        assert self.process.poll() is None or self.may_have_ended(text), self.said
        return text in self.said

    def may_have_ended(self, text: str) -> bool:
        return False

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()
