"""What a request would take at each candidate: what a decision was made by."""

from collections.abc import Sequence

from msgspec import Struct

from headgate.fleet.latency import Foresight, Latency


class Forecast(Struct, frozen=True, eq=False):
    """Seconds for each candidate, in their order. Of TPOT () where nothing is known of it, or none is wanted.

    `ttft_room` and `tpot_room` are headrooms: what was asked for less what is predicted; below 0 it would be too late.
    Where one of the two was asked for, the other's are 0; where neither was, both are (). `sure`:
    they may count; else they are only told. `inputs` are the columns that it was made of, () once packed away.
    """

    latency: Latency
    rule: Foresight
    sure: bool
    ttft: Sequence[float]
    tpot: Sequence[float]
    ttft_room: Sequence[float]
    tpot_room: Sequence[float]
    inputs: tuple[Sequence[float], ...]  # left, ahead, running, waiting, full, cold, usage
