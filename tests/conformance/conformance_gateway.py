"""A gateway without sockets: manifests in, requests through the router and the exchange, on virtual time.

    gateway = Gateway(manifests)
    outcome = gateway.ask("GET /v2", headers={"version": "two"}, server=[503, 200])
    outcome.backend, outcome.status, outcome.seen, outcome.headers, outcome.tries

`server` says what the servers do, one attempt after the other: a status, `reset`, or `{status: 500, after: 0.3}` with
the seconds that the answer takes. When it is used up they answer 200 at once.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from headgate.api import Text, load
from headgate.exchange.answer import read_answer
from headgate.exchange.events import Answered, Asked, Command, Ended, Failed, Forward, Relay, Respond, Wait, Woken
from headgate.exchange.exchange import Exchange
from headgate.exchange.request import read_request
from headgate.exchange.router import Router
from headgate.exchange.site import PoolView, Site
from headgate.fleet.endpoint import Endpoint
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.profile import SERVICE
from headgate.pick.standing import Standing
from headgate.plan import Plan, Statuses, translate

Headers = dict[str, str]  # names in lower case; what came twice is joined by commas


class Seen(Struct, frozen=True):
    """A request as the server saw it."""

    method: str
    target: str
    headers: Headers


class Outcome(Struct, frozen=True):
    """`backend` is the Service that answered, "" where the gateway did; `mirrors` those that got a copy."""

    status: int
    headers: Headers
    backend: str = ""
    seen: Seen | None = None
    tries: int = 0
    mirrors: tuple[str, ...] = ()
    took: float = 0.0


class Gateway:
    def __init__(self, *manifests: str) -> None:
        snapshot, problems = load([Text(f"{n}.yaml", text) for n, text in enumerate(manifests)])
        assert not [str(problem) for problem in problems if problem.severity == "error"]
        self.plan: Plan
        self.statuses: Statuses
        self.plan, self.statuses = translate(snapshot)
        ledger, index = Ledger(), PrefixIndex()
        self._of: dict[str, str] = {}  # endpoint → Service
        self._views = {}
        for number, pool in enumerate(self.plan.pools.values()):
            service = pool.name.partition("/")[2].partition(":")[0]
            endpoints = [Endpoint(f"{pool.name}-{n}", f"10.0.{number}.{n + 1}", 3000) for n in range(2)]
            self._of.update({endpoint.name: service for endpoint in endpoints})
            standing = Standing(pool.name, endpoints, {}, ledger, index)
            self._views[pool.name] = PoolView(pool, standing, SERVICE)
        self._dice = random.Random(20250601).random
        sockets = dict.fromkeys((listener.gateway, listener.port) for listener in self.plan.listeners)
        self._sites = {
            key: Site(
                Router([one for one in self.plan.listeners if (one.gateway, one.port) == key]),
                self._views,
                {},
                self._dice,
            )
            for key in sockets
        }

    def ask(
        self,
        line: str,
        *,
        gateway: str = "same-namespace",
        port: int = 80,
        host: str = "gateway.test",
        headers: Mapping[str, str] | None = None,
        scheme: str = "http",
        server: Sequence[Any] = (),
        answer: Mapping[str, str] | None = None,
    ) -> Outcome:
        """One request; `answer` are headers that the servers send."""
        method, target = line.split(" ", 1)
        pairs = {"host": host, **(headers or {})}
        raw = [(name.lower().encode(), value.encode()) for name, value in pairs.items()]
        exchange = Exchange(replace(self._sites[f"default/{gateway}", port], scheme=scheme.encode()))
        asked = Asked(read_request(method.encode(), target.encode(), raw), b"", b"id", b"192.0.2.7", 100.0)
        return self._play(exchange, exchange.feed(asked), list(server), answer or {})

    def _play(self, exchange: Exchange, command: Command, server: list[Any], answer: Mapping[str, str]) -> Outcome:
        now, tries, sent, mirrors = 100.0, 0, None, ()
        while not isinstance(command, Relay | Respond):
            if isinstance(command, Wait):
                now = command.until
                command = exchange.feed(Woken(now))
                continue
            assert isinstance(command, Forward), command
            sent, tries, mirrors = command, tries + 1, mirrors + command.mirrors
            does = server.pop(0) if server else 200
            does = does if isinstance(does, dict) else {"status": does}
            over = now + does.get("after", 0.0)
            if command.deadline is not None and over > command.deadline:
                now = command.deadline
                command = exchange.feed(Failed("timeout", "", now))
            elif does.get("status") == "reset":
                now = over
                command = exchange.feed(Failed("reset", "", now))
            else:
                now = over
                own = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
                command = exchange.feed(Answered(read_answer(does.get("status", 200), own), now))
        copies = tuple(self._of[endpoint.name] for endpoint in mirrors)
        took = now - 100.0
        if isinstance(command, Respond):
            return Outcome(command.status, _joined(command.headers), tries=tries, mirrors=copies, took=took)
        exchange.feed(Ended(now))
        lines = [tuple(line.split(b": ", 1)) for line in command.lines.split(b"\r\n") if line]
        assert sent is not None
        backend = self._of[sent.endpoint.name]
        return Outcome(command.status, _joined(lines), backend, _read(sent.head), tries, copies, took)


def _read(head: bytes) -> Seen:
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.decode().split(" ")
    return Seen(method, target, _joined([tuple(line.split(b": ", 1)) for line in lines if line]))


def _joined(pairs: Sequence[tuple[bytes, ...]]) -> Headers:
    found: Headers = {}
    for name, value in pairs:
        key, text = name.decode(), value.decode()
        found[key] = f"{found[key]},{text}" if key in found else text
    return found
