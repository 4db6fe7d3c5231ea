"""The requests that ended last, so that they can be told about."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec
from msgspec import Struct

from headgate.exchange.record import Record
from headgate.flow.ticket import DISPATCHED, EVICTED, Stay
from headgate.pick.expectation import Expectation
from headgate.pick.trail import explain, render
from headgate.runtime.accesslog import Clock, Line, line
from headgate.runtime.memory import Packer

REMEMBERED = 4096  # requests that `headgate explain` can still tell about
LATEST = 100


class Story(Struct, frozen=True):
    """What is known of one request: `body` None where it is not among the last `of`."""

    of: int
    body: bytes | None = None


class Recall:
    """Mutable; of one process."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=REMEMBERED)
        self._packer = Packer()

    def add(self, records: Sequence[Record]) -> None:
        """They have ended."""
        self._records.extend(records)
        pack = self._packer.pack
        for record in records:
            pack(record)

    def explain(self, request_id: str, *, text: bool) -> Story:
        """For people or as JSON; of requests with one id, the last."""
        known = len(self._records)
        record = next((record for record in reversed(self._records) if record.id == request_id), None)
        if record is None:
            return Story(known)
        if text:
            return Story(known, told(record).encode())
        decisions = [explain(one) for one in record.decisions]
        return Story(known, msgspec.json.encode({"request": line(record, Clock()), "decisions": decisions}))

    def latest(self) -> list[Line]:
        """The newest first."""
        clock = Clock()
        return [line(record, clock) for record in islice(reversed(self._records), LATEST)]


def told(record: Record) -> str:
    """One request's story, for people."""
    answered = f"{record.status} after {_seconds(record.ended_at - record.asked_at)}"
    lines = [
        f"request   {record.id}",
        f"came      {Clock().text(record.asked_at)} from {_who(record)}: "
        f"{record.method} {record.path} (host {record.host or '-'})",
        f"answered  {answered}" + (f": {record.error}" if record.error else ""),
        f"route     {record.route or 'none'}",
    ]
    if record.model:
        seen = f" → {record.target} (by {record.resolved_by})" if record.resolved_by else ""
        objective = f" (objective {record.objective})" if record.objective else ""
        lines.append(f"model     {record.model}{seen}, priority {record.priority}{objective}")
    if cost := _tokens(record):
        lines.append(f"tokens    {cost}")
    if record.expected is not None:
        lines.append(f"took      {_took(record.expected)}")
    if record.stay is not None:
        lines.append(f"queue     {_stay(record, record.stay)}")
    if record.waited:
        in_vain = "" if record.sent_at else ", in vain"
        until = record.sent_at or record.ended_at
        lines.append(f"waited    {_seconds(until - record.asked_at)} for an endpoint or an adapter{in_vain}")
    for number, decision in enumerate(record.decisions, 1):
        lines.append("")
        if len(record.decisions) > 1:
            lines.append(f"try {number}")
        lines.append(render(decision).rstrip("\n"))
    if not record.decisions:
        lines += ["", "It never came to choosing an endpoint."]
    return "\n".join(lines) + "\n"


def _stay(record: Record, stay: Stay) -> str:
    where, then = f"in band {record.priority} as flow {stay.flow}", stay.outcome
    went = then in (DISPATCHED, EVICTED)
    if not stay.waited_s:
        told = f"{'went' if went else then} at once {where}"
    else:
        told = f"queued for {_seconds(stay.waited_s)} {where}, {stay.ahead} of its priority or a higher one before it"
        told += "" if went else f", then {then}"
    return f"{told}, then {EVICTED}" if then == EVICTED else told


def _who(record: Record) -> str:
    return f"{record.client} at {record.peer}" if record.client else record.peer


def _tokens(record: Record) -> str:
    """What it cost, "" where there is nothing to say."""
    if record.prompt_tokens is None and record.completion_tokens is None:
        return f"the server told nothing; {record.chunks} chunks went by" if record.chunks else ""
    cached = f" ({record.cached_tokens} cached)" if record.cached_tokens else ""
    prompt = "?" if record.prompt_tokens is None else record.prompt_tokens
    completion = "?" if record.completion_tokens is None else record.completion_tokens
    return f"prompt {prompt}{cached}, completion {completion}"


def _took(expected: Expectation) -> str:
    """What was predicted, what it was, and what was asked for."""
    parts = []
    for what, seen, predicted, bound in (
        ("TTFT", expected.seen_ttft, expected.ttft, expected.ttft_slo),
        ("TPOT", expected.seen_tpot, expected.tpot, expected.tpot_slo),
    ):
        told = [f"predicted {_seconds(predicted)}"] if predicted else []
        told += [f"asked for {_seconds(bound)}"] if bound else []
        if seen or told:
            parts.append(f"{what} {_seconds(seen) if seen else 'unknown'}" + (f" ({', '.join(told)})" if told else ""))
    return ", ".join(parts) or "unknown"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
