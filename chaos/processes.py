"""The gateway and the endpoints as processes: started, watched, killed; and what the system knows of them."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_SAMPLE = re.compile(r"^([a-z_:]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def _die_with_us() -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


class Process:
    """One program. `heard` gets each line of its standard output; what it says on standard error is in `said`."""

    def __init__(self, *words: str, heard: Callable[[str], None], env: Mapping[str, str] | None = None) -> None:
        self._words = words
        self._heard = heard
        self._env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **(env or {})}
        self.said: list[str] = []
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *self._words,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=self._env,
            cwd=ROOT,
            limit=1 << 20,
            preexec_fn=_die_with_us,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            asyncio.create_task(_listen(self.process.stdout, self._heard)),
            asyncio.create_task(_listen(self.process.stderr, self.said.append)),
        ]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def status(self) -> int | None:
        """None while it runs."""
        return self.process.returncode

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        if self.status is None:
            self.process.stdin.write(f"{line}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        if self.status is None:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, once all that it wrote is read."""
        status = await self.process.wait()
        await asyncio.gather(*self._readers)
        return status

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()


async def _listen(stream: asyncio.StreamReader, heard: Callable[[str], None]) -> None:
    while line := await stream.readline():
        heard(line.decode(errors="replace").rstrip("\n"))


def family(pid: int) -> list[int]:
    """The process, its children, and theirs."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # ended between the two looks
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def sockets(pid: int) -> int:
    """Sockets that the process and its children hold."""
    count = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{member}/fd"):
                with contextlib.suppress(OSError):
                    count += os.readlink(f"/proc/{member}/fd/{entry}").startswith("socket:")
    return count


def resident_mb(pid: int) -> float:
    """Memory of the process and its children."""
    pages = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Metrics:
    """A metrics page."""

    def __init__(self, page: str) -> None:
        self._samples = [(name, labels or "", float(value)) for name, labels, value in _SAMPLE.findall(page)]

    def sum(self, name: str, having: str = "") -> float:
        return sum(value for one, labels, value in self._samples if one == name and having in labels)


async def fetch(host: str, port: int, path: str, patience: float = 10.0) -> tuple[int, str]:
    """Status and body of a GET."""
    async with asyncio.timeout(patience):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode()
        finally:
            writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body
