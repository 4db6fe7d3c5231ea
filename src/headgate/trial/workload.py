"""Requests to rehearse with: when each comes, how long it is, and what of it is equal to others.

There is no text. Two requests of one `group` are equal in their first `shared` tokens (those of a group have the same),
two of one group and `number` in all of them, and all others in nothing; nor are those of different adapters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import cos, exp, log, pi, sqrt

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.prefix import LENGTHS, Rungs

Dice = Callable[[], float]


class Request(Struct, frozen=True, gc=False):
    """`at` in seconds from the beginning; lengths in tokens."""

    at: float
    prompt: int
    output: int
    group: int
    number: int = 0
    shared: int = 0
    adapter: str = ""

    def keys(self, block_size: int) -> list[int]:
        """The content of its full blocks, as the engine knows it: equal where the prompts are, up to there."""
        common, full = min(self.shared, self.prompt) // block_size, self.prompt // block_size
        first, own = self._roots()
        return [*(first | place for place in range(common)), *(own | place for place in range(common, full))]

    def _roots(self) -> tuple[int, int]:
        """What the group shares, and what is the number's own; a place in it goes into the lowest 22 bits."""
        first = self.group << 44
        if self.adapter:
            first |= xxh3_64_intdigest(self.adapter.encode()) << 88
        return first, first | (self.number + 1) << 22

    def rungs(self) -> Rungs:
        """The same as the gateway's prefix index knows it."""
        whole, common = self.prompt * BYTES_PER_TOKEN, self.shared * BYTES_PER_TOKEN
        first, own = self._roots()
        rungs = []
        for place, length in enumerate(LENGTHS):
            if length > whole:
                break
            rungs.append((length, (first if length <= common else own) | place))
        return tuple(rungs)


Stage = tuple[float, float]  # requests a second, for so many seconds


def arrivals(stages: Sequence[Stage], dice: Dice) -> Iterator[float]:
    """Poisson, one rate after the other."""
    began = 0.0
    for rate, seconds in stages:
        now = began
        while (now := now - log(1.0 - dice()) / rate) < began + seconds:
            yield now
        began += seconds


def shared_prefix(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """150 system prompts of 6,000 tokens, with 5 questions of 1,200 each; answers of 1,000.

    inference-perf's shared-prefix workload with the published parameters.
    """
    return [
        Request(at, 7200, 1000, group=int(dice() * 150), number=int(dice() * 5), shared=6000)
        for at in arrivals(stages, dice)
    ]


def one_prefix(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """Everybody has the same system prompt of 6,000 tokens, and a question of 1,200 of his own; answers of 300."""
    return [Request(at, 7200, 300, 0, place, 6000) for place, at in enumerate(arrivals(stages, dice))]


def rag(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """Questions of about 200 tokens about one of 64 documents of 13,000 (10,000 words), each asked for 250."""
    found = []
    for number, at in enumerate(arrivals(stages, dice)):
        found.append(
            Request(
                at, 13_000 + _around(200, 0.5, dice), _around(250, 0.4, dice), int(dice() * 64), number % 4096, 13_000
            )
        )
    return found


def multi_lora(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """15 adapters, the popular ones far more than the others (Zipf), prompts of about 250 tokens, answers of 150."""
    weights = [1.0 / (rank + 1) for rank in range(15)]
    found = []
    for place, at in enumerate(arrivals(stages, dice)):
        adapter = f"adapter-{_drawn(weights, dice)}"
        found.append(Request(at, _around(250, 0.6, dice), _around(150, 0.6, dice), place, adapter=adapter))
    return found


def chat(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """Nothing shared; lengths as in ShareGPT: prompts of about 220 tokens, answers of 200, both with long tails."""
    return [
        Request(at, _around(220, 1.2, dice, 4096), _around(200, 0.9, dice, 2048), place)
        for place, at in enumerate(arrivals(stages, dice))
    ]


def _around(mean: float, spread: float, dice: Dice, most: int = 1 << 14) -> int:
    """A length, log-normal with this mean; `spread` is the deviation of its logarithm."""
    normal = sqrt(-2.0 * log(1.0 - dice())) * cos(2.0 * pi * dice())
    return max(1, min(most, round(exp(log(mean) - spread * spread / 2 + spread * normal))))


def _drawn(weights: Sequence[float], dice: Dice) -> int:
    left = dice() * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return len(weights) - 1


class Workload(Struct, frozen=True):
    """What to rehearse when nothing else is said: `stages` for `endpoints` servers of `card`. SLOs in seconds."""

    make: Callable[[Sequence[Stage], Dice], list[Request]]
    card: str
    endpoints: int
    stages: tuple[Stage, ...]
    ttft_s: float
    tpot_s: float


WORKLOADS: Mapping[str, Workload] = {
    "shared-prefix": Workload(
        shared_prefix, "2xh100-qwen3-32b", 8, ((15, 20), (22, 20), (30, 20), (40, 20), (50, 20), (60, 20)), 2.0, 0.1
    ),
    "one-prefix": Workload(one_prefix, "2xh100-qwen3-32b", 8, ((20, 30),), 1.0, 0.05),
    "rag": Workload(rag, "a100-40g-llama-3.1-8b", 8, ((6, 120),), 1.0, 0.06),
    "multi-lora": Workload(multi_lora, "h100-llama-3.1-8b", 10, ((300, 60),), 0.5, 0.03),
    "chat": Workload(chat, "a100-40g-llama-3.1-8b", 8, ((120, 60),), 0.5, 0.05),
}
