"""How many of our own requests each endpoint is serving now: exact, and sooner than any metric."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter


class Ledger:
    """In-flight requests by endpoint name. Mutable; one for all pools, owned by the edge. About 0.1 µs a call."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        # A default of 0 lets `reader` read all of them with one itemgetter call.
        self.counts: defaultdict[str, int] = defaultdict(int)  # of this process

    def take(self, endpoint: str) -> None:
        """A request was sent there."""
        self.counts[endpoint] += 1

    def give(self, endpoint: str) -> None:
        """It ended, in whatever way. Ends that follow a `forget` count for nothing."""
        count = self.counts.get(endpoint, 0)
        if count > 0:
            self.counts[endpoint] = count - 1

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone for good."""
        self.counts.pop(endpoint, None)

    def count(self, endpoint: str) -> int:
        return self.counts.get(endpoint, 0)

    def total(self) -> int:
        return sum(self.counts.values())

    def reader(self, endpoints: Sequence[str]) -> Callable[[], tuple[int, ...]]:
        """What reads the counts of these endpoints, in their order, each time that it is called."""
        if len(endpoints) > 1:
            # One call in C; it gives a tuple only for two keys and more.
            return partial(itemgetter(*endpoints), self.counts)
        return lambda: tuple([self.counts[name] for name in endpoints])
