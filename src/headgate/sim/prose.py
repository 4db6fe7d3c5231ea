"""The text that the simulator makes up: readable, about the prompt, and a function of model, prompt and seed only."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from headgate.sim import instances

_WORD = re.compile(r"[^\W\d_][\w'-]{3,}")
_LOOKED_AT = 300  # characters of the question; longer ones say no more about what it is about
_EMPTY_WORDS = """
    about above after again against also another answer because been before being below between both briefly
    cannot come could does doing down during each explain find from further give have having help here hers into
    itself just know like list make many mean more most much must name need once only other ours over please same
    shall should show some such tell than that their them then there these they thing things this those through
    topic under until upon using very want well were what when where which while will with word words would write
    your
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())

_OPENINGS = (
    "A fair question about {a}, and a short answer: it depends on where you start.",
    "Of {a} three things are worth saying.",
    "People have asked about {a} for a long time, and the good answers are short.",
    "Let us look at {a} from the simple side first.",
    "Whoever asks about {a} usually also wants to know about {b}.",
)
_MIDDLES = (
    "First, {a} is easier to understand next to {b} than alone.",
    "It helps to keep {b} apart from {a}, because the two are often confused.",
    "In practice {a} matters most on an ordinary day, when nobody pays attention to it.",
    "There is no need to hurry: {a} rewards patience.",
    "The details of {b} can wait until the outline is clear.",
    "A good example says more about {a} than a definition does.",
    "Most mistakes with {b} come from wanting too much at once.",
    "One can measure {a}, but the measure says little without {b}.",
    "Others see {a} differently, and they have their reasons.",
    "Small steps with {b} go further than a great plan.",
)
_CLOSINGS = (
    "So much for {a}; ask again if you want to know more about {b}.",
    "That is all that can be said about {a} in a few sentences.",
    "Start with {a}, and let {b} follow.",
)
_DISH_OPENINGS = (
    "A food review of {a}: four stars, and the fifth was close.",
    "If {a} were a dish, we would order it twice.",
    "We came for {a} and stayed for the dessert.",
)
_DISH_MIDDLES = (
    "The soup was hot, the bread was fresh, and {a} was served with care.",
    "The kitchen knows its spices: {b} had depth, warmth and a little smoke.",
    "The portion of {a} was generous, the price was not.",
    "The sauce carried {b} well, although a pinch of salt was missing.",
    "Service was quick, friendly, and honest about {b}.",
    "The crust was crisp and {a} was tender to the last bite.",
)
_DISH_CLOSINGS = (
    "We would come back for {a}, and bring friends who like {b}.",
    "In short: good food, fair wine, and {a} worth the walk.",
)


def compose(model: str, question: str, digest: int, characters: int = 0) -> str:
    """A few sentences about `question`, as chosen by `digest`; more of them until there are that many `characters`."""
    dish = any(word in model.lower() for word in ("food", "review", "restaurant"))
    openings, middles, closings = (
        (_DISH_OPENINGS, _DISH_MIDDLES, _DISH_CLOSINGS) if dish else (_OPENINGS, _MIDDLES, _CLOSINGS)
    )
    a, b = _topics(question)
    chance = _chances(digest)
    sentences = [openings[next(chance) % len(openings)]]
    first = next(chance)
    sentences += [middles[(first + step) % len(middles)] for step in range(2 + next(chance) % 2)]
    closing = closings[next(chance) % len(closings)]
    text = " ".join((*sentences, closing)).format(a=a, b=b)
    while len(text) < characters:
        first = next(chance)
        more = [middles[(first + step) % len(middles)].format(a=a, b=b) for step in range(len(middles))]
        text += " " + " ".join(more)
    return text


def compose_json(schema: Mapping[str, Any], question: str, digest: int) -> str:
    """The JSON text of an instance of `schema` (an empty one: any object)."""
    a, b = _topics(question)
    chance = _chances(digest)
    return instances.compose(schema, _MIDDLES[next(chance) % len(_MIDDLES)].format(a=a, b=b), chance)


def _topics(question: str) -> tuple[str, str]:
    """Two words that the question is about."""
    words = dict.fromkeys(
        word for word in _WORD.findall(question[-_LOOKED_AT:]) if word.lower() not in _EMPTY and len(word) < 30
    )
    found = sorted(words, key=len, reverse=True)[:2]
    found = [word for word in words if word in found]  # in the order of the question
    if not found:
        return "this", "everything else"
    return found[0], found[1] if len(found) > 1 else "its surroundings"


def _chances(digest: int) -> Iterator[int]:
    """Numbers that follow from the digest (a linear congruential generator, Knuth's MMIX)."""
    state = digest
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        yield state >> 33
