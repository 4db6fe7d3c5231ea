"""How many tokens did an answer cost?  What servers say of it, in each of the forms in which they do.

Sources: OpenAI's API (chat completions, completions, embeddings, responses), Anthropic's (messages), vLLM's own answers
(score, rerank). Nothing inside of a JSON string is taken for usage: there every quote is escaped.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

NAME = b'"usage"'
OBJECT = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
LONGEST = 4096  # bytes of a usage object with its name; servers write some hundred
_SHORT = 2048  # bytes of an answer up to which reading all of it costs less than looking for its usage

Count = Annotated[int, Meta(ge=0)]


class Usage(Struct, frozen=True, gc=False):
    """Tokens; None where the server did not tell. `cached` is the part of `prompt` that it had computed before."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


class _Details(Struct, gc=False):
    cached_tokens: Count | None = None


class Told(Struct, gc=False):
    """A usage object as a server writes it."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: _Details | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None

    def usage(self) -> Usage | None:
        """None where it has none of these counts."""
        if self.prompt_tokens is not None and self.completion_tokens is not None:
            of_prompt = self.prompt_tokens_details
            cached = None if of_prompt is None else of_prompt.cached_tokens
            return Usage(self.prompt_tokens, self.completion_tokens, cached)
        prompt = self.prompt_tokens if self.prompt_tokens is not None else self.input_tokens
        completion = self.completion_tokens if self.completion_tokens is not None else self.output_tokens
        details = self.prompt_tokens_details or self.input_tokens_details
        cached = None if details is None else details.cached_tokens
        if self.cache_read_input_tokens is not None or self.cache_creation_input_tokens is not None:
            # Anthropic's form: what came from the cache, or went into it, is not among the input tokens.
            cached = self.cache_read_input_tokens or 0
            if prompt is not None:
                prompt += cached + (self.cache_creation_input_tokens or 0)
        if self.total_tokens is not None:  # where nothing is generated there may be no more than this
            if prompt is None:
                prompt = max(0, self.total_tokens - (completion or 0))
            if completion is None:
                completion = max(0, self.total_tokens - prompt)
        return None if prompt is None and completion is None else Usage(prompt, completion, cached)


class _Answer(Struct, gc=False):
    usage: Told | None = None


_decode = msgspec.json.Decoder(Told).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def read_usage(body: bytes) -> Usage | None:
    """That of a whole JSON answer."""
    if len(body) > _SHORT:
        return last_usage(body)
    try:
        told = _decode_answer(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if told is None else told.usage()


def decode_usage(text: bytes) -> Usage | None:
    """A usage object; None for what is none."""
    try:
        return _decode(text).usage()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def last_usage(text: bytes) -> Usage | None:
    """The last one in a JSON text. It is looked for from the end: what stands before it costs nothing.

    In every form the server's own comes behind what clients and models can put there (tools, arguments of tools).
    """
    at = text.rfind(NAME)
    while at >= 0:
        found = OBJECT.match(text, at)
        usage = decode_usage(found[1]) if found is not None else None
        if usage is not None:
            return usage
        at = text.rfind(NAME, 0, at)
    return None


def merged(first: Usage | None, last: Usage | None) -> Usage | None:
    """What a stream told at first and what it told last: the later counts, but Anthropic's tells the prompt's once."""
    if first is None or last is None:
        return last or first
    return Usage(
        first.prompt if last.prompt is None else last.prompt,
        first.completion if last.completion is None else last.completion,
        first.cached if last.cached is None else last.cached,
    )
