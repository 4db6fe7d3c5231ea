"""What is asked of the picker, and what it answers with."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from headgate.fleet.endpoint import BYTES_PER_TOKEN, Endpoint, Load
from headgate.pick.forecast import Forecast


class Ask(Struct, frozen=True, gc=False):
    """One request, as far as choosing an endpoint goes."""

    model: str  # the name that the server will see, "" when the request names none
    prefix: tuple[tuple[int, int], ...] = ()  # rungs (bytes of prompt, digest), the shortest first
    prompt_bytes: int = 0
    priority: int = 0
    subset: frozenset[str] | None = None  # `ip` or `ip:port`; None the whole pool
    exclude: frozenset[str] = frozenset()  # endpoints (by name) that this request has failed on
    # What follows is told where the profile wants it.
    ttft_slo: float = 0.0  # seconds that it asks for, 0 where it does not
    tpot_slo: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()  # those that came, by name in lower case
    most_output: int | None = None  # tokens that the client takes
    at: float = 0.0  # when it came
    media: bool = False  # it has images, video or audio
    peer: Endpoint | None = None  # chosen for another stage of it

    @property
    def prompt_tokens(self) -> int:
        """As far as the bytes tell."""
        return self.prompt_bytes // BYTES_PER_TOKEN

    def told(self, name: str) -> str:
        """A header that the profile wants, "" where it did not come."""
        for key, value in self.headers:
            if key == name:
                return value
        return ""


class Term(Struct, frozen=True, gc=False):
    """One scorer's part of a decision: its weight, and its score in [0, 1] for each candidate, in their order."""

    scorer: str
    weight: float
    scores: Sequence[float]


class Basis(Struct, frozen=True):
    """What decisions of one moment about one model have in common.

    `candidates` are what the filters left, `loads` theirs as they were known then (a tuple; where many are remembered
    for long, something else that has their numbers alone). `scorers` follows the profile: name,
    weight, and the scores, or None where each decision has its own. `base` sums up the scores that are known, weighted.
    With one candidate there is nothing to score, and both are empty.
    """

    pool: str
    profile: str
    candidates: Sequence[Endpoint]
    loads: Sequence[Load]
    removed: Mapping[str, tuple[str, ...]]  # by each filter that removed endpoints, in the order of the profile
    scorers: tuple[tuple[str, float, Sequence[float] | None], ...] = ()
    base: tuple[float, ...] = ()


class Decision(Struct, frozen=True, gc=False):
    """Who serves a request, and why: everything that logs, `explain` and the tests want to know.

    A request keeps only what is its own, `in_flight` and the scores that depend on it; the rest is worked out when
    somebody asks. `endpoint` is None when every endpoint was filtered out; `emptied` then names the filter that removed
    the last one ("" where the pool has no endpoints at all), and `why` says it for people.
    """

    basis: Basis
    endpoint: Endpoint | None
    in_flight: Sequence[int] = ()  # our own requests at each candidate, before this one
    scored: tuple[Sequence[float], ...] = ()  # for each scorer of the basis without scores, in order
    tied: int = 1  # how many shared the best total: the dice chose among them
    why: str = ""
    emptied: str = ""
    stages: tuple["Decision", ...] = ()  # what else was decided for it, by other profiles
    forecast: Forecast | None = None  # where the profile predicts
    matched: Sequence[float] | None = None  # the part of the prompt that each had seen; None where nobody scored that

    def of(self, profile: str) -> "Decision | None":
        """What that profile decided, "" for the one that counts."""
        if profile in ("", self.basis.profile):
            return self
        return next((stage for stage in self.stages if stage.basis.profile == profile), None)

    @property
    def candidates(self) -> Sequence[Endpoint]:
        return self.basis.candidates

    @property
    def loads(self) -> Sequence[Load]:
        return self.basis.loads

    @property
    def removed(self) -> Mapping[str, tuple[str, ...]]:
        return self.basis.removed

    @property
    def terms(self) -> tuple[Term, ...]:
        """All scorers' parts, in the order of the profile."""
        own = iter(self.scored)
        return tuple(
            [Term(name, weight, next(own) if scores is None else scores) for name, weight, scores in self.basis.scorers]
        )

    @property
    def totals(self) -> tuple[float, ...]:
        """The sum of weight × score for each candidate; empty where there was nothing to score."""
        totals = self.basis.base
        weights = [weight for _, weight, scores in self.basis.scorers if scores is None]
        for weight, scores in zip(weights, self.scored, strict=True):
            totals = tuple([total + weight * score for total, score in zip(totals, scores, strict=True)])
        return totals

    @property
    def fallbacks(self) -> tuple[Endpoint, ...]:
        """Up to two, the next best in order."""
        return self.next_best(2)

    def next_best(self, count: int) -> tuple[Endpoint, ...]:
        """Up to so many, in order; of equals first the one after the winner, so that they spread as it does.

        Worked out when somebody asks: few requests need one.
        """
        totals = self.totals
        if self.endpoint is None or len(totals) < 2:
            return ()
        among, winner = len(totals), self.candidates.index(self.endpoint)
        places = sorted(range(1, among), key=lambda step: -totals[(winner + step) % among])
        return tuple(self.candidates[(winner + step) % among] for step in places[:count])
