"""`fit`: what a real server took → the Cost with which the engine takes about the same.

A step's duration can't be seen from outside, only when a request's first and last token came. So the engine replays the
requests on virtual time with one Cost after another, and the one that comes closest wins (Nelder and Mead's simplex
method, "A simplex method for function minimization", 1965, on the logarithms of the constants).
"""

from collections.abc import Callable, Sequence
from math import exp, log
from statistics import fmean, median

from msgspec import Struct
from msgspec.structs import replace

from headgate.sim.cost import Cost
from headgate.sim.engine import Config, Engine
from headgate.sim.sequence import Work

CONSTANTS = ("base", "prefill", "sequence", "kv", "request")
_LEAST_S = 0.002  # below it a time is all noise of clocks and sockets
REPLAYS = 500  # about so many
_CLOSE = 1e-4
_LEAST = 1e-12  # of a constant: its logarithm is what is looked for


class Measured(Struct, frozen=True):
    """One request that a server answered as a stream: seconds, tokens. `cached` of the prompt were not computed."""

    at: float
    prompt: int
    output: int
    ttft: float
    duration: float  # to the last token
    cached: int = 0
    server: str = ""

    @property
    def tpot(self) -> float:
        return (self.duration - self.ttft) / max(1, self.output - 1)


class Fit(Struct, frozen=True):
    """The Cost, and how far from what was measured it is: medians of |found / measured − 1|."""

    cost: Cost
    requests: int
    ttft_error: float
    tpot_error: float


def fit(measured: Sequence[Measured], config: Config, progress: Callable[[int], None] = lambda done: None) -> Fit:
    """Raises ValueError where there is too little to learn from, or what could not have been."""
    if len(measured) < 20:
        raise ValueError(f"{len(measured)} streams are too few: give at least 20")
    if not any(one.output > 1 for one in measured):
        raise ValueError("no stream has more than one token: nothing tells how long a step takes")
    tried = 0

    def loss(point: Sequence[float]) -> float:
        nonlocal tried
        tried += 1
        progress(min(tried, REPLAYS))
        return _loss(measured, replay(measured, replace(config, cost=_cost(config.cost, point))))

    start = [log(max(_LEAST, value)) for value in _guess(measured)]
    best = minimise(loss, start, REPLAYS // 2)
    best = minimise(loss, best, REPLAYS // 2)  # a simplex that has shrunk too soon gets another chance
    cost = _cost(config.cost, best)
    found = replay(measured, replace(config, cost=cost))
    ttft, tpot = errors(measured, found)
    return Fit(cost, len(measured), median(ttft), median(tpot))


def replay(measured: Sequence[Measured], config: Config) -> list[Measured]:
    """The same requests on engines of this configuration, one for each server that is named."""
    found: dict[int, Measured] = {}
    for server in dict.fromkeys(one.server for one in measured):
        engine = Engine(config)
        coming = sorted((one.at, place) for place, one in enumerate(measured) if one.server == server)
        coming.reverse()
        while coming or engine.next_at is not None:
            ahead = engine.foresee()
            if coming and (ahead is None or coming[-1][0] <= ahead):
                at, place = coming.pop()
                one = measured[place]
                engine.coast(at)
                # What was cached is not computed again; which block it was in nobody has said.
                engine.add(Work(str(place), max(1, one.prompt - one.cached), one.output), at)
                continue
            assert ahead is not None
            engine.coast(ahead)
            for output in engine.step(ahead):
                line = output.timeline
                if line is not None:
                    one = measured[int(output.id)]
                    before = config.cost.request - one.at
                    first, ended = line.first_token + before, line.ended + before
                    found[int(output.id)] = replace(one, ttft=first, duration=ended)
    return [found[place] for place in range(len(measured))]


def errors(measured: Sequence[Measured], found: Sequence[Measured]) -> tuple[list[float], list[float]]:
    """|found / measured − 1| of each time to the first token, and of each time per further token."""
    pairs = list(zip(measured, found, strict=True))
    ttft = [abs(b.ttft / max(a.ttft, _LEAST_S) - 1.0) for a, b in pairs]
    tpot = [abs(b.tpot / max(a.tpot, _LEAST_S / 10) - 1.0) for a, b in pairs if a.output > 1]
    return ttft, tpot


def _loss(measured: Sequence[Measured], found: Sequence[Measured]) -> float:
    """The mean of |log(found / measured)|: twice as long is as far off as half as long, and outliers weigh little."""
    apart = []
    for a, b in zip(measured, found, strict=True):
        apart.append(abs(log((b.ttft + _LEAST_S) / (a.ttft + _LEAST_S))))
        if a.output > 1:
            apart.append(abs(log((b.tpot + _LEAST_S / 10) / (a.tpot + _LEAST_S / 10))))
    return fmean(apart)


def _guess(measured: Sequence[Measured]) -> tuple[float, ...]:
    """Where to begin: the fastest streams had a server for themselves."""
    tpots = sorted(one.tpot for one in measured if one.output > 1)
    base = max(1e-4, tpots[len(tpots) // 10])
    firsts = sorted(one.ttft for one in measured)
    request = max(base * 0.1, firsts[len(firsts) // 10] - base)
    rates = sorted(max(0.0, one.ttft - base - request) / max(1, one.prompt - one.cached) for one in measured)
    prefill = max(base * 1e-3, rates[len(rates) // 2])
    return base * 0.8, prefill, base * 0.02, base * 1e-5, request


def _cost(like: Cost, point: Sequence[float]) -> Cost:
    return replace(like, **{name: exp(value) for name, value in zip(CONSTANTS, point, strict=True)})


def minimise(loss: Callable[[Sequence[float]], float], start: Sequence[float], steps: int) -> list[float]:
    """A point near which `loss` is least, from `start` on, with about so many calls of it."""
    size = len(start)
    corners = [list(start)] + [[value + (place == other) for other, value in enumerate(start)] for place in range(size)]
    simplex = sorted((loss(corner), corner) for corner in corners)
    calls = size + 1
    while calls < steps and simplex[-1][0] - simplex[0][0] > _CLOSE:
        centre = [fmean([corner[place] for _, corner in simplex[:-1]]) for place in range(size)]
        worst_at, worst = simplex[-1]

        def along(share: float, centre: list[float] = centre, worst: list[float] = worst) -> tuple[float, list[float]]:
            point = [middle + share * (middle - away) for middle, away in zip(centre, worst, strict=True)]
            return loss(point), point

        new = along(1.0)
        calls += 1
        if new[0] < simplex[0][0]:
            further = along(2.0)
            calls += 1
            new = min(new, further)
        elif new[0] >= simplex[-2][0]:
            new = along(0.5 if new[0] < worst_at else -0.5)
            calls += 1
            if new[0] >= worst_at:
                _, best = simplex[0]
                shrunk = [[(a + b) / 2 for a, b in zip(best, corner, strict=True)] for _, corner in simplex[1:]]
                simplex = [simplex[0], *((loss(corner), corner) for corner in shrunk)]
                calls += size
                simplex.sort()
                continue
        simplex[-1] = new
        simplex.sort()
    return simplex[0][1]
