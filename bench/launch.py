"""What a system is started with, and what it is started as."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from bench.backend import Backend
from bench.cases import Case

AT_ONCE = 32768  # requests that a system may have under way: none of them shall refuse what the load asks


class Place(Struct, frozen=True):
    """Where a system is to work: it serves 127.0.0.1:`port`, asks `backend`, and writes into `directory`."""

    case: Case
    backend: Backend
    port: int
    directory: Path
    home: Path  # of its own venv or npm prefix, where it has one

    @property
    def urls(self) -> list[str]:
        return [f"http://{endpoint}" for endpoint in self.backend.endpoints]


class Launch(Struct, frozen=True):
    """A command, and the settings that a reader must know. Without a command the endpoint itself is asked."""

    argv: tuple[str, ...]
    settings: str
    env: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}  # that its clients must send
    check: str = "exact"  # how its answers are compared: bench/answers.py
    warm_s: float = 1.0  # of load before the load that is measured
