"""Pickers that leave the choice to chance: totals → the place of the winner, and why in words.

A total below 0 is that of an endpoint without room, which is none to choose.
"""

from collections.abc import Callable, Sequence
from math import fsum

Dice = Callable[[], float]
Draw = Callable[[Sequence[float], Dice], tuple[int, str]]


def at_random(totals: Sequence[float], dice: Dice) -> tuple[int, str]:
    """Any of them, whatever its total."""
    places = [place for place, total in enumerate(totals) if total >= 0.0]
    return places[int(dice() * len(places))], f"drawn from {len(places)} with equal chances"


def by_weight(totals: Sequence[float], dice: Dice) -> tuple[int, str]:
    """Each as likely as its total is large; all alike where every total is 0.

    What the field's weighted-random-picker does for one endpoint (Efraimidis and Spirakis, A-Res) in one throw.
    """
    weights = [max(0.0, total) for total in totals]
    whole = fsum(weights)
    if not whole > 0.0:
        return at_random(totals, dice)
    left = dice() * whole
    chosen = max(range(len(weights)), key=weights.__getitem__)
    for place, weight in enumerate(weights):
        if weight and left < weight:
            chosen = place
            break
        left -= weight
    return chosen, f"drawn by weight: its share was {weights[chosen] / whole:.0%}"


DRAWS: dict[str, Draw] = {"random-picker": at_random, "weighted-random-picker": by_weight}
