"""What is asked of simulated servers over real sockets: little enough for two cores, enough to tell pickers apart.

A simulated server takes the time that an 8B model takes on an L4 (sim/cost.py): 54 ms a step, 0.26 ms a prompt token.
Prompts are text; a token is four characters. Everything follows from the seed.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from bench.page import MODEL as BASE
from headgate.trial.chance import Dice, around, arrivals, drawn

_WORDS = (
    "sun ",
    "oak ",
    "sea ",
    "ash ",
    "fog ",
    "elm ",
    "ice ",
    "bay ",
    "fir ",
    "dew ",
    "fen ",
    "ivy ",
    "hay ",
    "rye ",
)


class Ask(Struct, frozen=True):
    """One chat request: when, of which model, with which system prompt and question, for so many tokens."""

    at: float
    model: str
    system: str
    question: str
    output: int


class Scene(Struct, frozen=True):
    """`flags` are those of each simulated server. The SLO, in seconds: to the first token, and to each further one."""

    what: str
    servers: int
    flags: tuple[str, ...]
    make: Callable[[float, Dice], list[Ask]]
    ttft_s: float
    tpot_s: float
    adapters: tuple[str, ...] = ()


def prose(tokens: int, seed: int) -> str:
    """So many tokens of text that only this seed gives."""
    words, state = [], seed * 2_654_435_761 + 1
    for _ in range(tokens):
        state = (state * 1_103_515_245 + 12_345) % (1 << 31)
        words.append(_WORDS[(state >> 16) % len(_WORDS)])
    return "".join(words)


def shared_prefix(seconds: float, dice: Dice) -> list[Ask]:
    """32 system prompts of 1,600 tokens: a server's cache holds half of them."""
    systems = [prose(1600, place) for place in range(32)]
    return [
        Ask(at, BASE, systems[int(dice() * 32)], prose(120, 1000 + number), 40)
        for number, at in enumerate(_arrivals(12.0, seconds, dice))
    ]


def documents(seconds: float, dice: Dice) -> list[Ask]:
    """24 documents of 4,000 tokens, with questions to them: a server's cache holds a third."""
    texts = [prose(4000, place) for place in range(24)]
    return [
        Ask(at, BASE, texts[int(dice() * 24)], prose(around(100, 0.5, dice), 1000 + number), around(30, 0.4, dice))
        for number, at in enumerate(_arrivals(5.0, seconds, dice))
    ]


def adapters(seconds: float, dice: Dice) -> list[Ask]:
    """15 adapters, some asked for far more than others (Zipf), on servers that run four at a time."""
    weights = [1.0 / (rank + 1) for rank in range(15)]
    found = []
    for number, at in enumerate(_arrivals(24.0, seconds, dice)):
        place = drawn(weights, dice)
        found.append(Ask(at, ADAPTERS[place], "", prose(around(250, 0.6, dice), 1000 + number), around(50, 0.6, dice)))
    return found


def chat(seconds: float, dice: Dice) -> list[Ask]:
    """Nothing shared: prompts of about 220 tokens, answers of 60, both with long tails."""
    return [
        Ask(at, BASE, "", prose(around(220, 1.2, dice, 4000), 1000 + number), around(60, 0.9, dice, 400))
        for number, at in enumerate(_arrivals(10.0, seconds, dice))
    ]


def turns(seconds: float, dice: Dice) -> list[Ask]:
    """60 conversations that grow by 150 tokens a turn, from 800 on: each turn sends all that was said before."""
    said = [prose(800, place) for place in range(60)]
    found = []
    for number, at in enumerate(_arrivals(8.0, seconds, dice)):
        place = int(dice() * 60)
        question = prose(150, 1000 + number)
        found.append(Ask(at, BASE, said[place], question, 40))
        said[place] += question
    return found


def _arrivals(rate: float, seconds: float, dice: Dice) -> list[float]:
    """All of them before anything else is left to chance."""
    return list(arrivals(((rate, seconds),), dice))


ADAPTERS = tuple(f"adapter-{place}" for place in range(15))
_LOADED = tuple(f"{name}=org/{name}" for name in ADAPTERS)

SCENES: Mapping[str, Scene] = {
    "shared-prefix": Scene(
        "32 system prompts of 1,600 tokens, 12 requests a second",
        4,
        ("--num-gpu-blocks-override", "1500"),
        shared_prefix,
        2.0,
        0.15,
    ),
    "documents": Scene(
        "24 documents of 4,000 tokens, 5 requests a second",
        4,
        ("--num-gpu-blocks-override", "2200", "--max-num-batched-tokens", "8192"),
        documents,
        2.0,
        0.3,
    ),
    "adapters": Scene(
        "15 adapters, 24 requests a second",
        8,
        ("--max-loras", "4", "--max-cpu-loras", "15", "--lora-modules", *_LOADED),
        adapters,
        2.0,
        0.15,
        ADAPTERS,
    ),
    "turns": Scene(
        "60 conversations, 8 requests a second",
        4,
        ("--num-gpu-blocks-override", "2500"),
        turns,
        2.0,
        0.15,
    ),
    "chat": Scene("nothing shared, 10 requests a second", 4, (), chat, 2.0, 0.15),
}
