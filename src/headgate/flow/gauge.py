"""How full is the pool now?  By what its endpoints reported, and by what was sent there since."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger

_ANY = 1e9  # how much fuller a request may make a pool that counts tokens: each may have any number of them


class Detector(Protocol):
    """When an endpoint is full; `concurrency` is of our own requests in flight, `tokens` of theirs; where both are 0,
    it is by what it reports.
    """

    @property
    def queue_depth(self) -> int: ...
    @property
    def kv_usage(self) -> float: ...
    @property
    def stale_after_s(self) -> float: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def tokens(self) -> int: ...


class Bounds(Struct, frozen=True):
    """Requests in flight at one endpoint and in the pool, at most; 0 no limit."""

    endpoint: int = 0
    pool: int = 0


class _Known(Struct, frozen=True):
    """Of one endpoint: what would wait there without our requests, as of its load; how full its KV cache is."""

    at: float | None
    offset: int
    usage: float


class Gauge:
    """Mutable. Saturation is the mean of how full the endpoints are that take requests; 1 and more is full.

    An endpoint that reported w waiting and r running or waiting, when we had s requests in flight there, and has c of
    ours now, counts as having max(0, w + c − min(s, w + r)) waiting: a burst between two scrapes counts at once, and so
    does that requests have ended. Where more is in flight than allowed, the pool is full too. Tokens of prompts that
    have been answered are missed from the next look on.

    `read` costs 0.1 µs for each endpoint, `watch` 0.3 µs.
    """

    __slots__ = (
        "_bounds",
        "_detector",
        "_known",
        "_ledger",
        "_offsets",
        "_per_request",
        "_read",
        "_read_tokens",
        "_stale_at",
        "_usages",
        "fresh_until",
        "size",
        "unit",
    )

    def __init__(self, detector: Detector, ledger: Ledger, bounds: Bounds | None = None) -> None:
        self._detector = detector
        self._ledger = ledger
        self._bounds = bounds or Bounds()
        self._known: dict[str, _Known] = {}
        self.watch((), ())

    def aim(self, detector: Detector) -> None:
        """From now on it is this detector that counts; `watch` comes next."""
        if detector != self._detector:
            self._detector = detector
            self._known = {}

    def watch(self, endpoints: Sequence[Endpoint], loads: Sequence[Load]) -> None:
        """These are the pool's endpoints now, and what each has reported."""
        pairs = [
            (endpoint.name, load)
            for endpoint, load in zip(endpoints, loads, strict=True)
            if endpoint.ready and not endpoint.draining and not endpoint.ejected
        ] or [
            (endpoint.name, load)
            for endpoint, load in zip(endpoints, loads, strict=True)
            if endpoint.ready and not endpoint.draining
        ]
        detector, before = self._detector, self._known
        self._known = known = {name: self._note(name, load, before.get(name)) for name, load in pairs}
        self.size = len(known)  # endpoints that take requests
        self._offsets = [one.offset for one in known.values()]
        self._usages = [one.usage for one in known.values()]
        self._stale_at = [-inf if one.at is None else one.at + detector.stale_after_s for one in known.values()]
        # Until when none of the loads is stale.
        self.fresh_until = inf if detector.concurrency or detector.tokens else min(self._stale_at, default=inf)
        self._per_request = 1.0 / (detector.concurrency or detector.queue_depth)
        # The most that one more request adds to the saturation.
        self.unit = max(self._per_request, _share(self._bounds.endpoint)) / (self.size or 1)
        self.unit = max(self.unit, _share(self._bounds.pool))
        if detector.tokens:
            self.unit = max(self.unit, _ANY)
        self._read: Callable[[], Sequence[int]] = self._ledger.reader(tuple(known)) if known else tuple
        counted = known and detector.tokens
        self._read_tokens: Callable[[], Sequence[int]] = self._ledger.tokens.reader(tuple(known)) if counted else tuple

    def _note(self, name: str, load: Load, before: _Known | None) -> _Known:
        if before is not None and before.at == load.at:
            return before  # what was in flight then is not what is in flight now
        detector, waiting = self._detector, load.waiting or 0
        counted = min(self._ledger.count(name), waiting + (load.running or 0))
        usage = (load.kv_usage or 0.0) / detector.kv_usage if detector.kv_usage else float(bool(load.kv_usage))
        return _Known(load.at, waiting - counted, usage)

    def read(self, now: float) -> float:
        """A pool without endpoints is full, and so is an endpoint that has not reported, or not for long."""
        if not self.size:
            return 1.0
        counts, per_request = self._read(), self._per_request
        detector = self._detector
        if detector.tokens:
            most = float(detector.concurrency) or inf
            pairs = zip(counts, self._read_tokens(), strict=True)
            fullness = [max(count / most, tokens / detector.tokens) for count, tokens in pairs]
        elif detector.concurrency:
            fullness = [count * per_request for count in counts]
        else:
            fullness = [
                waiting if (waiting := (offset + count) * per_request) > usage else usage
                for offset, count, usage in zip(self._offsets, counts, self._usages)  # noqa: B905 - dear
            ]
            if now > self.fresh_until:
                stale = [at < now for at in self._stale_at]
                fullness = [1.0 if old else one for one, old in zip(fullness, stale, strict=True)]
        if self._bounds.endpoint:
            least = 1.0 / self._bounds.endpoint
            fullness = [max(one, count * least) for one, count in zip(fullness, counts, strict=True)]
        mean = sum(fullness) / self.size
        return max(mean, sum(counts) / self._bounds.pool) if self._bounds.pool else mean


def _share(limit: int) -> float:
    return 1.0 / limit if limit else 0.0
