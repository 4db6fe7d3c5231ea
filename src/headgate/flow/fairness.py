"""Which flow of a band is next?"""

from collections.abc import Callable, Mapping, MutableMapping
from math import exp2

from msgspec import Struct

from headgate.flow.line import Line

Lines = MutableMapping[str, Line]  # those in which somebody waits, by flow
Next = Callable[[Lines, "Service", float], str]


class Service:
    """What each flow was given of late, in tokens: those that were generated count twice, and all count half as much
    after each half-life (0: for ever as much). Mutable, one for each pool.

    A flow without any for `forget_s` is forgotten, which is looked for each `sweep_s`.
    """

    __slots__ = ("_flows", "_forget_s", "_half_life_s", "_sweep_s", "_swept")

    def __init__(self, half_life_s: float = 60.0, forget_s: float = 3600.0, sweep_s: float = 300.0) -> None:
        self._half_life_s = half_life_s
        self._forget_s = forget_s
        self._sweep_s = sweep_s
        self._flows: dict[str, tuple[float, float]] = {}  # tokens, and as of when
        self._swept = 0.0

    def give(self, flow: str, prompt: int, generated: int, now: float) -> None:
        self._flows[flow] = self.of(flow, now) + prompt + 2 * generated, now
        if now - self._swept >= self._sweep_s:
            self._swept = now
            if self._forget_s:
                self._flows = {name: had for name, had in self._flows.items() if now - had[1] <= self._forget_s}

    def of(self, flow: str, now: float) -> float:
        tokens, at = self._flows.get(flow, (0.0, now))
        if self._half_life_s <= 0.0 or now <= at:
            return tokens
        return tokens * exp2((at - now) / self._half_life_s)

    def __len__(self) -> int:
        return len(self._flows)


class Fairness(Struct, frozen=True):
    """`choose` names the next flow; None where flows don't matter, and who is first of all is next."""

    choose: Next | None = None


STRICT = Fairness()


def in_turn(lines: Lines, service: Service, now: float) -> str:
    """The one that has not been next for the longest. O(1)."""
    flow = next(iter(lines))
    lines[flow] = lines.pop(flow)
    return flow


def least_served(weight: float = 0.8, wait_weight: float = 0.2) -> Next:
    """The highest of weight × (1 − tokens, from 0 to 1 among those that wait) + the same of how long their first waits.

    O(flows that wait).
    """

    def choose(lines: Lines, service: Service, now: float) -> str:
        flows = list(lines)
        if len(flows) == 1:
            return flows[0]
        served = [service.of(flow, now) for flow in flows]
        waits = [now - first.entered if (first := lines[flow].first()) is not None else 0.0 for flow in flows]
        totals = [
            weight * (1.0 - share) + wait_weight * wait
            for share, wait in zip(_spread(served), _spread(waits), strict=True)
        ]
        return flows[totals.index(max(totals))]

    return choose


def _spread(values: list[float]) -> list[float]:
    """From 0 for the least to 1 for the most; all 0 where they are the same."""
    least, width = min(values), max(values) - min(values)
    return [(value - least) / width for value in values] if width > 0.0 else [0.0] * len(values)


FAIR: Mapping[str, Fairness] = {
    "global-strict-fairness-policy": STRICT,
    "round-robin-fairness-policy": Fairness(in_turn),
    "program-aware-fairness": Fairness(least_served()),
}
