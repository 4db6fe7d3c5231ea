"""One request's way through the gateway, as a state machine: events in, one command out for each.

new ──Asked──→ sent ──Answered──→ relaying ──Ended──→ done
       │  ↑      │ Failed: again, elsewhere
       ↓  │      ↓
     waiting ←── (nobody can serve it now) ──Woken──→ …
"""

from collections.abc import Callable
from enum import Enum

from headgate.exchange.body import NOTHING, Reading, read_body, with_model
from headgate.exchange.edits import edit_headers, location, rewrite_target
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
    Respond,
    Send,
    Wait,
    Woken,
)
from headgate.exchange.models import PATH as MODELS_PATH
from headgate.exchange.models import answer_models, unknown_model
from headgate.exchange.record import Record
from headgate.exchange.refuse import error_event, refuse
from headgate.exchange.request import answer_headers, passed_on
from headgate.exchange.resolve import resolve
from headgate.exchange.restore import Restorer
from headgate.exchange.router import Asking, find_route
from headgate.exchange.site import PoolView, Site, model_headers, reachable
from headgate.fleet.prefix import ladder
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.saturation import saturation
from headgate.plan.plan import Backend, Route

_AGAIN_S = 0.25  # how soon endpoints that refused are tried again while a request waits


class State(Enum):
    NEW = "new"
    WAITING = "waiting"
    SENT = "sent"
    RELAYING = "relaying"
    DONE = "done"


class Exchange:
    """Feed it events in the order in which they happen; do what it says. `record` tells what happened so far."""

    __slots__ = (
        "_ask",
        "_backend",
        "_base",
        "_body",
        "_content_type",
        "_excluded",
        "_headers",
        "_refusal",
        "_restorer",
        "_route",
        "_routes",
        "_site",
        "_sse",
        "_target",
        "_tries",
        "_wait_until",
        "record",
        "state",
    )

    def __init__(self, site: Site) -> None:
        self.state = State.NEW
        self.record = Record()
        self._site = site
        self._excluded: frozenset[str] = frozenset()
        self._restorer: Restorer | None = None
        self._tries = 0
        self._wait_until = 0.0
        self._sse = False

    def feed(self, event: Event) -> Command:
        """The one thing to do next."""
        return _FEED[type(event)](self, event)

    # The request.

    def _asked(self, event: Asked) -> Command:
        record, site = self.record, self._site
        self._headers, self._body = event.headers, event.body
        host = content_type = objective = b""
        request_id = event.id
        encoded = False
        for name, value in event.headers:
            if name == b"host":
                host = value
            elif name == b"content-type":
                content_type = value
            elif name == b"x-request-id":
                if 0 < len(value) <= 128:
                    request_id = value
            elif name == b"x-llm-d-inference-objective" or (name == b"x-gateway-inference-objective" and not objective):
                objective = value
            elif name == b"content-encoding":
                encoded = value.lower() != b"identity"
        self._content_type = content_type
        target = event.target.decode("latin-1")
        if not target.startswith("/") and "://" in target:  # absolute form, RFC 9112 §3.2.2
            authority, _, rest = target.partition("://")[2].partition("/")
            host, target = authority.encode("latin-1"), "/" + rest
        self._target = target
        path, _, query = target.partition("?")
        record.id = request_id.decode("latin-1")
        record.method = event.method.decode("latin-1")
        record.path = path
        record.host = host.decode("latin-1")
        record.peer = event.peer.decode("latin-1")
        record.bytes_in = len(event.body)
        record.asked_at = event.now

        routes = site.router.routes_for(record.host)
        if routes is None:
            return self._respond(refuse(404, f"No listener here serves the host `{record.host}`."), event.now)
        self._routes = routes
        if path.startswith(MODELS_PATH) and record.method == "GET" and (models := self._models(path)) is not None:
            return self._respond(models, event.now)

        if encoded:
            reading = Reading(error="a compressed body can't be read here: send it without Content-Encoding")
        elif event.body:
            reading = read_body(content_type, event.body)
        else:
            reading = NOTHING
        record.model = reading.model
        ours = model_headers(site, reading.model) if reading.model else {}
        route = find_route(routes, Asking(record.method, path, query, ours, event.headers))
        if route is None:
            return self._respond(self._unrouted(reading), event.now)
        return self._routed(event, route, reading, encoded, objective.decode("latin-1"))

    def _models(self, path: str) -> Respond | None:
        """The answer to a question for models, where an inference pool is behind these routes."""
        if path[len(MODELS_PATH) :][:1] not in ("", "/"):
            return None
        pools = self._site.pools
        behind = (b.pool or "" for c in self._routes for b in c.route.backends)
        if not any(name in pools and pools[name].pool.kind == "inference" for name in behind):
            return None
        return answer_models(path, reachable(self._site, self._routes), self._site.started)

    def _unrouted(self, reading: Reading) -> Respond:
        if reading.error:
            return refuse(400, _sentence(reading.error), param=reading.param)
        if reading.model:
            return unknown_model(reading.model, reachable(self._site, self._routes))
        return refuse(404, f"No route here takes {self.record.method} {self.record.path}.")

    def _routed(self, event: Asked, route: Route, reading: Reading, encoded: bool, objective: str) -> Command:
        record, site = self.record, self._site
        self._route = route
        record.route = route.name
        if route.redirect is not None:
            scheme = event.scheme.decode()
            where = location(route.redirect, route.match, scheme=scheme, host=record.host, target=self._target)
            return self._respond(
                Respond(route.redirect.status, [(b"location", where.encode("latin-1", "replace"))], b""), event.now
            )
        backend = self._backend = self._pick_backend(route)
        if backend is None or backend.pool is None or backend.pool not in site.pools:
            why = f": {backend.reason}" if backend is not None and backend.reason else ""
            return self._respond(
                refuse(backend.status if backend else 500, f"The route {route.name} has no backend{why}."), event.now
            )
        record.pool = backend.pool
        view = site.pools[backend.pool]
        priority = 0
        model = reading.model
        prompt = b""
        if view.pool.kind == "inference":
            if reading.error:
                return self._respond(
                    refuse(415 if encoded else 400, _sentence(reading.error), param=reading.param), event.now
                )
            resolution = resolve(view.pool, model, objective, site.dice) if model or objective else None
            if resolution is not None:
                priority, model = resolution.priority, resolution.model if record.model else ""
                record.resolved_by = resolution.by
            prompt = reading.prompt
        record.target, record.priority = model, priority
        self._ask = Ask(model, ladder(model, prompt) if prompt else (), len(prompt), priority)
        self._base = self._build(event, view, model)
        self._wait_until = event.now + site.limits.wait_s
        return self._send(event.now)

    def _pick_backend(self, route: Route) -> Backend | None:
        backends = route.backends
        if len(backends) == 1:
            return backends[0] if backends[0].weight else None
        mark = self._site.dice() * sum(backend.weight for backend in backends)
        for backend in backends:
            mark -= backend.weight
            if mark < 0:
                return backend
        return None

    def _build(self, event: Asked, view: PoolView, model: str) -> bytes:
        """The head of the request to the server, but for the body's length."""
        record, route, backend = self.record, self._route, self._backend
        renamed = model != record.model
        headers = passed_on(event.headers, encoding=not renamed)
        if model:
            headers.append((b"x-gateway-model-name", record.model.encode("latin-1", "replace")))
            headers.append(
                (b"x-gateway-base-model-name", self._site.base_of(record.model).encode("latin-1", "replace"))
            )
            if view.ray:
                headers = [pair for pair in headers if pair[0] != b"serve_multiplexed_model_id"]
                headers.append((b"serve_multiplexed_model_id", model.encode("latin-1", "replace")))
        for edit in (route.request, backend.request if backend is not None else None):
            if edit is not None:
                headers = edit_headers(headers, edit)
        host, target = record.host, self._target
        if route.rewrite is not None:
            target = rewrite_target(target, route.match, route.rewrite)
            host = route.rewrite.hostname or host
        forwarded = next((value + b", " for name, value in event.headers if name == b"x-forwarded-for"), b"")
        if renamed:
            self._body = with_model(self._content_type, event.body, model)
        lines = [
            b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (event.method, target.encode("latin-1"), host.encode("latin-1")),
            *[b"%b: %b\r\n" % pair for pair in headers],
            b"x-forwarded-for: %b%b\r\nx-forwarded-proto: %b\r\nx-request-id: %b\r\n"
            % (forwarded, event.peer, event.scheme, record.id.encode("latin-1")),
        ]
        if self._body or event.method not in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
            lines.append(b"content-length: %d\r\n" % len(self._body))
        lines.append(b"\r\n")
        return b"".join(lines)

    # The choice.

    def _send(self, now: float) -> Command:
        record, site = self.record, self._site
        view = site.pools.get(record.pool)
        if view is None:
            return self._respond(refuse(503, f"The pool {record.pool} is gone."), now)
        ask = self._ask
        if ask.model and view.pool.kind == "inference" and view.lacks(ask.model):
            if ask.model in view.declared:
                return self._wait(
                    now, f"No endpoint of the pool {record.pool} serves the model `{ask.model}` at the moment."
                )
            return self._respond(unknown_model(record.model, reachable(site, self._routes)), now)
        if ask.priority < 0 and view.standing.endpoints and saturation(view.standing, now) >= 1.0:
            dropped = [(b"x-llm-d-request-dropped-reason", b"rejected-saturated"), (b"retry-after", b"1")]
            message = f"The pool {record.pool} is saturated, and this request's priority ({ask.priority}) is below 0."
            return self._respond(refuse(429, message, code="saturated", headers=dropped), now)
        if self._excluded:
            ask = Ask(ask.model, ask.prefix, ask.prompt_bytes, ask.priority, ask.subset, self._excluded)
        decision = choose(ask, view.standing, view.profile, site.dice)
        record.decisions = (*record.decisions, decision)
        endpoint = decision.endpoint
        if endpoint is None:
            return self._wait(now, f"No endpoint of the pool {record.pool} is ready: {decision.why}.")
        self.state = State.SENT
        self._tries += 1
        record.tries = self._tries
        record.endpoint, record.address = endpoint.name, endpoint.hostport
        record.sent_at = now
        return Forward(endpoint, self._base, self._body, ask.prefix, self._deadline(view, now))

    def _deadline(self, view: PoolView, now: float) -> float | None:
        route = self._route
        whole = route.timeout_s if route.timeout_s is not None else view.pool.timeout_s
        ends = [self.record.asked_at + whole] if whole else []
        if route.backend_timeout_s:
            ends.append(now + route.backend_timeout_s)
        return min(ends, default=None)

    def _wait(self, now: float, why: str) -> Command:
        view = self._site.pools[self.record.pool]
        deadline = self._deadline(view, now)
        until = self._wait_until if deadline is None else min(self._wait_until, deadline)
        if now >= until or not view.standing.endpoints:
            dropped = [(b"x-llm-d-request-dropped-reason", b"rejected-no-endpoints"), (b"retry-after", b"1")]
            return self._respond(refuse(503, why, code="no_endpoint", headers=dropped), now)
        self.state = State.WAITING
        self.record.waited = True
        return Wait(self.record.pool, min(until, now + _AGAIN_S) if self._excluded else until)

    def _woken(self, event: Woken) -> Command:
        # What refused a moment ago may be back: a server that was restarted has the same name.
        self._excluded = frozenset()
        return self._send(event.now)

    # The answer.

    def _answered(self, event: Answered) -> Command:
        record, route, backend = self.record, self._route, self._backend
        if event.status == 404 and self._unlisted_now():
            again = self._elsewhere(event.now)
            if again is not None:
                return again
        self.state = State.RELAYING
        record.status, record.answered_at = event.status, event.now
        headers, length = answer_headers(event.headers)
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        self._sse = kind.startswith(b"text/event-stream")
        record.streamed = self._sse
        for edit in (backend.response if backend is not None else None, route.response):
            if edit is not None:
                headers = edit_headers(headers, edit)
        headers.append((b"x-request-id", record.id.encode("latin-1")))
        if self._site.limits.debug_headers:
            headers.append((b"x-gateway-destination-endpoint-served", record.address.encode()))
        if record.target != record.model and (self._sse or b"json" in kind):
            self._restorer = Restorer(record.target, record.model, lines=self._sse)
            return Relay(event.status, headers, None, edit=True)
        return Relay(event.status, headers, length)

    def _unlisted_now(self) -> bool:
        """Whether 404 may mean that the server has just lost an adapter which others still serve."""
        model = self._ask.model
        view = self._site.pools.get(self.record.pool)
        return bool(model) and view is not None and model in view.served and self._tries < self._site.limits.tries

    def _elsewhere(self, now: float) -> Command | None:
        view = self._site.pools[self.record.pool]
        excluded = self._excluded | {self.record.endpoint}
        if all(e.name in excluded or not e.ready or e.draining for e in view.standing.endpoints):
            return None
        self._excluded = excluded
        command = self._send(now)
        return command if isinstance(command, Forward) else None

    def _chunk(self, event: Chunk) -> Command:
        assert self._restorer is not None
        return Send(self._restorer.feed(event.data))

    def _ended(self, event: Ended) -> Command:
        self._finish(event.now)
        return Send(self._restorer.end() if self._restorer is not None else b"")

    # What goes wrong.

    def _failed(self, event: Failed) -> Command:
        record = self.record
        record.error = f"{event.reason}: {event.detail}" if event.detail else event.reason
        if self.state is State.RELAYING:
            self._finish(event.now)
            if not self._sse:
                return Cut(b"")
            rest = self._restorer.end() if self._restorer is not None else b""
            message = f"The model server stopped in the middle of the stream ({record.error})."
            return Cut(rest + b"\n\n" + error_event(502, message, code="endpoint_failed"))
        if event.reason == "timeout":
            return self._respond(refuse(504, "The model server did not answer in time.", code="timeout"), event.now)
        # A refused connection did no work: it does not count. What was sent may have been begun.
        if event.reason == "refused":
            self._tries -= 1
        elif self._tries >= self._site.limits.tries:
            message = f"The model server could not answer ({record.error}), after {self._tries} tries."
            return self._respond(refuse(502, message, code="endpoint_failed"), event.now)
        self._excluded |= {record.endpoint}
        return self._send(event.now)

    def _gone(self, event: Gone) -> Command:
        self.record.error = self.record.error or "the client went away"
        if not self.record.status:
            self.record.status = 499
        self._finish(event.now)
        return Abort()

    def _respond(self, command: Respond, now: float) -> Respond:
        self.record.status = command.status
        if command.status >= 400 and not self.record.error:
            self.record.error = "refused"
        self._finish(now)
        identified = [*command.headers, (b"x-request-id", self.record.id.encode("latin-1"))]
        return Respond(command.status, identified, command.body, command.close)

    def _finish(self, now: float) -> None:
        self.state = State.DONE
        self.record.ended_at = now


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


_FEED: dict[type, Callable[..., Command]] = {
    Asked: Exchange._asked,
    Woken: Exchange._woken,
    Answered: Exchange._answered,
    Chunk: Exchange._chunk,
    Ended: Exchange._ended,
    Failed: Exchange._failed,
    Gone: Exchange._gone,
}
