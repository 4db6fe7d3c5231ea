"""One request's way through the gateway, as a state machine: events in, one command out for each.

new ──Asked──→ sent ──Answered──→ relaying ──Ended──→ done
                 ╰──────────────Whole──────────────────↗
       │  ↑      │ Failed: again, elsewhere
       ↓  │      ↓
     waiting ←── (nobody can serve it now, or not yet) ──Woken──→ …

A compressed body that has to be read: new ──Asked──→ decoding ──Decoded──→ …
"""

from collections.abc import Callable
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
    Evicted,
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
from headgate.exchange.lesson import begin, end, let_go
from headgate.exchange.models import unknown_model
from headgate.exchange.passage import Passage, pass_whole, passage
from headgate.exchange.queueing import Place, enter
from headgate.exchange.record import Record
from headgate.exchange.refuse import refuse, sentence
from headgate.exchange.request import wire
from headgate.exchange.retries import AGAIN_S, afford, again, elsewhere, give_up, may_repeat, try_again, unfit
from headgate.exchange.site import PoolView, Site, reachable
from headgate.exchange.state import State
from headgate.fleet.endpoint import Endpoint
from headgate.flow.control import Control
from headgate.pick.admit import admit
from headgate.pick.choose import choose
from headgate.pick.decision import Decision
from headgate.pick.handler import NO_PROFILE, decide
from headgate.pick.room import NO_ROOM
from headgate.pick.wants import observe

_NOBODY = [(b"x-llm-d-request-dropped-reason", b"rejected-no-endpoints"), (b"retry-after", b"1")]
_SATURATED = [(b"x-llm-d-request-dropped-reason", b"rejected-saturated"), (b"retry-after", b"1")]

_NOTHING_MORE = Send(b"")


_SENT, _RELAYING, _DONE = State.SENT, State.RELAYING, State.DONE  # looking one up in its class costs a call


class Exchange(Struct, eq=False):
    """Feed it events in the order in which they happen; do what it says. `record` tells what happened so far."""

    site: Site
    record: Record = field(default_factory=Record)
    state: State = State.NEW
    job: Job = cast(Job, None)  # from Asked on it is there
    _body: bytes = b""
    _asked_for: Asked | None = None  # while its body is being decoded
    wait_until: float = 0.0
    excluded: frozenset[str] = frozenset()
    not_before: float = 0.0  # when the next attempt may be made
    spent: int = 0  # of the pool's budget of retries
    _passage: Passage | None = None
    _sse: bool = False
    _stamps: Headers | None = None  # of the answer, as plugins want them
    _place: Place | None = None  # in the pool's queues, once it came to them

    @property
    def held(self) -> int:
        """Bytes of the body that are kept, for as long as it may have to be sent again."""
        return len(self._body)

    @property
    def stamped(self) -> bool:
        """Whether plugins want headers of their own in the answer."""
        return bool(self._stamps)

    def may_be_told(self, owner: object) -> None:
        """Whom to tell where this request has to give way to another one."""
        if self._place is not None:
            self._place.may_be_told(owner)

    def feed(self, event: Event) -> Command:
        """The one thing to do next."""
        return _FEED[type(event)](self, event)

    # The request.

    def _asked(self, event: Asked) -> Command:
        received = receive(event, self.site, self.record)
        if type(received) is Decode:
            self.state, self._asked_for = State.DECODING, event
            return received
        return self._received(cast("tuple[Job, bytes] | Respond", received), event.now)

    def _decoded(self, event: Decoded) -> Command:
        asked, self._asked_for = self._asked_for, None
        assert asked is not None
        received = receive(asked, self.site, self.record, event)
        assert not isinstance(received, Decode)
        return self._received(received, event.now)

    def _received(self, received: tuple[Job, bytes] | Respond, now: float) -> Command:
        if type(received) is Respond:
            return self.respond(received, now)
        self.job, self._body = cast("tuple[Job, bytes]", received)
        self.record.ask = self.job.ask
        self.wait_until = now + self.site.limits.wait_s
        return self.send(now)

    # The choice.

    def send(self, now: float) -> Command:
        record, site, job = self.record, self.site, self.job
        ask, view = job.ask, site.pools.get(record.pool)
        if view is None:
            return self.respond(refuse(503, f"The pool {record.pool} is gone.", headers=_NOBODY), now)
        if ask.model and view.lacks(ask.model) and job.way.inference:
            if ask.model in view.declared:
                why = f"No endpoint of the pool {record.pool} serves the model `{ask.model}` at the moment."
                return self._wait(now, view, why)
            return self.respond(unknown_model(record.model, reachable(site, self.job.way.routes)), now)
        if view.control is not None:
            held = self._queue(view.control, now)
            if held is not None:
                return held
        elif ask.priority < 0 and view.saturated(now):
            message = f"The pool {record.pool} is saturated, and this request's priority ({ask.priority}) is below 0."
            return self.respond(refuse(429, message, code="saturated", headers=_SATURATED), now)
        if ask.priority < 0 and not record.decisions:
            denied = admit(ask, view.standing, view.profile, site.dice)
            if denied is not None:
                record.note(denied)
                return self.respond(refuse(429, sentence(denied.why), code="saturated", headers=_SATURATED), now)
        if view.profile.wants is None and job.way.bare and not self.excluded:
            decision = choose(ask, view.standing, view.profile, site.dice)
        else:
            decision = self.pick(view)
        if decision.endpoint is None:
            record.note(decision)
            if decision.emptied == NO_PROFILE:
                return self.respond(refuse(400, sentence(decision.why), code="no_profile"), now)
            if view.profile.sifts(decision.emptied):  # what a configuration keeps out is not waited for
                return self.respond(refuse(429, sentence(decision.why), code="saturated", headers=_SATURATED), now)
            return self._wait(now, view, sentence(decision.why), room=decision.emptied == NO_ROOM)
        if view.shadow is not None and not self.excluded:
            view.shadow.see(ask, view.standing, decision)
        return self.forward(decision, now, view)

    def _queue(self, control: Control, now: float) -> Command | None:
        """What to do as long as it is not its turn; None where it may go, and ever after."""
        place = self._place
        if place is None:
            entered = enter(control, self.job, len(self._body), self.record, now)
            if type(entered) is Respond:
                return self.respond(entered, now)
            assert isinstance(entered, Place)
            self._place = place = entered
        elif place.passed:
            return None
        told = place.ask(self.job.ends, now)
        if type(told) is Wait:
            self.state = State.WAITING
            return told
        if told is not None:
            assert isinstance(told, Respond)
            return self.respond(told, now)
        self.wait_until = now + self.site.limits.wait_s  # for an endpoint
        return None

    def _evicted(self, event: Evicted) -> Command:
        assert self._place is not None
        return self.respond(self._place.evicted(), event.now)

    def pick(self, view: PoolView) -> Decision:
        job, ask = self.job, self.job.ask
        if self.excluded:
            ask = replace(ask, exclude=self.excluded)
        held = "" if job.way.bare else job.caller.endpoint
        return decide(ask, view.standing, view.profile, self.site.dice, held)

    def forward(self, decision: Decision, now: float, view: PoolView) -> Forward:
        record, job, endpoint = self.record, self.job, decision.endpoint
        assert endpoint is not None
        record.note(decision)
        self.state = _SENT
        record.tries += 1
        record.endpoint = endpoint.name
        if decision.forecast is not None:
            begin(record, decision, job.ask)
        way = job.way
        if not way.bare or view.profile.wants is not None:
            return self._forward_with_care(endpoint, decision, now, view)
        record.sent_at = now
        return Forward(endpoint, job.head, self._body, job.ask.prefix, job.ends, job.repeatable, (), way.inference)

    def _forward_with_care(self, endpoint: Endpoint, decision: Decision, now: float, view: PoolView) -> Forward:
        record, job, deadline, profile = self.record, self.job, self.job.ends, view.profile
        head, ask, burden, helpers = job.head, job.ask, None, NO_HELPERS
        if profile.wants is not None:
            burden = observe(profile.wants, ask, decision, view.standing.index, now)
            self._stamps = stamps(profile.wants, decision)
        if decision.stages:
            head, helpers = helped(head, decision, profile, ask, view.standing.index)
        if job.way.route.backend_timeout_s:
            ends = now + job.way.route.backend_timeout_s
            deadline = ends if deadline is None else min(ends, deadline)
        mirrors = () if record.sent_at else copied_to(job.way, ask, self.site)
        record.sent_at = now
        hold, body, repeat = job.way.inference, self._body, job.repeatable
        return Forward(endpoint, head, body, ask.prefix, deadline, repeat, mirrors, hold, burden, helpers)

    def _wait(self, now: float, view: PoolView, why: str, *, room: bool = False) -> Command:
        ends = self.job.ends
        if ends is not None and now >= ends:
            return self.respond(refuse(504, f"The request's time is over. {why}", code="timeout"), now)
        if room and now >= self.wait_until:
            return self.respond(refuse(429, why, code="saturated", headers=_SATURATED), now)
        if now >= self.wait_until or not view.standing.endpoints:
            return self.respond(refuse(503, why, code="no_endpoint", headers=_NOBODY), now)
        self.state = State.WAITING
        self.record.waited = True
        until = self.wait_until if ends is None else min(self.wait_until, ends)
        return Wait(self.record.pool, min(until, now + AGAIN_S) if self.excluded else until, room)

    def _woken(self, event: Woken) -> Command:
        if self.not_before:
            if event.now < self.not_before:
                return Wait("", self.not_before)
            self.not_before = 0.0
            return afford(self, event.now) or again(self, event.now)
        # What refused a moment ago may be back: a server that was restarted has the same name.
        self.excluded = frozenset()
        return self.send(event.now)

    # The answer.

    def _whole(self, event: Whole) -> Command:
        head, body = event.head, event.body
        if head.status >= 400 and (again := unfit(self, head.status, event.now)) is not None:
            return again
        lines = self._begin_answer(head, event.now)
        record = self.record
        body = pass_whole(body, head, self.job, record)
        self.state = _DONE
        record.ended_at = event.now
        if record.expected is not None:
            end(record)
        return Reply(head.status, lines, body)

    def _answered(self, event: Answered) -> Command:
        head = event.head
        if head.status >= 400 and (again := unfit(self, head.status, event.now)) is not None:
            return again
        lines = self._begin_answer(head, event.now)
        through = self._passage = passage(head, self.job, self.record)
        if through is None:
            return Relay(head.status, lines, head.length)
        return Relay(head.status, lines, head.length if through.keeps_length else None, through.feed)

    def _begin_answer(self, head: AnswerHead, now: float) -> bytes:
        """From here on the answer is the client's. Its header lines."""
        record, way, lines = self.record, self.job.way, head.lines
        if self.spent and head.status < 500 and (view := self.site.pools.get(record.pool)) is not None:
            view.budget.pay_back(self.spent, now)
        self.state = _RELAYING
        if self._place is not None:
            self._place.answered(now)
        record.error = ""  # of an earlier try: `tries` tells that there was one
        self._body = b""  # nothing is sent again from here on, and a stream may last for long
        record.status, record.answered_at = head.status, now
        record.streamed = self._sse = head.streamed
        if record.expected is not None and head.streamed and head.status == 200:
            record.expected.began(now - record.sent_at)
        if way.counted:
            record.base = self.site.base_models.get(record.target, "")
        if way.dressed or self._stamps:
            endpoint, wall = record.decisions[-1].endpoint, now + self.site.epoch
            lines = wire(dress(head.headers, self.job, endpoint, wall, self._stamps))
        if self.site.limits.debug_headers:
            lines += b"x-gateway-destination-endpoint-served: %b\r\n" % record.address.encode()
        return b"%bx-request-id: %b\r\n" % (lines, record.id.encode("latin-1"))

    def _ended(self, event: Ended) -> Command:
        rest = b"" if self._passage is None else self._passage.end()
        self._finish(event.now)
        return Send(rest) if rest else _NOTHING_MORE

    # What goes wrong.

    def _failed(self, event: Failed) -> Command:
        record, detail = self.record, event.detail
        if event.reason == "timeout" and not detail:
            detail = self.job.over(record.asked_at, event.now)
        record.error = f"{event.reason}: {detail}" if detail else event.reason
        let_go(record)
        if self.state is State.RELAYING:
            return self._cut(event)
        if event.reason == "untrusted":
            # It has heard nothing, and will not be somebody else in a moment.
            record.tries -= 1
            return elsewhere(self, event.now) or give_up(self, 502, event.now)
        retry = self.job.way.route.retry
        if retry is not None and event.reason != "refused" and (again := try_again(self, retry, event.now)) is not None:
            return again
        if event.reason == "timeout":
            message = f"The model server did not answer in time: {detail}."
            return self.respond(refuse(504, message, code="timeout"), event.now)
        if event.reason == "refused":
            record.tries -= 1  # a connection that was refused did no work: it does not count
        elif retry is not None:
            return give_up(self, 503, event.now)  # what the Gateway API's conformance tests want after retries
        elif not may_repeat(self):
            return give_up(self, 502, event.now)
        else:
            again = afford(self, event.now) or elsewhere(self, event.now)
            if again is not None:
                return again
            if event.reason == "garbage":  # a server that was killed may be back in a moment; this one goes on so
                return give_up(self, 502, event.now)
        self.excluded |= {record.endpoint}
        return self.send(event.now)

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

    def respond(self, command: Respond, now: float) -> Respond:
        self.record.status = command.status
        self.record.error = self.record.error or command.error
        self._finish(now)
        headers, job = command.headers, cast("Job | None", self.job)  # none yet where it was refused on arrival
        if job is not None and job.way.cors is not None:
            headers = share(job.way.cors, job.caller.origin, headers)
        identified = [*headers, (b"x-request-id", self.record.id.encode("latin-1"))]
        return Respond(command.status, identified, command.body, command.close, command.error)

    def _finish(self, now: float) -> None:
        record = self.record
        self.state = _DONE
        record.ended_at = now
        if self._place is not None:
            self._place.leave(now)
        if self._passage is not None:
            self._passage.account(record)
        if record.expected is not None:
            end(record)


_FEED: dict[type[Event], Callable[[Exchange, Any], Command]] = {
    Asked: Exchange._asked,
    Decoded: Exchange._decoded,
    Woken: Exchange._woken,
    Whole: Exchange._whole,
    Answered: Exchange._answered,
    Ended: Exchange._ended,
    Failed: Exchange._failed,
    Evicted: Exchange._evicted,
    Gone: Exchange._gone,
}
