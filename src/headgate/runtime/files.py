"""What the user named on the command line: the files with objects, and the one with the shadow policy."""

from collections.abc import Callable, Sequence
from functools import partial

from headgate.runtime.config import Reading, read
from headgate.runtime.policies import Policies
from headgate.runtime.sources import Fingerprint, Sources
from headgate.runtime.world import Work


class Files:
    """They are followed from the moment this is made. `policies`: what runs code of the user's."""

    def __init__(self, sources: Sources, shadow: Sources | None, policies: Policies) -> None:
        self.sources = sources
        self.shadow = shadow
        self.policies = policies
        self._seen: list[tuple[Sources, Fingerprint]] = [
            (one, one.fingerprint()) for one in (sources, shadow) if one is not None and one.named
        ]

    def read(self, before: Reading | None) -> Reading:
        return read(self.sources, before, self.shadow, self.policies)

    def works(self, changed: Callable[[], None]) -> Sequence[Work]:
        return [partial(sources.follow, seen, changed) for sources, seen in self._seen]
