"""What the user named on the command line: the files with objects, and those that say how to pick."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from headgate.api import Problem, Snapshot, Text, load
from headgate.runtime.config import Reading, read, remark, understand
from headgate.runtime.policies import Policies
from headgate.runtime.sources import Fingerprint, Sources
from headgate.runtime.world import Work

_TEXT = "--config-text"


class Files:
    """They are followed from the moment this is made. `policies`: what runs code of the user's.

    `config` and `shadow` are files with an EndpointPickerConfig, `text` is one itself; "" where there is none.
    """

    def __init__(
        self,
        paths: Sequence[str],
        policies: Policies,
        *,
        config: str = "",
        text: str = "",
        shadow: str = "",
        recursive: bool = False,
    ) -> None:
        texts = (Text(_TEXT, text),) if text else ()
        self._sources = Sources((*paths, *_given(config)), recursive=recursive, texts=texts)
        self._shadow = Sources((shadow,)) if shadow else None
        self._policies = policies
        self._configs = (*_given(config), *(one.file for one in texts))
        self._shadow_configs = _given(shadow)
        self._seen: list[tuple[Sources, Fingerprint]] = [
            (one, one.fingerprint()) for one in (self._sources, self._shadow) if one is not None and one.named
        ]

    def read(self, before: Reading | None) -> Reading:
        return read(self._sources, before, self._shadow, self._policies)

    def load(self, before: Reading | None) -> tuple[Snapshot, tuple[Problem, ...]]:
        """What stands in them alone, for `understand` to be given with what stands elsewhere."""
        texts, unread = self._sources.read()
        snapshot, wrong = load(texts, before.snapshot if before else None)
        return snapshot, (*unread, *wrong)

    def understand(self, snapshot: Snapshot, problems: tuple[Problem, ...], before: Reading | None) -> Reading:
        return understand(snapshot, problems, self._sources, before, self._shadow, self._policies)

    def works(self, changed: Callable[[], None]) -> Sequence[Work]:
        return [partial(sources.follow, seen, changed) for sources, seen in self._seen]

    def unusable(self, reading: Reading) -> tuple[str, ...]:
        """Lines for people, where the first `reading` lacks a configuration that was named itself.

        Later the one before stays in force; at the beginning there is none, and picking by another would be a surprise.
        """
        lacking = (
            *_lacking(self._configs, (one.meta.where.file for one in reading.snapshot.picker_configs)),
            *_lacking(self._shadow_configs, (one.meta.where.file for one in reading.shadow.picker_configs)),
        )
        if not lacking:
            return ()
        wrong = dict.fromkeys(remark(one) for one in reading.errors)
        return (
            *wrong,
            *(f"{file} holds no EndpointPickerConfig that can be used: nothing is started" for file in lacking),
        )


def _given(path: str) -> tuple[str, ...]:
    return (path,) if path else ()


def _lacking(files: Iterable[str], found: Iterable[str]) -> list[str]:
    known = {os.path.realpath(file) for file in found}
    return [file for file in files if os.path.realpath(file) not in known]
