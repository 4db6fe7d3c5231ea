"""The newest values, handed to several readers, each at its own pace."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

Key = tuple[str, str]  # what sort of value, and of what


class Fact(Struct, frozen=True, array_like=True):
    kind: str
    name: str
    value: msgspec.Raw


class Latest:
    """The newest value under each key. A reader who has seen all up to a version is told what has changed since.

    What came between is never told: a reader that is slow hears less, and what it hears is as new. A value equal to
    the one before changes nothing.
    """

    def __init__(self, encode: Callable[[object], bytes] = msgspec.msgpack.encode) -> None:
        self.version = 0
        self._values: dict[Key, object] = {}
        # In the order of their versions, the newest last; None for what is gone.
        self._facts: dict[Key, tuple[int, Fact | None]] = {}
        self._gone: dict[Key, int] = {}  # what is gone, and since which version
        self._encode = encode

    def put(self, kind: str, name: str, value: object) -> None:
        key = (kind, name)
        if key in self._values and self._values[key] == value:
            return
        self._values[key] = value
        self._note(key, Fact(kind, name, msgspec.Raw(self._encode(value))))

    def drop(self, kind: str, name: str) -> None:
        """There is no such value any more."""
        key = (kind, name)
        if key in self._values:
            del self._values[key]
            self._note(key, None)

    def _note(self, key: Key, fact: Fact | None) -> None:
        self.version += 1
        self._facts.pop(key, None)
        self._facts[key] = (self.version, fact)
        if fact is None:
            self._gone[key] = self.version
        else:
            self._gone.pop(key, None)

    def since(self, version: int) -> tuple[Sequence[Fact], Sequence[Key]]:
        """What has changed after that version, in order: what there is now, and what is gone."""
        put: list[Fact] = []
        gone: list[Key] = []
        for key, (changed, fact) in reversed(self._facts.items()):
            if changed <= version:
                break
            if fact is None:
                gone.append(key)
            else:
                put.append(fact)
        return put[::-1], gone[::-1]

    def forget(self, version: int) -> None:
        """Every reader has seen all up to that version: what was gone by then need not be told again."""
        for key in [key for key, since in self._gone.items() if since <= version]:
            del self._gone[key], self._facts[key]
