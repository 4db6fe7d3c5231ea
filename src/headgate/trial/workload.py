"""Workloads to rehearse: requests made by chance, at rates that stages tell."""

from collections.abc import Callable, Mapping, Sequence
from math import pi, sin

from msgspec import Struct
from msgspec.structs import replace

from headgate.trial.chance import Dice, Stage, around, arrivals, drawn, pause
from headgate.trial.request import Request

_TURNS = 5  # of a conversation, in the mean
_THINKS_S = 20.0  # who reads an answer and writes the next question


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
                at, 13_000 + around(200, 0.5, dice), around(250, 0.4, dice), int(dice() * 64), number % 4096, 13_000
            )
        )
    return found


def multi_lora(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """15 adapters, the popular ones far more than the others (Zipf), prompts of about 250 tokens, answers of 150."""
    weights = [1.0 / (rank + 1) for rank in range(15)]
    found = []
    for place, at in enumerate(arrivals(stages, dice)):
        adapter = f"adapter-{drawn(weights, dice)}"
        found.append(Request(at, around(250, 0.6, dice), around(150, 0.6, dice), place, adapter=adapter))
    return found


def chat(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """Nothing shared; lengths as in ShareGPT: prompts of about 220 tokens, answers of 200, both with long tails."""
    return [
        Request(at, around(220, 1.2, dice, 4096), around(200, 0.9, dice, 2048), place)
        for place, at in enumerate(arrivals(stages, dice))
    ]


def multi_turn(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """Conversations of 20 applications, whose system prompts have 1,000 tokens: about 5 turns each (geometric), 120
    tokens a question, 250 an answer, 20 s between two. All that was said before is in each prompt.

    A rate counts turns; conversations are under way already when it begins.
    """
    before = 20 * _THINKS_S
    begun = [(stages[0][0] / _TURNS, before), *((rate / _TURNS, seconds) for rate, seconds in stages)]
    until = sum(seconds for _, seconds in stages)
    found = []
    for number, start in enumerate(arrivals(begun, dice)):
        at, said, group = start - before, 1000, int(dice() * 20)
        while True:
            said += around(120, 0.8, dice)
            answer = around(250, 0.7, dice, 2048)
            if 0 <= at < until and said + answer < 30_000:
                found.append(Request(at, said, answer, group, number, 1000, grows=True))
            said += answer
            at += pause(_THINKS_S, dice)
            if dice() < 1 / _TURNS or at >= until:
                break
    return sorted(found, key=lambda one: one.at)


def long_context(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """Documents of about 20,000 tokens that somebody asks three questions about, 15 s apart; answers of 400."""
    until = sum(seconds for _, seconds in stages)
    found = []
    for group, start in enumerate(arrivals([(rate / 3, seconds) for rate, seconds in stages], dice)):
        at, document = start, around(20_000, 0.4, dice, 30_000)
        for number in range(3):
            if at < until:
                prompt = document + around(100, 0.5, dice, 500)
                found.append(Request(at, prompt, around(400, 0.5, dice, 1500), group, number, document))
            at += pause(15.0, dice)
    return sorted(found, key=lambda one: one.at)


def criticality(stages: Sequence[Stage], dice: Dice) -> list[Request]:
    """The lengths of `chat`; a fifth is Critical (priority 1), three tenths are Sheddable (-1). Of eight tenants the
    first sends half of all.
    """
    tenants = [7.0, *[1.0] * 7]
    found = []
    for one in chat(stages, dice):
        priority = (1, 0, -1)[drawn((0.2, 0.5, 0.3), dice)]
        found.append(replace(one, priority=priority, flow=f"tenant-{drawn(tenants, dice)}"))
    return found


class Workload(Struct, frozen=True):
    """What to rehearse when nothing else is said: `stages` for `endpoints` servers of `card`. SLOs in seconds.

    `shaped`: how the rate changes is what it is about, and another rate is another mean. `prefill` of the endpoints
    are for prompts alone, 0 none.
    """

    make: Callable[[Sequence[Stage], Dice], list[Request]]
    card: str
    endpoints: int
    stages: tuple[Stage, ...]
    ttft_s: float
    tpot_s: float
    shaped: bool = False
    prefill: int = 0

    def prefilling(self, endpoints: int) -> int:
        """The same share of other servers, at least one, and one that is not."""
        if not self.prefill or endpoints < 2:
            return 0
        return min(endpoints - 1, max(1, round(self.prefill * endpoints / self.endpoints)))

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.stages)

    @property
    def rate(self) -> float:
        """Requests a second, in the mean."""
        return sum(rate * seconds for rate, seconds in self.stages) / self.seconds

    def at_rate(self, rate: float) -> "Workload":
        """The same with this mean rate."""
        if not self.shaped:
            return replace(self, stages=((rate, self.seconds),))
        share = rate / self.rate
        return replace(self, stages=tuple([(one * share, seconds) for one, seconds in self.stages]))

    def lasting(self, seconds: float) -> "Workload":
        """The same within this time."""
        share = seconds / self.seconds
        return replace(self, stages=tuple([(rate, one * share) for rate, one in self.stages]))


_BURSTS = ((60.0, 15.0), (300.0, 5.0)) * 4
_OVERLOAD = ((120.0, 15.0), (440.0, 5.0)) * 4
_DAY = tuple([(90.0 * (1 + 0.8 * sin(2 * pi * hour / 24)), 10.0) for hour in range(24)])  # one pressed into 240 s

WORKLOADS: Mapping[str, Workload] = {
    "shared-prefix": Workload(
        shared_prefix, "2xh100-qwen3-32b", 8, ((15, 20), (22, 20), (30, 20), (40, 20), (50, 20), (60, 20)), 2.0, 0.1
    ),
    "one-prefix": Workload(one_prefix, "2xh100-qwen3-32b", 8, ((20, 30),), 1.0, 0.05),
    "rag": Workload(rag, "a100-40g-llama-3.1-8b", 8, ((6, 120),), 1.0, 0.06),
    "multi-lora": Workload(multi_lora, "h100-llama-3.1-8b", 10, ((300, 60),), 0.5, 0.03),
    "chat": Workload(chat, "a100-40g-llama-3.1-8b", 8, ((120, 60),), 0.5, 0.05),
    "multi-turn": Workload(multi_turn, "a100-40g-llama-3.1-8b", 8, ((20, 120),), 0.5, 0.05),
    "long-context": Workload(long_context, "h100-llama-3.1-8b", 8, ((8, 120),), 3.0, 0.05),
    "bursts": Workload(chat, "a100-40g-llama-3.1-8b", 8, _BURSTS, 0.5, 0.05, shaped=True),
    "diurnal": Workload(chat, "a100-40g-llama-3.1-8b", 8, _DAY, 0.5, 0.05, shaped=True),
    "criticality": Workload(criticality, "a100-40g-llama-3.1-8b", 8, _OVERLOAD, 0.5, 0.05, shaped=True),
}
