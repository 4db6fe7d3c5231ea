"""What all Pods on this machine share: who starts processes, what the user last wrote, what was already said."""

import asyncio
import os
import platform
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headgate.api.snapshot import Snapshot
from headgate.runtime.pods.devices import Devices, find_devices
from headgate.runtime.pods.engine import write_shims
from headgate.runtime.pods.process import Spawner
from headgate.runtime.pods.programs import Engine


class Machine:
    def __init__(self, directory: Path, engine: Engine, python: str, say: Callable[[str], None]) -> None:
        self.engine = engine
        self.python = python or sys.executable
        self.own: Mapping[str, str] = dict(os.environ)
        self.node = platform.node() or "localhost"
        self.cpus = os.cpu_count() or 1
        self.memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.devices = Devices(lambda: find_devices(self.own))
        self.snapshot = Snapshot()
        self.logs = directory / "logs"
        self.pods = directory / "pods"
        self.shims = directory / "bin"
        self._directory = directory
        self._make_directories()
        self._token = _token(directory / "token")
        self._written = write_shims(self.shims, engine, self.python)
        self.spawner = Spawner(self.python, self.logs / "spawner.log", self._token)
        self._say = say
        self._said: set[str] = set()
        self._news = asyncio.Event()

    def restore(self) -> None:
        """Make what was deleted since it was made, as cleaners of /tmp do: nothing starts without it."""
        self._make_directories()
        token = self._directory / "token"
        if not token.exists():
            token.write_text(self._token)
        if not all(shim.exists() for shim in self._written):
            write_shims(self.shims, self.engine, self.python)

    def _make_directories(self) -> None:
        for place in (self._directory, self.logs, self.pods):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        self._say(text)

    def say_once(self, text: str) -> None:
        """For what is as true of the second Pod as of the first."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def look_at(self, snapshot: Snapshot) -> None:
        """The newest objects; wakes who waits for one that was missing."""
        self.snapshot = snapshot
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Return when the objects have changed."""
        await self._news.wait()


def _token(path: Path) -> str:
    """A word that only processes of this state directory know, the same in every run."""
    if path.exists() and (token := path.read_text().strip()):
        return token
    token = secrets.token_hex(8)
    path.write_text(token)
    return token


def must_not_fail(task: "asyncio.Task[Any]") -> None:
    """For tasks that nobody waits for: an exception there is a mistake of ours, and must be heard of."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})
