"""ShareGPT: a JSON list (or lines) of conversations, each a list of what was said, `from` human, gpt or system.

There are no times: conversations begin by chance, and a turn follows the one before it some 20 s later. There are no
tokens either: 4 bytes of text are one. What a turn is asked stands behind all that was said before.
"""

from collections.abc import Iterable
from itertools import chain

from msgspec import Struct, field

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.trial.chance import arrivals, pause
from headgate.trial.recorded import Broken, Recorded, Told, by_line, whole
from headgate.trial.request import Request

_THINKS_S = 20.0
_ASKS, _ANSWERS, _SETS = {"human", "user"}, {"gpt", "chatgpt", "assistant", "bing", "bard"}, {"system"}


class _Said(Struct, frozen=True):
    value: str
    who: str = field(default="", name="from")
    role: str = ""  # as some write it


class _Conversation(Struct, frozen=True):
    conversations: list[_Said]


def read(lines: Iterable[bytes], told: Told) -> Recorded:
    if told.rate is None:
        raise Broken("it has no times: say with --rate how many requests come in a second")
    turns: list[list[tuple[int, int]]] = []
    for where, one in _conversations(lines):
        found = _turns(one, where)
        if found:
            turns.append(found)
        else:
            told.left_out["conversations without a question and its answer"] += 1
    of_all = sum(map(len, turns))
    if not of_all:
        return Recorded([], timed=False)
    rate = told.rate * len(turns) / of_all
    begun = arrivals(((rate, float("inf")),), told.dice)
    requests = []
    for number, conversation in enumerate(turns):
        at = next(begun)
        for prompt, output in conversation:
            requests.append(Request(at, prompt, output, 0, number, grows=True))
            at += pause(_THINKS_S, told.dice)
    return Recorded(requests, timed=False)


def _conversations(lines: Iterable[bytes]) -> Iterable[tuple[str, _Conversation]]:
    rest = iter(lines)
    head: list[bytes] = []
    for line in rest:
        head.append(line)
        if line.strip():
            break
    everything = chain(head, rest)
    if head and head[-1].lstrip().startswith(b"{"):
        return ((f"line {number}", one) for number, one in by_line(everything, _Conversation))
    return ((f"conversation {number}", one) for number, one in enumerate(whole(everything, list[_Conversation]), 1))


def _turns(one: _Conversation, where: str) -> list[tuple[int, int]]:
    """(tokens of the prompt, tokens of the answer) of each question that was answered."""
    found, said, asked = [], 0, False
    for part in one.conversations:
        who, size = (part.who or part.role).lower(), -(-len(part.value.encode()) // BYTES_PER_TOKEN)
        if who in _ANSWERS:
            if asked and size:
                found.append((max(1, said), size))
            asked = False
        elif who in _ASKS:
            asked = True
        elif who not in _SETS and who != "tool":
            raise Broken(f"{where}: who is {who!r}? It must be from human, gpt or system")
        said += size
    return found
