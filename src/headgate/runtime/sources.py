"""Files and directories of manifests: read, and followed by polling.

Polling sees what notification misses: symlink swaps of mounted ConfigMaps, network file systems, files that come
later. It costs 3 µs for each file, and comes less often where there are thousands.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from headgate.api import Problem, Text, Where

_SUFFIXES = (".yaml", ".yml", ".json")
_POLL_S = 0.25
_SHARE = 0.05  # of one core, at most, for polling
_SETTLE_S = 1.0  # files that change all the time are read all the same
_LARGEST = 16 << 20

Fingerprint = tuple[tuple[str, int, int, int], ...]
_File = tuple[str, os.stat_result | OSError]


class Sources:
    """What the user named: files, directories (the manifests in them, and below them if `recursive`), `-` for stdin.

    Of a directory those files count that end in .yaml, .yml or .json and whose names don't begin with a dot: what
    editors and volumes keep beside their files is no manifest. A pipe can be read once; what it said is remembered.
    `a.yaml,b.yaml` is two paths, as for kubectl, unless there is a file of that name. `texts` are read with them.
    """

    def __init__(self, paths: Sequence[str], *, recursive: bool = False, texts: Sequence[Text] = ()) -> None:
        self._paths = tuple(dict.fromkeys(one for path in paths for one in _listed(path)))
        self._recursive = recursive
        self._texts = tuple(texts)
        self.beside: tuple[str, ...] = ()  # files that are followed too, and read by somebody else
        self._known: dict[str, dict[str, Text]] = {}  # path as it was named → file → what it said last

    @property
    def named(self) -> bool:
        """Whether there is any file that could change."""
        return bool(self._paths)

    def read(self) -> tuple[tuple[Text, ...], tuple[Problem, ...]]:
        """All texts, and what could not be read. A file that was readable before counts as it was then.

        A file that is gone from a directory is gone; one that was named itself, and is not there, is a mistake.
        """
        problems: list[Problem] = []
        for path in self._paths:
            known = self._known.get(path, {})
            try:
                self._known[path] = self._read(path, known, problems)
            except (OSError, ValueError) as error:
                problems.append(_problem("<stdin>" if path == "-" else path, error, kept=bool(known)))
        texts: dict[str, Text] = {}
        for known in self._known.values():
            for file, text in known.items():
                # The same file by two names is one file.
                texts.setdefault(file if file == "<stdin>" else os.path.realpath(file), text)
        return (*texts.values(), *self._texts), tuple(problems)

    def _read(self, path: str, known: dict[str, Text], problems: list[Problem]) -> dict[str, Text]:
        if path == "-":
            return known or {"<stdin>": Text("<stdin>", _stdin())}
        if path.startswith(("https://", "http://")):
            raise ValueError("it is a URL; download it first")
        mode = os.stat(path).st_mode
        if not stat.S_ISDIR(mode):
            if known and not stat.S_ISREG(mode):
                return known
            return {path: Text(path, _text(path))}
        files = self._files(path)
        if not files:
            raise _Empty(path, self._recursive)
        found: dict[str, Text] = {}
        for file, mark in files:
            try:
                if isinstance(mark, OSError):
                    raise mark
                found[file] = Text(file, _text(file))
            except (OSError, ValueError) as error:
                if isinstance(error, FileNotFoundError) and not os.path.islink(file):
                    continue  # removed since it was listed
                before = {name: text for name, text in known.items() if name == file or name.startswith(f"{file}/")}
                found |= before
                problems.append(_problem(file, error, kept=bool(before)))
        return found

    def fingerprint(self) -> Fingerprint:
        """What is different when a file is: its name, inode, size and time of change."""
        marks: list[tuple[str, int, int, int]] = []
        for path in (*self._paths, *self.beside):
            if path == "-":
                continue
            try:
                found = os.stat(path)
                files: list[_File] = self._files(path) if stat.S_ISDIR(found.st_mode) else [(path, found)]
            except OSError:
                continue
            for name, mark in files:
                if isinstance(mark, OSError):
                    marks.append((name, 0, 0, 0))
                elif stat.S_ISREG(mark.st_mode):
                    marks.append((name, mark.st_ino, mark.st_size, mark.st_mtime_ns))
        return tuple(marks)

    def _files(self, directory: str) -> list[_File]:
        return sorted(_walk(directory, self._recursive), key=lambda found: found[0])

    async def follow(self, seen: Fingerprint, changed: Callable[[], None]) -> None:
        """Call `changed` after each change since `seen`, once the files have kept still for a moment.

        So no half-written file is read, unless it is written on for a second.
        """
        settled, moving_since = seen, 0.0
        pause = _POLL_S
        while True:
            await asyncio.sleep(pause)
            began = monotonic()
            # A network file system may take its time; the requests must not wait for it.
            now = await asyncio.to_thread(self.fingerprint)
            ended = monotonic()
            pause = min(max(_POLL_S, (ended - began) / _SHARE), _SETTLE_S)
            if now == settled:
                moving_since = 0.0
            else:
                moving_since = moving_since or ended
                if now == seen or ended - moving_since >= _SETTLE_S:
                    settled, moving_since = now, 0.0
                    changed()
            seen = now


def _listed(path: str) -> list[str]:
    return [path] if os.path.lexists(path) else [one for one in path.split(",") if one] or [path]


class _Empty(ValueError):
    def __init__(self, path: str, recursive: bool) -> None:
        below = not recursive and next(_walk(path, recursive=True), None) is not None
        hint = " (those below it are read with --recursive)" if below else ""
        super().__init__(f"holds no .yaml, .yml or .json file{hint}")


def _walk(directory: str, recursive: bool) -> Iterator[_File]:
    """The regular files of a directory, links to them too. Links to directories are not followed downwards.

    What can't be looked at comes with its error.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.name.endswith(_SUFFIXES) and stat.S_ISREG((found := entry.stat()).st_mode):
                    yield entry.path, found
                elif recursive and entry.is_dir(follow_symlinks=False):
                    yield from _walk(entry.path, recursive)
            except OSError as error:
                yield entry.path, error


def _stdin() -> str:
    if sys.stdin is None:
        raise ValueError("it is closed")
    return _decode(sys.stdin.buffer)


def _text(file: str) -> str:
    with Path(file).open("rb") as opened:
        return _decode(opened)


def _decode(file: BinaryIO) -> str:
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"larger than {_LARGEST >> 20} MiB; is it a manifest?")
    return data.decode("utf-8-sig")


def _problem(file: str, error: Exception, *, kept: bool) -> Problem:
    return Problem(Where(file), "", _plain(error) + ("; what it said before stays in force" if kept else ""))


def _plain(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or directory"
    if isinstance(error, UnicodeDecodeError):
        return f"can't be read: byte {error.start} is not UTF-8; save the file as UTF-8"
    if isinstance(error, _Empty):
        return str(error)
    return f"can't be read: {getattr(error, 'strerror', None) or error}"
