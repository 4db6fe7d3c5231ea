"""One request's way through the gateway, as a state machine: events in, one command out for each.

new ──Asked──→ sent ──Answered──→ relaying ──Ended──→ done
                 ╰──────────────Whole──────────────────↗
       │  ↑      │ Failed: again, elsewhere
       ↓  │      ↓
     waiting ←── (nobody can serve it now) ──Woken──→ …
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, cast

from msgspec import Struct, field

from headgate.exchange.answer import AnswerHead
from headgate.exchange.arrival import Job, receive
from headgate.exchange.edits import edit_headers
from headgate.exchange.events import (
    Abort,
    Answered,
    Asked,
    Chunk,
    Command,
    Cut,
    Ended,
    Event,
    Failed,
    Forward,
    Gone,
    Relay,
    Reply,
    Respond,
    Send,
    Wait,
    Whole,
    Woken,
)
from headgate.exchange.models import unknown_model
from headgate.exchange.record import Record
from headgate.exchange.refuse import error_event, refuse, sentence
from headgate.exchange.request import wire
from headgate.exchange.restore import Restorer
from headgate.exchange.site import PoolView, Site, reachable
from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Decision
from headgate.pick.saturation import saturation

_AGAIN_S = 0.25  # how soon endpoints that refused are tried again while a request waits
_DECISIONS = 16  # kept in the record: the last ones
_NOBODY = [(b"x-llm-d-request-dropped-reason", b"rejected-no-endpoints"), (b"retry-after", b"1")]
_SATURATED = [(b"x-llm-d-request-dropped-reason", b"rejected-saturated"), (b"retry-after", b"1")]

_NOTHING_MORE = Send(b"")


class State(Enum):
    NEW = "new"
    WAITING = "waiting"
    SENT = "sent"
    RELAYING = "relaying"
    DONE = "done"


class Exchange(Struct, eq=False):
    """Feed it events in the order in which they happen; do what it says. `record` tells what happened so far."""

    _site: Site
    record: Record = field(default_factory=Record)
    state: State = State.NEW
    _job: Job = cast(Job, None)  # from Asked on it is there
    _body: bytes = b""
    _wait_until: float = 0.0
    _excluded: frozenset[str] = frozenset()
    _restorer: Restorer | None = None
    _sse: bool = False

    def feed(self, event: Event) -> Command:
        """The one thing to do next."""
        return _FEED[type(event)](self, event)

    # The request.

    def _asked(self, event: Asked) -> Command:
        received = receive(event, self._site, self.record)
        if isinstance(received, Respond):
            return self._respond(received, event.now)
        self._job, self._body = received
        self._wait_until = event.now + self._site.limits.wait_s
        return self._send(event.now)

    # The choice.

    def _send(self, now: float) -> Command:
        record, site, ask = self.record, self._site, self._job.ask
        view = site.pools.get(record.pool)
        if view is None:
            return self._respond(refuse(503, f"The pool {record.pool} is gone.", headers=_NOBODY), now)
        if ask.model and view.lacks(ask.model) and view.pool.kind == "inference":
            if ask.model in view.declared:
                why = f"No endpoint of the pool {record.pool} serves the model `{ask.model}` at the moment."
                return self._wait(now, view, why)
            return self._respond(unknown_model(record.model, reachable(site, self._job.way.routes)), now)
        if ask.priority < 0 and view.standing.endpoints and saturation(view.standing, now) >= 1.0:
            message = f"The pool {record.pool} is saturated, and this request's priority ({ask.priority}) is below 0."
            return self._respond(refuse(429, message, code="saturated", headers=_SATURATED), now)
        decision = self._choose(view)
        if decision.endpoint is None:
            self._note(decision)
            return self._wait(now, view, sentence(decision.why))
        return self._forward(decision, now)

    def _choose(self, view: PoolView) -> Decision:
        ask = self._job.ask
        if self._excluded:
            ask = Ask(ask.model, ask.prefix, ask.prompt_bytes, ask.priority, ask.subset, self._excluded)
        return choose(ask, view.standing, view.profile, self._site.dice)

    def _note(self, decision: Decision) -> None:
        """While a request waits there may be hundreds of attempts: of the vain ones in a row, the last tells enough."""
        before = self.record.decisions
        if not before:
            self.record.decisions = (decision,)
            return
        if decision.endpoint is None and before[-1].endpoint is None:
            before = before[:-1]
        self.record.decisions = (*before[1 - _DECISIONS :], decision)

    def _forward(self, decision: Decision, now: float) -> Forward:
        record, job, endpoint = self.record, self._job, decision.endpoint
        assert endpoint is not None
        self._note(decision)
        self.state = State.SENT
        record.tries += 1
        record.endpoint = endpoint.name
        record.sent_at = now
        deadline = job.ends
        if job.way.route.backend_timeout_s:
            ends = now + job.way.route.backend_timeout_s
            deadline = ends if deadline is None else min(ends, deadline)
        return Forward(endpoint, job.head, self._body, job.ask.prefix, deadline, job.repeatable)

    def _wait(self, now: float, view: PoolView, why: str) -> Command:
        ends = self._job.ends
        if ends is not None and now >= ends:
            return self._respond(refuse(504, f"The request's time is over. {why}", code="timeout"), now)
        if now >= self._wait_until or not view.standing.endpoints:
            return self._respond(refuse(503, why, code="no_endpoint", headers=_NOBODY), now)
        self.state = State.WAITING
        self.record.waited = True
        until = self._wait_until if ends is None else min(self._wait_until, ends)
        return Wait(self.record.pool, min(until, now + _AGAIN_S) if self._excluded else until)

    def _woken(self, event: Woken) -> Command:
        # What refused a moment ago may be back: a server that was restarted has the same name.
        self._excluded = frozenset()
        return self._send(event.now)

    # The answer.

    def _whole(self, event: Whole) -> Command:
        head, body = event.head, event.body
        if head.status == 404 and (again := self._unlisted(event.now)) is not None:
            return again
        lines = self._begin_answer(head, event.now)
        if self._restorer is not None:
            body = self._restorer.feed(body) + self._restorer.end()
        self._finish(event.now)
        return Reply(head.status, lines, body)

    def _answered(self, event: Answered) -> Command:
        head = event.head
        if head.status == 404 and (again := self._unlisted(event.now)) is not None:
            return again
        lines = self._begin_answer(head, event.now)
        if self._restorer is not None:
            return Relay(head.status, lines, None, edit=True)
        return Relay(head.status, lines, head.length)

    def _begin_answer(self, head: AnswerHead, now: float) -> bytes:
        """From here on the answer is the client's. Its header lines."""
        record, way, lines = self.record, self._job.way, head.lines
        self.state = State.RELAYING
        record.error = ""  # of an earlier try: `tries` tells that there was one
        self._body = b""  # nothing is sent again from here on, and a stream may last for long
        record.status, record.answered_at = head.status, now
        record.streamed = self._sse = head.streamed
        if record.target != record.model and head.names_model:
            self._restorer = Restorer(record.target, record.model, lines=head.streamed)
        if way.backend.response is not None or way.route.response is not None:
            lines = wire(edit_headers(head.headers, way.backend.response, way.route.response))
        if self._site.limits.debug_headers:
            lines += b"x-gateway-destination-endpoint-served: %b\r\n" % record.address.encode()
        return b"%bx-request-id: %b\r\n" % (lines, record.id.encode("latin-1"))

    def _unlisted(self, now: float) -> Forward | None:
        """404 may mean that the server has just lost an adapter which others still serve: ask one of those."""
        model = self._job.ask.model
        view = self._site.pools.get(self.record.pool)
        if not model or view is None or model not in view.served or self.record.tries >= self._site.limits.tries:
            return None
        return self._elsewhere(now)

    def _elsewhere(self, now: float) -> Forward | None:
        """The same request to another endpoint, where there is one that is fit."""
        view = self._site.pools.get(self.record.pool)
        self._excluded |= {self.record.endpoint}
        if view is None:
            return None
        decision = self._choose(view)
        return None if decision.endpoint is None else self._forward(decision, now)

    def _chunk(self, event: Chunk) -> Command:
        assert self._restorer is not None
        return Send(self._restorer.feed(event.data))

    def _ended(self, event: Ended) -> Command:
        self._finish(event.now)
        return _NOTHING_MORE if self._restorer is None else Send(self._restorer.end())

    # What goes wrong.

    def _failed(self, event: Failed) -> Command:
        record = self.record
        record.error = f"{event.reason}: {event.detail}" if event.detail else event.reason
        if self.state is State.RELAYING:
            return self._cut(event)
        if event.reason == "timeout":
            return self._respond(refuse(504, "The model server did not answer in time.", code="timeout"), event.now)
        if event.reason == "refused":
            record.tries -= 1  # a connection that was refused did no work: it does not count
        else:
            final = not self._job.repeatable or record.tries >= self._site.limits.tries
            again = None if final else self._elsewhere(event.now)
            if again is not None:
                return again
            # A server that was killed may be back in a moment; one that speaks another protocol goes on doing so.
            if final or event.reason == "garbage":
                tries = f", after {record.tries} tries" if record.tries > 1 else ""
                message = f"The model server could not answer ({record.error}){tries}."
                return self._respond(refuse(502, message, code="endpoint_failed"), event.now)
        self._excluded |= {record.endpoint}
        return self._send(event.now)

    def _cut(self, event: Failed) -> Cut:
        self._finish(event.now)
        if not self._sse:
            return Cut(b"")
        late = event.reason == "timeout"
        message = f"The model server stopped in the middle of the stream ({self.record.error})."
        event_data = error_event(504 if late else 502, message, code="timeout" if late else "endpoint_failed")
        return Cut(b"\n\n" + event_data)

    def _gone(self, event: Gone) -> Command:
        self.record.error = self.record.error or "the client went away"
        if not self.record.status:
            self.record.status = 499
        self._finish(event.now)
        return Abort()

    def _respond(self, command: Respond, now: float) -> Respond:
        self.record.status = command.status
        self.record.error = self.record.error or command.error
        self._finish(now)
        identified = [*command.headers, (b"x-request-id", self.record.id.encode("latin-1"))]
        return Respond(command.status, identified, command.body, command.close, command.error)

    def _finish(self, now: float) -> None:
        self.state = State.DONE
        self.record.ended_at = now


_FEED: dict[type[Event], Callable[[Exchange, Any], Command]] = {
    Asked: Exchange._asked,
    Woken: Exchange._woken,
    Whole: Exchange._whole,
    Answered: Exchange._answered,
    Chunk: Exchange._chunk,
    Ended: Exchange._ended,
    Failed: Exchange._failed,
    Gone: Exchange._gone,
}
