"""Files that Envoy watches: each is moved into place whole, and only where it says something new."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from headgate.envoy.render import encode
from headgate.envoy.render.settings import Data, Settings


class Store:
    """`versions` are those of the files that Envoy reads again when they change, as they stand there now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._written: dict[str, Data] = {}
        self.versions: dict[str, str] = {}

    def put(self, files: Mapping[str, Data]) -> bool:
        """Whether anything is new. Raises OSError where it can't be written."""
        new = {name: data for name, data in files.items() if self._written.get(name) != data}
        for name, data in new.items():
            write(Path(self._settings.path(name)), encode(data, self._settings.form))
            self._written[name] = data
            if "version_info" in data:
                self.versions[name] = data["version_info"]
        return bool(new)

    def told(self, name: str) -> Data:
        """What a file says, nothing where there is none."""
        return self._written.get(name, {})

    def keep(self, names: Iterable[str]) -> None:
        """Everything else goes."""
        for name in self._written.keys() - set(names):
            del self._written[name]
            self.versions.pop(name, None)
            with contextlib.suppress(OSError):
                os.unlink(self._settings.path(name))


def write(path: Path, content: bytes) -> None:
    """For us and Envoy alone: there may be keys in it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    os.rename(aside, path)
