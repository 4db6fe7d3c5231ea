"""One request's way through the gateway, as a state machine: events in, one command out for each.

new ──Asked──→ sent ──Answered──→ relaying ──Ended──→ done
                 ╰──────────────Whole──────────────────↗
       │  ↑      │ Failed: again, elsewhere
       ↓  │      ↓
     waiting ←── (nobody can serve it now, or not yet) ──Woken──→ …

A compressed body that has to be read: new ──Asked──→ decoding ──Decoded──→ …
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, cast

from msgspec import Struct, field
from msgspec.structs import replace

from headgate.exchange.answer import AnswerHead
from headgate.exchange.arrival import Job, receive
from headgate.exchange.copies import copied_to
from headgate.exchange.cors import share
from headgate.exchange.cut import end_stream
from headgate.exchange.dress import dress
from headgate.exchange.events import (
    Abort,
    Answered,
    Asked,
    Command,
    Cut,
    Decode,
    Decoded,
    Ended,
    Event,
    Failed,
    Forward,
    Gone,
    Headers,
    Relay,
    Reply,
    Respond,
    Send,
    Wait,
    Whole,
    Woken,
)
from headgate.exchange.helped import NO_HELPERS, helped
from headgate.exchange.informed import stamps
from headgate.exchange.models import unknown_model
from headgate.exchange.passage import Passage, pass_whole, passage
from headgate.exchange.record import Record
from headgate.exchange.refuse import refuse, sentence
from headgate.exchange.request import wire
from headgate.exchange.site import PoolView, Site, reachable
from headgate.fleet.endpoint import Endpoint
from headgate.pick.choose import choose
from headgate.pick.decision import Decision
from headgate.pick.handler import NO_PROFILE, decide
from headgate.pick.room import NO_ROOM
from headgate.pick.wants import observe
from headgate.plan.plan import Retry

_AGAIN_S = 0.25  # how soon endpoints that refused are tried again while a request waits
_NOBODY = [(b"x-llm-d-request-dropped-reason", b"rejected-no-endpoints"), (b"retry-after", b"1")]
_SATURATED = [(b"x-llm-d-request-dropped-reason", b"rejected-saturated"), (b"retry-after", b"1")]

_NOTHING_MORE = Send(b"")


class State(Enum):
    NEW = "new"
    DECODING = "decoding"
    WAITING = "waiting"
    SENT = "sent"
    RELAYING = "relaying"
    DONE = "done"


_SENT, _RELAYING, _DONE = State.SENT, State.RELAYING, State.DONE  # looking one up in its class costs a call


class Exchange(Struct, eq=False):
    """Feed it events in the order in which they happen; do what it says. `record` tells what happened so far."""

    _site: Site
    record: Record = field(default_factory=Record)
    state: State = State.NEW
    _job: Job = cast(Job, None)  # from Asked on it is there
    _body: bytes = b""
    _asked_for: Asked | None = None  # while its body is being decoded
    _wait_until: float = 0.0
    _excluded: frozenset[str] = frozenset()
    _not_before: float = 0.0  # when the next attempt may be made
    _spent: int = 0  # of the pool's budget of retries
    _passage: Passage | None = None
    _sse: bool = False
    _stamps: Headers | None = None  # of the answer, as plugins want them

    @property
    def held(self) -> int:
        """Bytes of the body that are kept, for as long as it may have to be sent again."""
        return len(self._body)

    def feed(self, event: Event) -> Command:
        """The one thing to do next."""
        return _FEED[type(event)](self, event)

    # The request.

    def _asked(self, event: Asked) -> Command:
        received = receive(event, self._site, self.record)
        if type(received) is Decode:
            self.state, self._asked_for = State.DECODING, event
            return received
        return self._received(cast("tuple[Job, bytes] | Respond", received), event.now)

    def _decoded(self, event: Decoded) -> Command:
        asked, self._asked_for = self._asked_for, None
        assert asked is not None
        received = receive(asked, self._site, self.record, event)
        assert not isinstance(received, Decode)
        return self._received(received, event.now)

    def _received(self, received: tuple[Job, bytes] | Respond, now: float) -> Command:
        if type(received) is Respond:
            return self._respond(received, now)
        self._job, self._body = cast("tuple[Job, bytes]", received)
        self._wait_until = now + self._site.limits.wait_s
        return self._send(now)

    # The choice.

    def _send(self, now: float) -> Command:
        record, site, job = self.record, self._site, self._job
        ask, view = job.ask, site.pools.get(record.pool)
        if view is None:
            return self._respond(refuse(503, f"The pool {record.pool} is gone.", headers=_NOBODY), now)
        if ask.model and view.lacks(ask.model) and job.way.inference:
            if ask.model in view.declared:
                why = f"No endpoint of the pool {record.pool} serves the model `{ask.model}` at the moment."
                return self._wait(now, view, why)
            return self._respond(unknown_model(record.model, reachable(site, self._job.way.routes)), now)
        if ask.priority < 0 and view.saturated(now):
            message = f"The pool {record.pool} is saturated, and this request's priority ({ask.priority}) is below 0."
            return self._respond(refuse(429, message, code="saturated", headers=_SATURATED), now)
        if ask.priority < 0 and not record.waited and (why := view.denied(now, site.dice)):
            return self._respond(refuse(429, sentence(why), code="saturated", headers=_SATURATED), now)
        if view.profile.wants is None and job.way.bare and not self._excluded:
            decision = choose(ask, view.standing, view.profile, site.dice)
        else:
            decision = self._choose(view)
        if decision.endpoint is None:
            record.note(decision)
            if decision.emptied == NO_PROFILE:
                return self._respond(refuse(400, sentence(decision.why), code="no_profile"), now)
            if view.profile.sifts(decision.emptied):  # what a configuration keeps out is not waited for
                return self._respond(refuse(429, sentence(decision.why), code="saturated", headers=_SATURATED), now)
            return self._wait(now, view, sentence(decision.why), room=decision.emptied == NO_ROOM)
        return self._forward(decision, now, view)

    def _choose(self, view: PoolView) -> Decision:
        job, ask = self._job, self._job.ask
        if self._excluded:
            ask = replace(ask, exclude=self._excluded)
        held = "" if job.way.bare else job.caller.endpoint
        return decide(ask, view.standing, view.profile, self._site.dice, held)

    def _forward(self, decision: Decision, now: float, view: PoolView) -> Forward:
        record, job, endpoint = self.record, self._job, decision.endpoint
        assert endpoint is not None
        record.note(decision)
        self.state = _SENT
        record.tries += 1
        record.endpoint = endpoint.name
        way = job.way
        if not way.bare or view.profile.wants is not None:
            return self._forward_with_care(endpoint, decision, now, view)
        record.sent_at = now
        return Forward(endpoint, job.head, self._body, job.ask.prefix, job.ends, job.repeatable, (), way.inference)

    def _forward_with_care(self, endpoint: Endpoint, decision: Decision, now: float, view: PoolView) -> Forward:
        record, job, deadline, profile = self.record, self._job, self._job.ends, view.profile
        head, ask, burden, helpers = job.head, job.ask, None, NO_HELPERS
        if profile.wants is not None:
            burden = observe(profile.wants, ask, decision, view.standing.index, now)
            self._stamps = stamps(profile.wants, decision)
        if decision.stages:
            head, helpers = helped(head, decision, profile, ask, view.standing.index)
        if job.way.route.backend_timeout_s:
            ends = now + job.way.route.backend_timeout_s
            deadline = ends if deadline is None else min(ends, deadline)
        mirrors = () if record.sent_at else copied_to(job.way, ask, self._site)
        record.sent_at = now
        hold, body, repeat = job.way.inference, self._body, job.repeatable
        return Forward(endpoint, head, body, ask.prefix, deadline, repeat, mirrors, hold, burden, helpers)

    def _wait(self, now: float, view: PoolView, why: str, *, room: bool = False) -> Command:
        ends = self._job.ends
        if ends is not None and now >= ends:
            return self._respond(refuse(504, f"The request's time is over. {why}", code="timeout"), now)
        if room and now >= self._wait_until:
            return self._respond(refuse(429, why, code="saturated", headers=_SATURATED), now)
        if now >= self._wait_until or not view.standing.endpoints:
            return self._respond(refuse(503, why, code="no_endpoint", headers=_NOBODY), now)
        self.state = State.WAITING
        self.record.waited = True
        until = self._wait_until if ends is None else min(self._wait_until, ends)
        return Wait(self.record.pool, min(until, now + _AGAIN_S) if self._excluded else until, room)

    def _woken(self, event: Woken) -> Command:
        if self._not_before:
            if event.now < self._not_before:
                return Wait("", self._not_before)
            self._not_before = 0.0
            return self._afford(event.now) or self._again(event.now)
        # What refused a moment ago may be back: a server that was restarted has the same name.
        self._excluded = frozenset()
        return self._send(event.now)

    # The answer.

    def _whole(self, event: Whole) -> Command:
        head, body = event.head, event.body
        if head.status >= 400 and (again := self._unfit(head.status, event.now)) is not None:
            return again
        lines = self._begin_answer(head, event.now)
        record = self.record
        body = pass_whole(body, head, self._job, record)
        self.state = _DONE
        record.ended_at = event.now
        return Reply(head.status, lines, body)

    def _answered(self, event: Answered) -> Command:
        head = event.head
        if head.status >= 400 and (again := self._unfit(head.status, event.now)) is not None:
            return again
        lines = self._begin_answer(head, event.now)
        through = self._passage = passage(head, self._job, self.record)
        if through is None:
            return Relay(head.status, lines, head.length)
        return Relay(head.status, lines, head.length if through.keeps_length else None, through.feed)

    def _begin_answer(self, head: AnswerHead, now: float) -> bytes:
        """From here on the answer is the client's. Its header lines."""
        record, way, lines = self.record, self._job.way, head.lines
        if self._spent and head.status < 500 and (view := self._site.pools.get(record.pool)) is not None:
            view.budget.pay_back(self._spent, now)
        self.state = _RELAYING
        record.error = ""  # of an earlier try: `tries` tells that there was one
        self._body = b""  # nothing is sent again from here on, and a stream may last for long
        record.status, record.answered_at = head.status, now
        record.streamed = self._sse = head.streamed
        if way.counted:
            record.base = self._site.base_models.get(record.target, "")
        if way.dressed or self._stamps:
            endpoint, wall = record.decisions[-1].endpoint, now + self._site.epoch
            lines = wire(dress(head.headers, self._job, endpoint, wall, self._stamps))
        if self._site.limits.debug_headers:
            lines += b"x-gateway-destination-endpoint-served: %b\r\n" % record.address.encode()
        return b"%bx-request-id: %b\r\n" % (lines, record.id.encode("latin-1"))

    def _unfit(self, status: int, now: float) -> Command | None:
        """What to do instead of passing on an answer that says no; None to pass it on."""
        if status == 404 and (again := self._unlisted(now)) is not None:
            return again
        retry = self._job.way.route.retry
        if status not in (self._site.limits.retry_codes if retry is None else retry.codes):
            return None
        self.record.error = f"the model server answered {status}"
        if retry is not None:
            return self._retry(retry, now)
        return self._elsewhere(now) if self._job.way.inference and self._may_repeat() and self._spend(now) else None

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
        return None if decision.endpoint is None else self._forward(decision, now, view)

    def _may_repeat(self) -> bool:
        return self._job.repeatable and self.record.tries < self._site.limits.tries

    def _spend(self, now: float) -> bool:
        """Whether the pool's budget has room for one more retry; if so, it has less now."""
        view = self._site.pools.get(self.record.pool)
        spent = view is None or view.spend(now)
        self._spent += spent
        return spent

    def _afford(self, now: float) -> Command | None:
        """None where the request may be sent again now: a route that wants retries gets them, others what is left.

        One that has to wait was cut off with many others, and will find room when those are answered.
        """
        if self._job.way.route.retry is not None or self._spend(now):
            return None
        ends = self._job.ends
        if ends is not None and now >= ends:
            return self._give_up(504, now)
        if now >= self._wait_until:
            return self._give_up(503, now)
        self.state, self.record.waited = State.WAITING, True
        self._not_before = now + _AGAIN_S if ends is None else min(ends, now + _AGAIN_S)
        return Wait("", self._not_before)

    def _retry(self, retry: Retry, now: float) -> Command | None:
        """The next attempt, now or later; None where there were enough, or there is no time for one."""
        ends, at = self._job.ends, now + (retry.backoff_s or 0.0)
        attempts = self._site.limits.tries - 1 if retry.attempts is None else retry.attempts
        if self.record.tries > attempts or (ends is not None and at >= ends):
            return None
        if at <= now:
            return self._again(now)
        self.state, self._not_before = State.WAITING, at
        return Wait("", at)

    def _again(self, now: float) -> Command:
        """To another endpoint where there is one that is fit, else to the one that failed."""
        again: Command | None = self._elsewhere(now)
        if again is None:
            self._excluded = frozenset()
            again = self._send(now)
        return again

    def _ended(self, event: Ended) -> Command:
        rest = b"" if self._passage is None else self._passage.end()
        self._finish(event.now)
        return Send(rest) if rest else _NOTHING_MORE

    # What goes wrong.

    def _failed(self, event: Failed) -> Command:
        record, detail = self.record, event.detail
        if event.reason == "timeout" and not detail:
            detail = self._job.over(record.asked_at, event.now)
        record.error = f"{event.reason}: {detail}" if detail else event.reason
        if self.state is State.RELAYING:
            return self._cut(event)
        if event.reason == "untrusted":
            # It has heard nothing, and will not be somebody else in a moment.
            record.tries -= 1
            return self._elsewhere(event.now) or self._give_up(502, event.now)
        retry = self._job.way.route.retry
        if retry is not None and event.reason != "refused" and (again := self._retry(retry, event.now)) is not None:
            return again
        if event.reason == "timeout":
            message = f"The model server did not answer in time: {detail}."
            return self._respond(refuse(504, message, code="timeout"), event.now)
        if event.reason == "refused":
            record.tries -= 1  # a connection that was refused did no work: it does not count
        elif retry is not None:
            return self._give_up(503, event.now)  # what the Gateway API's conformance tests want after retries
        elif not self._may_repeat():
            return self._give_up(502, event.now)
        else:
            again = self._afford(event.now) or self._elsewhere(event.now)
            if again is not None:
                return again
            if event.reason == "garbage":  # a server that was killed may be back in a moment; this one goes on so
                return self._give_up(502, event.now)
        self._excluded |= {record.endpoint}
        return self._send(event.now)

    def _give_up(self, status: int, now: float) -> Respond:
        tries = f", after {self.record.tries} tries" if self.record.tries > 1 else ""
        message = f"The model server could not answer ({self.record.error}){tries}."
        headers = [(b"retry-after", b"1")] if status == 503 else []
        code = "timeout" if status == 504 else "endpoint_failed"
        return self._respond(refuse(status, message, code=code, headers=headers), now)

    def _cut(self, event: Failed) -> Cut:
        self._finish(event.now)
        if not self._sse:
            return Cut(b"")
        message = f"The model server stopped in the middle of the stream ({self.record.error})."
        return Cut(end_stream(event.unfinished, message, late=event.reason == "timeout", path=self.record.path))

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
        headers, job = command.headers, cast("Job | None", self._job)  # none yet where it was refused on arrival
        if job is not None and job.way.cors is not None:
            headers = share(job.way.cors, job.caller.origin, headers)
        identified = [*headers, (b"x-request-id", self.record.id.encode("latin-1"))]
        return Respond(command.status, identified, command.body, command.close, command.error)

    def _finish(self, now: float) -> None:
        self.state = _DONE
        self.record.ended_at = now
        if self._passage is not None:
            self._passage.account(self.record)


_FEED: dict[type[Event], Callable[[Exchange, Any], Command]] = {
    Asked: Exchange._asked,
    Decoded: Exchange._decoded,
    Woken: Exchange._woken,
    Whole: Exchange._whole,
    Answered: Exchange._answered,
    Ended: Exchange._ended,
    Failed: Exchange._failed,
    Gone: Exchange._gone,
}
