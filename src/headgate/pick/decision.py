"""What is asked of the picker, and what it answers with."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint, Load


class Ask(Struct, frozen=True, gc=False):
    """One request, as far as choosing an endpoint goes."""

    model: str  # the name that the server will see, "" when the request names none
    prefix: tuple[tuple[int, int], ...] = ()  # rungs (bytes of prompt, digest), the shortest first
    prompt_bytes: int = 0
    priority: int = 0
    subset: frozenset[str] | None = None  # `ip` or `ip:port`; None the whole pool
    exclude: frozenset[str] = frozenset()  # endpoints (by name) that this request has failed on


class Term(Struct, frozen=True, gc=False):
    """One scorer's part of a decision: its weight, and its score in [0, 1] for each candidate, in their order."""

    scorer: str
    weight: float
    scores: tuple[float, ...]


class Decision(Struct, frozen=True, gc=False):
    """Who serves a request, and why: everything that logs, `explain` and the tests want to know.

    `endpoint` is None when every endpoint was filtered out; `emptied` then names the filter that removed the last one
    ("" where the pool has no endpoints at all), and `why` says it for people. `removed` maps each filter that removed
    endpoints to their names, in the order of the profile. `totals` are the sums of weight × score; with one candidate
    there is nothing to score, and `terms` and `totals` are empty.
    """

    pool: str
    endpoint: Endpoint | None
    candidates: tuple[Endpoint, ...] = ()
    totals: tuple[float, ...] = ()
    terms: tuple[Term, ...] = ()
    removed: Mapping[str, tuple[str, ...]] = {}
    tied: int = 1  # how many shared the best total: the dice chose among them
    why: str = ""
    emptied: str = ""
    profile: str = ""
    loads: tuple[Load, ...] = ()  # of the candidates, as they were known then
    in_flight: tuple[int, ...] = ()  # our own requests at each of them, before this one

    @property
    def fallbacks(self) -> tuple[Endpoint, ...]:
        """Up to two, the next best in order; of equals first the one after the winner, so that they spread as it does.

        Worked out when somebody asks: few requests need one.
        """
        if self.endpoint is None or len(self.totals) < 2:
            return ()
        count, winner = len(self.totals), self.candidates.index(self.endpoint)
        places = sorted(range(1, count), key=lambda step: -self.totals[(winner + step) % count])
        return tuple(self.candidates[(winner + step) % count] for step in places[:2])
