"""Where a running headgate keeps its files, and how other commands find it."""

import fcntl
import http.client
import os
import socket
import tempfile
from pathlib import Path
from typing import IO


class Busy(Exception):
    """Another headgate runs under this name."""


def home(name: str) -> Path:
    """The directory of the instance `name`: $HEADGATE_STATE, else below the user's runtime or temporary directory."""
    given = os.environ.get("HEADGATE_STATE")
    if given:
        return Path(given) / name
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "headgate" / name
    return Path(tempfile.gettempdir()) / f"headgate-{os.getuid()}" / name


def claim(name: str) -> tuple[Path, IO[str]]:
    """The directory, and the lock that says it is ours: keep it open. Raises Busy."""
    directory = home(name)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (directory / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise Busy(
            f"a headgate called '{name}' is already running (process {owner}); stop it, or give this one another --name"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return directory, lock


def admin_socket(directory: Path) -> Path:
    return directory / "admin.sock"


class NotRunning(Exception):
    """No headgate answers under this name."""


def ask(name: str, path: str) -> tuple[int, bytes]:
    """Ask the running instance: its status code and body. Raises NotRunning."""
    connection = _Connection(str(admin_socket(home(name))))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        hint = "" if name == "default" else f" called '{name}'"
        raise NotRunning(
            f"no headgate{hint} is running here ({error.__class__.__name__}: {error}); start one with: headgate up PATH"
        ) from None
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
