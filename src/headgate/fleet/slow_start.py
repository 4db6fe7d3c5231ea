"""An endpoint that has just begun to serve gets few of the requests that it would win, then more, then all.

Being the emptiest it would win every one of them, and prefill them all at once, with no prefix in its cache.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

FIRST_SHARE = 0.1


class Young(Struct):
    """An endpoint that began to serve at `since`. It may have `share` of the requests: `credit` is saved."""

    name: str
    since: float
    share: float = FIRST_SHARE
    credit: float = 0.0

    def takes(self) -> bool:
        """Whether it is among the candidates for this request: each call counts as one request."""
        self.credit += self.share
        if self.credit < 1.0:
            return False
        self.credit -= 1.0
        return True


class SlowStart:
    """Of one pool. Mutable, owned by the edge. An endpoint is young for `seconds`; 0: none ever is."""

    __slots__ = ("_seconds", "_serving", "_young")

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._serving: frozenset[str] = frozenset()
        self._young: dict[str, Young] = {}

    def serve(self, endpoints: Iterable[str], now: float) -> Sequence[Young]:
        """These serve now; those that did not when this was called last have just begun. The young ones of them.

        None where all are young, for then there is nobody to spare them.
        """
        serving = frozenset(endpoints)
        if self._seconds and (serving != self._serving or self._young):
            for name in serving - self._serving:
                self._young[name] = Young(name, now)
            self._young = {
                name: young
                for name, young in self._young.items()
                if name in serving and now - young.since < self._seconds
            }
            for young in self._young.values():
                young.share = max(FIRST_SHARE, (now - young.since) / self._seconds)
        self._serving = serving
        return tuple(self._young.values()) if len(self._young) < len(serving) else ()
