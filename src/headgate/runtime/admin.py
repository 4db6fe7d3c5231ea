"""The admin face: what `headgate get` and `headgate explain` ask, and the metrics. JSON over a unix socket."""

from collections.abc import Callable
from itertools import islice
from urllib.parse import unquote

import msgspec

from headgate.exchange.record import Record
from headgate.pick.trail import explain, render
from headgate.plan.plan import Statuses
from headgate.runtime.accesslog import Clock, line
from headgate.runtime.gateway import Gateway
from headgate.runtime.rows import ROWS
from headgate.runtime.server import Answer, Request

_JSON = (("content-type", "application/json"),)
_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


class Admin:
    """`handle` for the unix socket, `handle_metrics` for the metrics port, which is for everybody who can reach it."""

    def __init__(self, gateway: Gateway, statuses: Callable[[], Statuses], ready: Callable[[], bool]) -> None:
        self._gateway = gateway
        self._statuses = statuses
        self._ready = ready

    def handle(self, request: Request) -> Answer:
        first, _, rest = request.path.strip("/").partition("/")
        if first == "get" and rest in ROWS:
            return _json(ROWS[rest](self._gateway, self._statuses()))
        if first == "explain":
            return self._explain(unquote(rest), text=request.query == "text")
        if first == "requests":
            clock = Clock()
            return _json([line(record, clock) for record in islice(reversed(self._gateway.recent), 100)])
        return self.handle_metrics(request)

    def handle_metrics(self, request: Request) -> Answer:
        if request.path == "/metrics":
            return Answer(200, _PROMETHEUS, self._gateway.metrics.page().encode())
        if request.path == "/healthz":
            return Answer(200, _TEXT, b"ok\n")
        if request.path == "/readyz":
            return Answer(200, _TEXT, b"ready\n") if self._ready() else Answer(503, _TEXT, b"not ready\n")
        return Answer(404, _TEXT, b"here are /metrics, /healthz and /readyz\n")

    def _explain(self, request_id: str, *, text: bool) -> Answer:
        record = next((r for r in reversed(self._gateway.recent) if r.id == request_id), None)
        if record is None:
            kept = len(self._gateway.recent)
            message = f"no request '{request_id}' among the last {kept}; its id is in the answer's x-request-id header"
            return Answer(404, _JSON, msgspec.json.encode({"error": message}))
        if text:
            return Answer(200, _TEXT, told(record).encode())
        return _json(
            {"request": line(record, Clock()), "decisions": [explain(decision) for decision in record.decisions]}
        )


def told(record: Record) -> str:
    """One request's story, for people."""
    when = Clock().text(record.asked_at)
    took = (record.ended_at - record.asked_at) * 1000
    lines = [
        f"request   {record.id}",
        f"came      {when} from {record.peer}: {record.method} {record.path} (host {record.host or '-'})",
        f"answered  {record.status} after {took:.1f} ms" + (f"; {record.error}" if record.error else ""),
        f"route     {record.route or 'none'}",
    ]
    if record.model:
        seen = f" → {record.target} (by {record.resolved_by})" if record.resolved_by else ""
        lines.append(f"model     {record.model}{seen}, priority {record.priority}")
    if record.waited:
        lines.append("waited    until an endpoint was ready")
    for number, decision in enumerate(record.decisions, 1):
        lines.append("")
        if len(record.decisions) > 1:
            lines.append(f"try {number}")
        lines.append(render(decision).rstrip("\n"))
    if not record.decisions:
        lines.append("No endpoint had to be chosen.")
    return "\n".join(lines) + "\n"


def _json(value: object) -> Answer:
    return Answer(200, _JSON, msgspec.json.encode(value))
