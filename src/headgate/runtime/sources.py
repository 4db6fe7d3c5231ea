"""Files and directories of manifests: read, and followed by polling.

Polling `stat` twice a second costs next to nothing for the files that one gives to `kubectl apply`, and sees what
notification misses: symlink swaps of mounted ConfigMaps, network file systems, files that come later.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from headgate.api import Problem, Text, Where

_SUFFIXES = (".yaml", ".yml", ".json")
_POLL_S = 0.25
_LARGEST = 16 << 20


def read_texts(paths: Sequence[str], *, recursive: bool = False) -> tuple[tuple[Text, ...], tuple[Problem, ...]]:
    """What stands in the files, and in the manifests of the directories (not below them, as `kubectl apply -f` does).

    `-` is standard input.
    """
    texts: list[Text] = []
    problems: list[Problem] = []
    for path in paths:
        if path == "-":
            texts.append(Text("<stdin>", sys.stdin.read()))
            continue
        files, missing = _files(Path(path), recursive)
        if missing:
            problems.append(Problem(Where(path), "", missing))
        for file in files:
            try:
                texts.append(Text(str(file), _read(file)))
            except (OSError, ValueError) as error:
                problems.append(Problem(Where(str(file)), "", f"can't be read: {_plain(error)}"))
    return tuple(texts), tuple(problems)


def _read(file: Path) -> str:
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 20} MiB; is it a manifest?")
    return file.read_bytes().decode("utf-8-sig")


def _plain(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8; save the file as UTF-8"
    return getattr(error, "strerror", None) or str(error)


def _files(path: Path, recursive: bool) -> tuple[list[Path], str]:
    if path.is_dir():
        found = path.rglob("*") if recursive else path.iterdir()
        files = sorted(file for file in found if file.suffix in _SUFFIXES and file.is_file())
        if not files:
            below = any(file.suffix in _SUFFIXES for file in path.rglob("*"))
            hint = " (those below it are read with --recursive)" if below else ""
            return [], f"holds no .yaml, .yml or .json file{hint}"
        return files, ""
    return ([path], "") if path.exists() else ([], "no such file or directory")


def fingerprint(paths: Sequence[str], *, recursive: bool = False) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when a file does: its name, inode, size and time of change."""
    marks = []
    for path in paths:
        for file in () if path == "-" else _files(Path(path), recursive)[0]:
            try:
                stat = file.stat()
            except OSError:
                continue
            marks.append((str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(marks)


async def follow(paths: Sequence[str], changed: Callable[[], None], *, recursive: bool = False) -> None:
    """Call `changed` after every change, once the files have kept still for one poll: no half-written file is read."""
    seen = settled = fingerprint(paths, recursive=recursive)
    while True:
        await asyncio.sleep(_POLL_S)
        now = fingerprint(paths, recursive=recursive)
        if now == seen and now != settled:
            settled = now
            changed()
        seen = now
