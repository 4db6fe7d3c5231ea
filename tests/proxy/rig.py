"""The data plane on real sockets: a gateway of one listener, raw servers behind it, raw clients before it.

    async def scenario(rig):
        backend = await rig.backend(answer)          # `answer(exchange)` plays the server
        client = await rig.client()
        await client.send(b"GET / HTTP/1.1\r\nhost: gw\r\n\r\n")
        assert (await client.answer()).status == 200

    run(scenario)

After each scenario nothing may be left: no connection, no task, no request in flight, nothing in the error log.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import uvloop
from wire import DEADLINE_S, Answer, Client, Reply, Server, hang

from headgate.exchange.record import Record
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, PoolView, Site
from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.control import Control
from headgate.flow.discipline import Discipline
from headgate.flow.gauge import Gauge
from headgate.pick.detector import Detector
from headgate.pick.profile import DEFAULT, SERVICE, Profile
from headgate.pick.room import Room
from headgate.pick.standing import Standing
from headgate.plan.plan import Backend, Listener, Match, Pool, Route
from headgate.proxy.downstream import Listening
from headgate.proxy.plane import Bounds, Plane


def run(scenario: Callable[[Any], Awaitable[None]], *, rig: "type[Rig] | None" = None, **options: Any) -> None:
    """Runs a scenario on the loop that the gateway has in production, and looks at what it leaves behind."""
    seen: list[str] = []
    handler = _Errors(seen)
    logging.getLogger().addHandler(handler)
    try:
        uvloop.run(asyncio.wait_for(_play(scenario, seen, (rig or Rig)(**options)), 60))
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen == [], seen


class _Errors(logging.Handler):
    def __init__(self, seen: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        self._seen.append(self.format(record))


async def _play(scenario: Callable[[Any], Awaitable[None]], seen: list[str], rig: "Rig") -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: seen.append(str(context)))
    await rig.start()
    try:
        await scenario(rig)
        await rig.close_clients()
        await rig.nothing_is_left()
    finally:
        await rig.stop()


async def eventually(check: Callable[[], object], what: str = "", within: float = DEADLINE_S) -> float:
    """Waits until `check()` is true; how long that took, in seconds."""
    start = monotonic()
    while not check():
        assert monotonic() - start < within, what or "it did not happen"
        await asyncio.sleep(0.002)
    return monotonic() - start


class Rig:
    """One pool `p` with the backends that the scenario makes, reached by the route `route`."""

    def __init__(
        self, *, kind: str = "inference", models: tuple[str, ...] = ("m",), bounds: Bounds | None = None, **route: Any
    ) -> None:
        self.records: list[Record] = []
        self.ledger, self.prefixes = Ledger(), PrefixIndex()
        self.waited_for: list[str] = []  # pools that a request waits for
        self.controls: dict[str, Control] = {}
        self.plane = Plane(
            self.ledger,
            self.prefixes,
            self.records.append,
            bounds or Bounds(),
            self.waited_for.append,
            controls=self.controls,
        )
        self.kind, self.models, self.route = kind, models, route
        self.pool = Pool("p", "ns", {"app": "p"}, (8000,), kind=kind, **route.pop("pool", {}))  # type: ignore[arg-type]
        self.views: dict[str, PoolView] = {}
        self.backends: list[Server] = []
        self.clients: list[Client] = []
        self.wait_s = route.pop("wait_s", 30.0)
        self.room: Room | None = route.pop("room", None)
        self.profile: Profile | None = route.pop("profile", None)
        self.queueing: Discipline | None = route.pop("queueing", None)  # one request at a time for each backend
        self.only: dict[str, tuple[str, ...]] = {}  # the models of backends that don't serve all

    async def start(self) -> None:
        self._before = asyncio.all_tasks()
        self.plane.start()
        self.listening = Listening(self.plane, self.site())
        self.server = await asyncio.get_running_loop().create_server(self.listening.accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.see()

    def site(self, **changed: Any) -> Site:
        route = Route("ns/r/0/0", **{"match": Match("/"), "backends": (Backend("p"),), **self.route, **changed})
        router = Router((Listener("ns/gw", "http", 80, routes=(route,)),))
        return Site(router, self.views, {}, lambda: 0.0, Limits(wait_s=self.wait_s))

    def see(self, *, ready: bool = True) -> None:
        """The pool as it is now: all backends, or none of them ready."""
        endpoints = [Endpoint(b.name, "127.0.0.1", b.port, ready=ready) for b in self.backends]
        served = {model: Served(model) for model in self.models}
        # The first one is the least loaded: it is asked first, and the others when it fails.
        loads = {
            b.name: Load(
                waiting=n,
                running=n,
                kv_usage=n / 10,
                models=tuple(served[model] for model in self.only.get(b.name, self.models)),
                at=monotonic(),
            )
            for n, b in enumerate(self.backends)
        }
        self.views["p"] = PoolView(
            pool=self.pool,
            standing=Standing("p", endpoints, loads, self.ledger, self.prefixes, (), self.room),
            profile=self.profile or (DEFAULT if self.kind == "inference" else SERVICE),
            served=served if self.kind == "inference" and ready else {},
            listed=self.kind == "inference" and ready,
            control=self._control(),
        )
        if self.queueing is not None:
            self.controls["p"].watch(endpoints, self.views["p"].standing.loads, monotonic())

    def _control(self) -> Control | None:
        if self.queueing is not None and "p" not in self.controls:
            self.controls["p"] = Control(self.queueing, Gauge(Detector(concurrency=1), self.ledger))
        return self.controls.get("p")

    async def backend(self, answer: "Answer") -> "Server":
        backend = Server(f"ns/b{len(self.backends)}", answer)
        await backend.start()
        self.backends.append(backend)
        self.see()
        return backend

    def nobody(self) -> int:
        """An endpoint that refuses connections."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        backend = Server(f"ns/b{len(self.backends)}", hang)
        backend.port = port
        self.backends.append(backend)
        self.see()
        return port

    async def client(self, *, receive_buffer: int = 0) -> "Client":
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=64 << 20)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def ask(self, raw: bytes) -> "Reply":
        """One request on a connection of its own."""
        client = await self.client()
        await client.send(raw)
        reply = await client.answer()
        await client.close()
        return reply

    async def close_clients(self) -> None:
        for client in self.clients:
            await client.close()

    async def nothing_is_left(self) -> None:
        plane = self.plane
        await eventually(lambda: not plane.connections, f"client connections: {plane.connections}")
        assert not any(control.queued or control.under_way for control in self.controls.values()), "queued"
        assert self.ledger.total() == 0, f"in flight: {dict(self.ledger.counts)}"
        assert self.ledger.tokens.total() == 0, f"tokens in flight: {dict(self.ledger.tokens.counts)}"
        assert not any(plane.parked.values()), f"parked: {plane.parked}"
        assert plane.held.total == 0, f"held: {plane.held.total} bytes"
        plane.upstreams.close()
        for backend in self.backends:
            await eventually(lambda b=backend: not b.open, f"{backend.name} still has connections")
        await eventually(lambda: not self._left(), f"tasks: {self._left()}")

    def _left(self) -> set[asyncio.Task[Any]]:
        return {task for task in asyncio.all_tasks() - self._before if not task.done()} - {asyncio.current_task()}

    async def stop(self) -> None:
        self.server.close()
        self.plane.stop()
        for client in self.clients:
            await client.close()
        for connection in list(self.plane.connections):
            connection.abort()
        for backend in self.backends:
            await backend.stop()
