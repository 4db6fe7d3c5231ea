"""Headgate's own access log (docs/metrics.md): when requests came, their tokens, whose they were.

What prompts had in common is known as far as servers found it: two requests of one client and model are taken to be
equal in their first tokens, as many as each had in a cache. Where a line says a `session`, its prompts are taken to
grow.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from headgate.trial.recorded import Broken, Recorded, Told, by_line, tokens
from headgate.trial.request import Request


class _Line(Struct, frozen=True):
    time: datetime
    status: int
    model: str = ""
    target_model: str = ""
    pool: str = ""
    client: str = ""
    peer: str = ""
    priority: int = 0
    session: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


def read(lines: Iterable[bytes], told: Told) -> Recorded:
    groups: dict[tuple[str, ...], int] = {}
    numbers: dict[str, int] = {}
    found = []
    for place, line in by_line(lines, _Line):
        where = f"line {place}"
        if line.time.tzinfo is None:
            raise Broken(f"{where}: time has no zone: write it as 2026-01-31T12:00:00.000Z")
        if line.status >= 400:
            told.left_out["that failed"] += 1
            continue
        if not line.prompt_tokens or not line.completion_tokens:
            told.left_out["without tokens: not of a model, or the server did not tell them"] += 1
            continue
        prompt = tokens(line.prompt_tokens, "prompt_tokens", where)
        output = tokens(line.completion_tokens, "completion_tokens", where)
        shared = min(prompt, tokens(line.cached_tokens or 0, "cached_tokens", where))
        model, whose = line.target_model or line.model, line.client or line.peer
        group = groups.setdefault((model, whose), len(groups))
        number = numbers.setdefault(f"s {line.session}" if line.session else f"l {place}", len(numbers))
        if line.session:
            group, shared = 0, 0
        found.append(
            Request(
                line.time.timestamp(),
                prompt,
                output,
                group,
                number,
                shared,
                priority=line.priority,
                flow=whose,
                grows=bool(line.session),
            )
        )
    return Recorded(found)
