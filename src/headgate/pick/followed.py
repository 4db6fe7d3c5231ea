"""What is counted in a large fleet, and what is scored by it, kept up to date by what has changed.

Between two choices the counts of a handful of endpoints change. To look at all of 1,000 five times for that took more
than half of the time of a choice. Whatever was handed out stays as it is: a decision is looked at later.
"""

from collections.abc import Mapping, Sequence

from headgate.fleet.ledger import Ledger

LARGE = 64  # endpoints from which on it is worth it
_WIDEST = 4096  # between the shortest and the longest queue


class Followed:
    """The candidates `names`, with what each reported. `sent` and `depths` are as `Candidates.counted` tells them."""

    __slots__ = (
        "_before",
        "_changed",
        "_ledger",
        "_names",
        "_places",
        "_reported",
        "_scored",
        "_scores_before",
        "_since",
        "_totalled",
        "_waiting",
        "depths",
        "sent",
    )

    def __init__(
        self, ledger: Ledger, places: Mapping[str, int], waiting: Sequence[int], reported: Sequence[int]
    ) -> None:
        self._ledger, self._places, self._names = ledger, places, tuple(places)
        self._waiting, self._reported = waiting, reported
        self._since = -1
        self.sent: list[int] = []
        self.depths: list[int] = []
        self._before: Sequence[int] | None = None  # the depths that differ from these in the `changed` places alone
        self._changed: list[int] = []
        self._scored: tuple[tuple[int, int], Sequence[int], list[float]] | None = None  # bounds, of what, scores
        self._scores_before: Sequence[float] | None = None
        self._totalled: tuple[Sequence[float], float, Sequence[float], list[float]] | None = None  # base, weight, …

    def read(self) -> None:
        """Look at what has changed since the last time."""
        names, self._since = self._ledger.changed(self._since)
        counts, waiting, reported = self._ledger.counts, self._waiting, self._reported
        if names is None:
            self.sent = [counts[name] for name in self._names]
            self.depths = [w + c - r if c > r else w for w, c, r in zip(waiting, self.sent, reported, strict=True)]
            self._before, self._changed = None, []
            return
        places = self._places
        changed = {places[name] for name in names if name in places}
        if not changed:
            return
        self._before, self._changed = self.depths, list(changed)
        sent, depths = self.sent.copy(), self.depths.copy()
        for place in changed:
            count = sent[place] = counts[self._names[place]]
            more = count - reported[place]
            depths[place] = waiting[place] + more if more > 0 else waiting[place]
        self.sent, self.depths = sent, depths

    def scores(self, score: Sequence[float], least: int, most: int) -> list[float]:
        """`score` of each depth: item N is that of one that is N more than the `least`. It follows from the bounds."""
        known, depths, bounds = self._scored, self.depths, (least, most)
        if known is not None and known[0] == bounds and known[1] is depths:
            return known[2]
        if known is not None and known[0] == bounds and known[1] is self._before:
            scores, self._scores_before = known[2].copy(), known[2]
            for place in self._changed:
                scores[place] = score[depths[place] - least]
        else:
            scores, self._scores_before = [score[depth - least] for depth in depths], None
        self._scored = bounds, depths, scores
        return scores

    def totals(self, base: Sequence[float], weight: float, scores: Sequence[float]) -> list[float]:
        """`base` + `weight` × `scores`, the last that were given."""
        known = self._totalled
        if known is not None and known[0] is base and known[1] == weight:
            if known[2] is scores:
                return known[3]
            if known[2] is self._scores_before and self._scored is not None and self._scored[2] is scores:
                totals = known[3].copy()
                for place in self._changed:
                    totals[place] = base[place] + weight * scores[place]
                self._totalled = base, weight, scores, totals
                return totals
        totals = [total + weight * score for total, score in zip(base, scores, strict=True)]
        self._totalled = base, weight, scores, totals
        return totals

    def follows(self, depths: Sequence[int], least: int, most: int) -> bool:
        """Whether scores of these can be kept up to date."""
        return depths is self.depths and most - least < _WIDEST
