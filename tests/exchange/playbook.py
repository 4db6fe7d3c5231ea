"""Plays one request through an exchange: events in, commands out; the time and the dice are ours.

play = Play(to("llama"), llama=serving("m", "food-review<m"))
play.ask(model="m")            → the first command
play.answers(200, JSON)        → the next …
"""

import json
from copy import copy
from typing import Any, NamedTuple

from msgspec.structs import replace

from headgate.exchange.answer import read_answer
from headgate.exchange.events import (
    Answered,
    Asked,
    Command,
    Decoded,
    Ended,
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
from headgate.exchange.exchange import Exchange
from headgate.exchange.request import read_request
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, PoolView, Site
from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.control import Control
from headgate.flow.discipline import Discipline
from headgate.flow.gauge import Gauge
from headgate.pick.detector import Detector
from headgate.pick.profile import DEFAULT, SERVICE
from headgate.pick.standing import Standing
from headgate.plan.plan import Backend, Listener, Match, Pool, Route, TextMatch

CHAT = "/v1/chat/completions"
JSON: Headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
STREAM: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]


def to(pool: str | None, path: str = "/", *, model: str = "", name: str = "", **more: Any) -> Route:
    """A route to one pool, for a path prefix; `model` makes it one for the requests of that model alone."""
    headers = (TextMatch("x-gateway-model-name", model),) if model else ()
    match = more.pop("match", None) or Match(path, headers=headers)
    backends = more.pop("backends", None) or (() if pool is None else (Backend(pool),))
    return Route(name or f"ns/{pool or 'none'}/0/0", match, backends=backends, **more)


def serving(
    *models: str, endpoints: int = 2, kind: str = "inference", declared: tuple[str, ...] = (), ray: bool = False, **pool
) -> dict[str, Any]:
    """A pool whose endpoints all serve `models`; `adapter<base` is an adapter. No models: none is known yet."""
    return {"models": models, "endpoints": endpoints, "kind": kind, "declared": declared, "ray": ray, "pool": pool}


def service(**more: Any) -> dict[str, Any]:
    return serving(kind="service", **more)


class Line(NamedTuple):
    """A request's head as the server reads it."""

    method: str
    target: str
    headers: dict[str, str]
    names: list[str]


def read(forward: Command) -> Line:
    assert isinstance(forward, Forward), forward
    head = forward.head.decode()
    assert head.endswith("\r\n\r\n")
    first, *lines = head[:-4].split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    pairs = [line.split(": ", 1) for line in lines]
    return Line(method, target, dict(pairs), [name for name, _ in pairs])


def pairs(command: Respond | Reply | Relay) -> Headers:
    """The headers of an answer."""
    if isinstance(command, Respond):
        return command.headers
    lines = command.lines.split(b"\r\n")
    assert not lines.pop()
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def header(command: Command, name: str) -> str | None:
    """Of an answer."""
    assert isinstance(command, Respond | Reply | Relay), command
    found = [value.decode() for key, value in pairs(command) if key == name.encode()]
    assert len(found) < 2, found
    return found[0] if found else None


def error(command: Command, status: int) -> dict[str, Any]:
    """The error of a refusal, which must have this status and OpenAI's form."""
    assert isinstance(command, Respond), command
    assert command.status == status, (command.status, command.body)
    assert header(command, "content-type") == "application/json"
    body = json.loads(command.body)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert command.error == body["error"]["message"]
    return body["error"]


class Play:
    """One request. `now` moves by `after`; `dice` gives the numbers it was given, then zeros."""

    def __init__(
        self,
        *routes: Route,
        dice: list[float] | None = None,
        debug: bool = False,
        listeners: tuple[Listener, ...] = (),
        **pools: dict[str, Any],
    ) -> None:
        self.now = 100.0
        self.peer = b"192.0.2.7"
        self.dice = list(dice or [])
        self.ledger, self.index = Ledger(), PrefixIndex()
        self.loads: dict[str, Load] = {}
        self.views: dict[str, PoolView] = {}
        self.bases: dict[str, str] = {}
        for name, spec in pools.items():
            self.pool(name, **spec)
        router = Router(listeners or (Listener("ns/gw", "http", 80, routes=routes),))
        limits = Limits(debug_headers=debug)
        self.site = Site(router, self.views, self.bases, self._throw, limits, started=1700000000)
        self.exchange = Exchange(self.site)

    def _throw(self) -> float:
        return self.dice.pop(0) if self.dice else 0.0

    @property
    def record(self):
        return self.exchange.record

    # The fleet.

    def pool(self, name: str, *, models, endpoints, kind, declared, ray, pool) -> None:
        """Make a pool, or make it anew."""
        members = [Endpoint(f"ns/{name}-{n}", f"10.0.0.{n + 1}", 8000) for n in range(endpoints)]
        served = [Served(model.split("<")[0], *model.split("<")[1:]) for model in models]
        for member in members:
            self.loads[member.name] = Load(
                waiting=0, running=0, kv_usage=0.0, models=tuple(served) if served else None, at=self.now
            )
        self.bases.update({entry.id: entry.parent or entry.id for entry in served})
        made = Pool(name, "ns", {"app": name}, (8000,), kind=kind, **pool)
        self.views[name] = PoolView(
            pool=made,
            standing=Standing(name, members, self.loads, self.ledger, self.index),
            profile=DEFAULT if kind == "inference" else SERVICE,
            served={entry.id: entry for entry in served},
            listed=bool(served),
            declared=frozenset({*declared, *made.models}),
            ray=ray,
        )

    def load(self, endpoint: str, **load: Any) -> None:
        """What an endpoint reports from now on."""
        view = self.views[endpoint.rsplit("-", 1)[0].removeprefix("ns/")]
        known = self.loads[endpoint]
        self.loads[endpoint] = Load(**{"models": known.models, "at": self.now, **load})
        old = view.standing
        view.standing = Standing(old.pool, old.endpoints, self.loads, self.ledger, self.index)

    def queue(self, name: str, discipline: Discipline | None = None, concurrency: int = 1) -> Control:
        """From now on requests queue at this pool: so many may be under way at an endpoint, in the mean."""
        view = self.views[name]
        gauge = Gauge(Detector(concurrency=concurrency), self.ledger)
        view.control = Control(discipline or Discipline(), gauge)
        view.control.watch(view.standing.endpoints, view.standing.loads, self.now)
        return view.control

    def beside(self) -> "Play":
        """Another request to the same gateway."""
        other = copy(self)
        other.exchange = Exchange(self.site)
        return other

    # Events.

    def after(self, seconds: float) -> "Play":
        self.now += seconds
        return self

    def ask(
        self,
        line: str = f"POST {CHAT}",
        *,
        body: bytes | dict[str, Any] | None = None,
        model: str | None = None,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        host: str | None = "gw.example",
        kind: str = "application/json",
        http10: bool = False,
    ) -> Command:
        method, target = line.split(" ", 1)
        if body is None and model is not None:
            body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        content = json.dumps(body, separators=(",", ":")).encode() if isinstance(body, dict) else body or b""
        pairs = [("host", host)] if host is not None else []
        if content:
            pairs += [("content-type", kind), ("content-length", str(len(content)))]
        pairs += headers if isinstance(headers, list) else list((headers or {}).items())
        raw = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
        return self.exchange.feed(
            Asked(
                read_request(method.encode(), target.encode(), raw, http10=http10),
                content,
                b"id-1",
                self.peer,
                self.now,
            )
        )

    def answers(self, status: int = 200, headers: Headers = JSON) -> Command:
        self.command = self.exchange.feed(Answered(read_answer(status, list(headers)), self.now))
        return self.command

    def answers_whole(self, body: bytes, status: int = 200, headers: Headers = JSON) -> Command:
        return self.exchange.feed(Whole(read_answer(status, list(headers)), body, self.now))

    def chunk(self, data: bytes) -> bytes:
        """What becomes of a piece of the answer."""
        assert isinstance(self.command, Relay)
        return data if self.command.edit is None else self.command.edit(data)

    def ends(self) -> bytes:
        command = self.exchange.feed(Ended(self.now))
        assert isinstance(command, Send)
        return command.data

    def fails(self, reason: Any, detail: str = "", unfinished: bytes = b"") -> Command:
        return self.exchange.feed(Failed(reason, detail, self.now, unfinished))

    def decodes(self, done: Decoded) -> Command:
        return self.exchange.feed(replace(done, now=self.now))

    def wakes(self) -> Command:
        return self.exchange.feed(Woken(self.now))

    def is_evicted(self) -> Command:
        return self.exchange.feed(Evicted(self.now))

    def leaves(self) -> Command:
        return self.exchange.feed(Gone(self.now))


def endpoint(command: Command) -> str:
    assert isinstance(command, Forward), command
    return command.endpoint.name


def until(command: Command) -> float:
    assert isinstance(command, Wait), command
    return command.until
