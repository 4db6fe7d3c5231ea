"""What chance decides of a workload: when requests come, and how long they are. `dice` is uniform in [0, 1)."""

from collections.abc import Callable, Iterator, Sequence
from math import cos, exp, log, pi, sqrt

Dice = Callable[[], float]
Stage = tuple[float, float]  # requests a second, for so many seconds


def arrivals(stages: Sequence[Stage], dice: Dice) -> Iterator[float]:
    """Poisson, one rate after the other."""
    began = 0.0
    for rate, seconds in stages:
        now = began
        while (now := now - log(1.0 - dice()) / rate) < began + seconds:
            yield now
        began += seconds


def around(mean: float, spread: float, dice: Dice, most: int = 1 << 14) -> int:
    """A length, log-normal with this mean; `spread` is the deviation of its logarithm."""
    normal = sqrt(-2.0 * log(1.0 - dice())) * cos(2.0 * pi * dice())
    return max(1, min(most, round(exp(log(mean) - spread * spread / 2 + spread * normal))))


def pause(mean: float, dice: Dice) -> float:
    """Exponential, in the unit of the mean."""
    return -mean * log(1.0 - dice())


def drawn(weights: Sequence[float], dice: Dice) -> int:
    """A place, as likely as its weight is large."""
    left = dice() * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return len(weights) - 1
