"""The endpoints among which to choose: what scorers read, prepared as far as it can be."""

from collections.abc import Callable, Sequence

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.latency import Foresight, Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex, Rungs
from headgate.pick.followed import LARGE, Followed
from headgate.pick.forecast import Forecast

_HALF = 0.5


class Candidates:
    """Those that may serve a request, side by side: item N of each sequence is about endpoint N.

    `waiting` is what each reported (0 where it did not), `reported` its waiting and running together. `in_flight()`
    tells our own requests that each serves now, `places` which N a name has. The index is the live one; `prefixes` is
    for the scorer of prefixes to remember scores in, and who holds the prefix; `matched` what it found last, before it
    gives way to queues. `roomy`: some have less than half of their KV cache in use; `lone` is the place of the only one
    that has, -1 where there is none or more.

    `latency` is the live one, for `foresee`, where `foresight` says that the profile predicts; so is what follows them.
    """

    __slots__ = (
        "_bits",
        "_bits_of",
        "_tokens",
        "cold",
        "endpoints",
        "followed",
        "foreseen",
        "foreseen_of",
        "foresight",
        "full",
        "in_flight",
        "index",
        "latency",
        "ledger",
        "loads",
        "lone",
        "matched",
        "names",
        "ones",
        "places",
        "prefixes",
        "reported",
        "roomy",
        "running",
        "usage",
        "waiting",
        "zeros",
    )

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        loads: Sequence[Load],
        ledger: Ledger,
        index: PrefixIndex,
        latency: Latency | None = None,
        foresight: Foresight | None = None,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.loads = tuple(loads)
        self.ledger, self.index = ledger, index
        self.names = tuple(endpoint.name for endpoint in endpoints)
        self.waiting = tuple(load.waiting or 0 for load in loads)
        self.reported = tuple((load.waiting or 0) + (load.running or 0) for load in loads)
        roomy = [place for place, load in enumerate(loads) if (load.kv_usage or 0.0) < _HALF]
        self.roomy, self.lone = bool(roomy), roomy[0] if len(roomy) == 1 else -1
        self.ones = (1.0,) * len(self.names)
        self.zeros = (0.0,) * len(self.names)
        self.places = {name: place for place, name in enumerate(self.names)}
        self.prefixes: dict[object, tuple[Sequence[float], Sequence[int]]] = {}
        self.matched: Sequence[float] | None = None
        self._bits, self._bits_of = 0, -1
        self.in_flight = ledger.reader(self.names)
        self.followed: Followed | None = None  # where there are many
        if len(self.names) >= LARGE and ledger.follows:
            self.followed = Followed(ledger, self.places, self.waiting, self.reported)
        self._tokens: Callable[[], tuple[int, ...]] | None = None
        self.latency, self.foresight = latency, foresight
        self.foreseen: Forecast | None = None
        self.foreseen_of: Sequence[int] | None = None  # the request's `sent`
        self.cold: Sequence[float] | None = None  # None until the first request
        self.running: Sequence[float] = ()
        self.usage: Sequence[float] = ()
        self.full: Sequence[float] = ()

    def tokens(self) -> tuple[int, ...]:
        """Of our own requests in flight at each."""
        if self._tokens is None:
            self._tokens = self.ledger.tokens.reader(self.names)
        return self._tokens()

    def seen(self, rungs: Rungs) -> Sequence[int]:
        """How many bytes from the beginning of such a prompt each of them has seen."""
        groups = self.index.groups(rungs, self.bits())
        found = self.index.named(groups)
        return [found.get(name, 0) for name in self.names]

    def bits(self) -> int:
        """Of the candidates, in the prefix index."""
        if self._bits_of != self.index.admitted:
            self._bits, self._bits_of = self.index.bits(self.names), self.index.admitted
        return self._bits

    def counted(self) -> tuple[Sequence[int], Sequence[int]]:
        """Our own requests in flight at each, and its depth."""
        followed = self.followed
        if followed is None:
            sent = self.in_flight()
            return sent, self.depths(sent)
        followed.read()
        return followed.sent, followed.depths

    def depths(self, sent: Sequence[int]) -> list[int]:
        """The waiting requests at each, with those of ours that no metric knows yet.

        Of our own requests in flight, those beyond what the endpoint reported as running or waiting were sent since:
        they count as waiting, or a burst between two scrapes would all go to the endpoint that was the best before it.
        """
        return [w + c - r if c > r else w for w, c, r in zip(self.waiting, sent, self.reported)]  # noqa: B905 - dear
