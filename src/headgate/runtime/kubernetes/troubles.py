"""What is told of an API server that does not answer, or does not let us: once each, and when it is over."""

from collections.abc import Callable

from headgate.runtime.kubernetes.watcher import Collection
from headgate.runtime.kubernetes.watching import Trouble

_PATIENCE_S = 3.0  # what is over before is not worth a line
ROLES_S = 30.0  # a server that has started refuses what it allowed before, until it has read its roles

Later = Callable[[float, Callable[[], None]], object]


class Troubles:
    """`later` calls something after so many seconds."""

    def __init__(self, server: str, say: Callable[[str], None], later: Later) -> None:
        self._server = server
        self._say = say
        self._later = later
        self._away: dict[Collection, Trouble] = {}
        self._barred: set[tuple[Collection, int]] = set()
        self._just_back: dict[Collection, Trouble] = {}
        self._said = False
        self._looking = False

    def tell(self, collection: Collection, trouble: Trouble) -> None:
        if trouble.status in (401, 403):
            if self._away.pop(collection, None) is not None:
                self._just_back[collection] = trouble
                self._later(ROLES_S, lambda: self._still(collection))
            elif collection not in self._just_back:
                self._bar(collection, trouble)
        elif trouble.why and trouble.status != 404:
            self._away[collection] = trouble
            if not self._looking:
                self._looking = True
                self._later(_PATIENCE_S, self._look)
        else:
            self._away.pop(collection, None)
            self._just_back.pop(collection, None)
            self._barred -= {(collection, 401), (collection, 403)}
        if self._said and not self._away:
            self._said = False
            self._say(f"The API server {self._server} answers again.")

    @property
    def away(self) -> int:
        """How many collections can't be followed just now."""
        return len(self._away)

    def _still(self, collection: Collection) -> None:
        """A while after the server came back."""
        if (trouble := self._just_back.pop(collection, None)) is not None:
            self._bar(collection, trouble)

    def _bar(self, collection: Collection, trouble: Trouble) -> None:
        if (collection, trouble.status) not in self._barred:
            self._barred.add((collection, trouble.status))
            self._say(
                f"{collection} can't be read, so nothing is known of it: {trouble.why}; grant list and watch "
                "(deploy/rbac/gateway.yaml)"
            )

    def _look(self) -> None:
        self._looking = False
        if self._away and not self._said:
            self._said = True
            why = next(iter(self._away.values())).why
            told = f"The API server {self._server} can't be followed: {why}"
            self._say(f"{told}. What was known last goes on being served.")
