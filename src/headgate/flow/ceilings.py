"""How full may the pool be for a band to go on?  Below its ceiling a band's requests go.

`priorities` are in falling order, and no ceiling is above that of a higher priority: so that where a band has to wait,
all below it wait too, and none waits for a band that could not go anyway.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

Compute = Callable[[float, Sequence[int], int], list[float]]


class Usage(Struct, frozen=True):
    """`compute`: saturation, priorities, how often that was asked before → a ceiling for each priority.

    `steady`: the ceilings follow from the priorities alone.
    """

    compute: Compute
    steady: bool = True


def static(threshold: float = 1.0) -> Usage:
    return Usage(lambda saturation, priorities, turn: [threshold] * len(priorities))


def holdback(least: float, most: float = 1.0, *, by_value: bool = False) -> Usage:
    """From `most` for the highest priority to `least` for the lowest: in equal steps, or as the numbers are apart."""

    def compute(saturation: float, priorities: Sequence[int], turn: int) -> list[float]:
        count = len(priorities)
        if count < 2:
            return [most] * count
        high, low = priorities[0], priorities[-1]
        if by_value:
            return [least + (priority - low) / (high - low) * (most - least) for priority in priorities]
        return [most - place * (most - least) / (count - 1) for place in range(count)]

    return Usage(compute)


def reflective() -> Usage:
    """The highest priority may go below 1. Another one below 1 − rank × saturation / (bands − 1); above that each
    round(saturation / (1 − saturation))th time that somebody asks."""

    def compute(saturation: float, priorities: Sequence[int], turn: int) -> list[float]:
        count = len(priorities)
        opens = saturation < 1.0 and turn % max(1, round(saturation / (1.0 - saturation + 1e-9))) == 0
        return [
            1.0 if not place or opens or saturation < 1.0 - place * saturation / (count - 1) else 0.0
            for place in range(count)
        ]

    return Usage(compute, steady=False)


STATIC = static()
