"""What a sequence will say, settled when it is asked: text, tokens, and how it ends. The engine only says when."""

from collections.abc import Mapping, Sequence
from typing import Any

import xxhash
from msgspec import Struct

from headgate.sim import tokens
from headgate.sim.prose import compose, compose_json


class Prompt(Struct, frozen=True, gc=False):
    """`tokens` four bytes each; `question` is the part that the answer is to be about."""

    tokens: bytes
    question: str

    @property
    def count(self) -> int:
        return len(self.tokens) // tokens.WIDTH


class Sampling(Struct, frozen=True):
    """What decides how much is generated; `limit` is at least 1 and fits the context."""

    n: int = 1
    limit: int = 16
    least: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    keep_stop: bool = False
    ignore_end: bool = False
    seed: int = 0
    schema: Mapping[str, Any] | None = None  # the answer is JSON of this schema, of any schema when it is empty


class Draft(Struct, frozen=True, gc=False):
    """`tokens` as generated; `text` as told, so without a stop string; k tokens have told `text[:ends[k]]`."""

    tokens: bytes
    text: str
    ends: Sequence[int]
    finish: str
    stop: str | int | None = None

    @property
    def count(self) -> int:
        return len(self.tokens) // tokens.WIDTH


def draft(model: str, prompt: Prompt, sampling: Sampling, choice: int = 0) -> Draft:
    """The answer of `model` to `prompt`: the same for the same model, prompt, seed and choice."""
    digest = xxhash.xxh3_64_intdigest(prompt.tokens, (sampling.seed * 1000003 + choice) & 0xFFFFFFFFFFFFFFFF)
    digest ^= xxhash.xxh3_64_intdigest(model.encode())
    endless = sampling.ignore_end
    wanted = sampling.limit if endless else min(sampling.least, sampling.limit)
    if sampling.schema is not None:
        text = compose_json(sampling.schema, prompt.question, digest)
        text += " " * max(wanted * tokens.WIDTH - len(text), 0)
    else:
        text = compose(model, prompt.question, digest, wanted * tokens.WIDTH + 1 if wanted else 0)
    spoken = tokens.encode(text)
    if not endless:
        spoken += tokens.END
    finish = "stop"
    stop: str | int | None = None
    if len(spoken) > sampling.limit * tokens.WIDTH:
        finish = "length"
        spoken = spoken[: sampling.limit * tokens.WIDTH]
    ends = _ends(spoken)
    text = text[: ends[-1]]
    cut = len(text)
    held = 0
    if sampling.stop_ids:
        place = _stopping_token(spoken, sampling)
        if place is not None:
            finish, stop = "stop", int.from_bytes(spoken[place : place + tokens.WIDTH], "little")
            spoken = spoken[: place + tokens.WIDTH]
            cut = ends[place // tokens.WIDTH]  # the token that stops is not told
    if sampling.stop:
        found = _stopping_string(text[: ends[len(spoken) // tokens.WIDTH]], ends, sampling)
        if found is not None:
            count, cut, stop = found
            finish = "stop"
            spoken = spoken[: count * tokens.WIDTH]
        # What might be the beginning of a stop string is held back until it is clear that it is not.
        held = 0 if sampling.keep_stop else max(len(word) for word in sampling.stop) - 1
    if cut < len(text) or held:
        count = len(spoken) // tokens.WIDTH
        ends = [max(min(end - held, cut), 0) for end in ends[:count]] + [cut]
        text = text[:cut]
    return Draft(spoken, text, ends, finish, stop)


def keys(content: bytes, block_size: int, root: str) -> list[int]:
    """A key for each full block of `block_size` tokens, chained from `root` (the adapter's name and the salt)."""
    width = block_size * tokens.WIDTH
    view = memoryview(content)
    key = xxhash.xxh3_64_intdigest(root.encode()) if root else 1
    found = []
    digest = xxhash.xxh3_64_intdigest
    for start in range(0, len(content) - width + 1, width):
        key = digest(view[start : start + width], key) or 1
        found.append(key)
    return found


def _ends(spoken: bytes) -> Sequence[int]:
    """How many characters the first k tokens have, for k from 0."""
    if spoken.endswith(tokens.END):
        ends = _ends(spoken[: -tokens.WIDTH])
        return [*ends, ends[-1]]
    if spoken.isascii():
        return [*range(0, len(spoken), tokens.WIDTH), len(spoken.rstrip(b"\0"))]
    ends = [0]
    for piece in tokens.pieces(spoken):
        ends.append(ends[-1] + len(piece))
    return ends


def _stopping_token(spoken: bytes, sampling: Sampling) -> int | None:
    for place in range(sampling.least * tokens.WIDTH, len(spoken), tokens.WIDTH):
        if int.from_bytes(spoken[place : place + tokens.WIDTH], "little") in sampling.stop_ids:
            return place
    return None


def _stopping_string(text: str, ends: Sequence[int], sampling: Sampling) -> tuple[int, int, str] | None:
    """Where the first stop string ends generation: tokens generated, characters told, the string."""
    # vLLM looks for stop strings only from the token after `min_tokens` on, in what is new with it.
    begin = ends[min(sampling.least, len(ends) - 1)] if sampling.least else 0
    best: tuple[int, int, str] | None = None
    for word in sampling.stop:
        at = text.find(word, max(begin - len(word) + 1, 0))
        if at < 0:
            continue
        count = next(k for k, end in enumerate(ends) if end >= at + len(word))
        cut = at + len(word) if sampling.keep_stop else at
        if best is None or count < best[0]:
            best = (count, cut, word)
    return best
