"""Where a running headgate keeps its files, and how other commands find it."""

import contextlib
import fcntl
import http.client
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LONGEST_SOCKET = 103  # bytes of a unix socket's path: 107 on Linux, 103 on macOS
_TIMEOUT_S = 10.0


class Unusable(Exception):
    """There is no place for an instance of this name; the text says why, for people."""


def home(name: str) -> Path:
    """The directory of the instance `name`: $HEADGATE_STATE, else below the user's runtime or temporary directory.

    Raises Unusable for a name that is none.
    """
    if not _NAME.fullmatch(name):
        raise Unusable(f"--name {name!r}: use letters, digits, dots, dashes and underscores, 63 at most")
    given = os.environ.get("HEADGATE_STATE")
    if given:
        return Path(given).absolute() / name
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime).absolute() / "headgate" / name
    return Path(tempfile.gettempdir()).absolute() / f"headgate-{os.getuid()}" / name


def claim(name: str) -> tuple[Path, IO[str]]:
    """The directory, and the lock that says it is ours: keep it open. Raises Unusable."""
    directory = home(name)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if directory.parent.stat().st_uid not in (os.getuid(), 0) and "HEADGATE_STATE" not in os.environ:
            # In a temporary directory anybody could have made it, to read what we write.
            raise Unusable(f"{directory.parent} belongs to somebody else: set HEADGATE_STATE to a directory of yours")
        lock = (directory / "lock").open("a+")
    except OSError as error:
        raise Unusable(
            f"the directory {directory} can't be used ({error.strerror}): set HEADGATE_STATE to one that can be written"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise Unusable(
            f"a headgate called '{name}' is already running (process {owner}); stop it, or give this one another --name"
        ) from None
    sign(directory, lock)
    return directory, lock


def sign(directory: Path, lock: IO[str]) -> None:
    """Write down whose it is. Raises Unusable."""
    try:
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    except OSError as error:
        raise Unusable(f"{directory}/lock can't be written: {error.strerror}") from None


def admin_socket(directory: Path) -> Path:
    return directory / "admin.sock"


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """The path of a unix socket as it is given to bind and connect, which take only short ones. Raises OSError."""
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{directory}"
        if not os.path.isdir(short):
            raise OSError(0, f"the path {path} is too long for a socket: set HEADGATE_STATE to a shorter one")
        yield f"{short}/{path.name}"
    finally:
        os.close(directory)


class NotRunning(Exception):
    """No headgate answers under this name."""


def ask(name: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Ask the running instance, with a body by POST: its status code and body. Raises NotRunning, Unusable."""
    connection = _Connection(admin_socket(home(name)))
    try:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (FileNotFoundError, ConnectionRefusedError):
        called, flag = ("", "") if name == "default" else (f" called '{name}'", f" --name {name}")
        raise NotRunning(f"no headgate{called} is running here; start one with: headgate up PATH{flag}") from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NotRunning(f"headgate does not answer at {admin_socket(home(name))}: {why}") from None
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        with reachable(self._path) as path:
            self.sock.connect(path)
