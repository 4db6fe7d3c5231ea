"""The admin face: what `headgate get` and `headgate explain` ask, and the metrics. JSON over a unix socket."""

from collections.abc import Callable
from itertools import islice
from urllib.parse import unquote

import msgspec

from headgate.exchange.record import Record
from headgate.pick.trail import explain, render
from headgate.runtime.accesslog import Clock, line
from headgate.runtime.rows import ROWS, Seen
from headgate.runtime.server import Answer, Request

_JSON = (("content-type", "application/json"),)
_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)
_LATEST = 100


class Admin:
    """`handle` for the unix socket, `handle_metrics` for the metrics port, which is for everybody who can reach it."""

    def __init__(self, seen: Callable[[], Seen], ready: Callable[[], bool]) -> None:
        self._seen = seen
        self._ready = ready

    def handle(self, request: Request) -> Answer:
        self._seen().gateway.settle()
        first, _, rest = request.path.strip("/").partition("/")
        if first == "get":
            if rest not in ROWS:
                return _unknown(f"there is no '{rest}' to get, but {', '.join(ROWS)}")
            return _json(ROWS[rest](self._seen()))
        if first == "explain":
            return self._explain(unquote(rest), text=request.query == "text")
        if first == "requests":
            clock, recent = Clock(), self._seen().gateway.recent
            return _json([line(record, clock) for record in islice(reversed(recent), _LATEST)])
        return self.handle_metrics(request)

    def handle_metrics(self, request: Request) -> Answer:
        if request.path == "/metrics":
            gateway = self._seen().gateway
            gateway.settle()
            return Answer(200, _PROMETHEUS, gateway.metrics.page().encode())
        if request.path == "/healthz":
            return Answer(200, _TEXT, b"ok\n")
        if request.path == "/readyz":
            return Answer(200, _TEXT, b"ready\n") if self._ready() else Answer(503, _TEXT, b"not ready\n")
        return Answer(404, _TEXT, b"here are /metrics, /healthz and /readyz\n")

    def _explain(self, request_id: str, *, text: bool) -> Answer:
        recent = self._seen().gateway.recent
        record = next((record for record in reversed(recent) if record.id == request_id), None)
        if record is None:
            return _unknown(
                f"no request '{request_id}' among the last {len(recent)}; its id is in the answer's x-request-id header"
            )
        if text:
            return Answer(200, _TEXT, told(record).encode())
        return _json({"request": line(record, Clock()), "decisions": [explain(one) for one in record.decisions]})


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


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _unknown(message: str) -> Answer:
    return Answer(404, _JSON, msgspec.json.encode({"error": message}))


def _json(value: object) -> Answer:
    return Answer(200, _JSON, msgspec.json.encode(value))
