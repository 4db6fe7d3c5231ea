"""A request that the engine works on: what it will say is settled, and how each part of it is told."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.sim.draft import Draft, Prompt
from headgate.sim.handover import Source
from headgate.sim.sequence import Work

EVENT_STREAM = ("content-type", "text/event-stream; charset=utf-8")
DONE = b"data: [DONE]\n\n"
VERSION = "0.32.0"


class Choice(Struct, frozen=True, gc=False):
    """One sequence of a request."""

    work: Work
    prompt: Prompt
    draft: Draft


class Job(Struct, frozen=True):
    """The choices of a request, and its words.

    A stream is `opening()` once the first token is there, `piece(choice, before, now)` for the tokens from the
    `before`-th to the `now`-th of a choice, and `closing()` after the last; otherwise `whole()` is the answer's body.
    """

    choices: tuple[Choice, ...]
    n: int
    limit: int
    stream: bool
    opening: Callable[[], bytes]
    piece: Callable[[int, int, int], bytes]
    closing: Callable[[], bytes]
    whole: Callable[[], bytes]
    source: Source | None = None  # of the KV cache of its prompt, on another server


def alone(job: Job) -> Job:
    """The same where nothing can be pulled: all is computed here."""
    choices = tuple([replace(choice, work=replace(choice.work, pulls=False)) for choice in job.choices])
    return replace(job, choices=choices, source=None)


class Heading(Struct, frozen=True):
    """What every part of an answer repeats."""

    id: str
    created: int
    model: str
    fingerprint: str
    kept: Callable[[str], dict[str, Any] | None] = lambda identity: None  # kv_transfer_params of a sequence that ended


def data(content: Mapping[str, Any]) -> bytes:
    """One event of an OpenAI stream."""
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def event(content: Mapping[str, Any]) -> bytes:
    """One event of a stream whose events have types."""
    return b"event: " + str(content["type"]).encode() + b"\ndata: " + msgspec.json.encode(content) + b"\n\n"


def usage(prompt: int, completion: int, **details: None) -> dict[str, Any]:
    """OpenAI's accounts of a request."""
    accounts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }
    return accounts | details
