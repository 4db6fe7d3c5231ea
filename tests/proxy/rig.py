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
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import uvloop

from headgate.exchange.record import Record
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, PoolView, Site
from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.profile import DEFAULT, SERVICE
from headgate.pick.standing import Standing
from headgate.plan.plan import Backend, Listener, Match, Pool, Route
from headgate.proxy.downstream import Listening
from headgate.proxy.plane import Bounds, Plane

DEADLINE_S = 20.0  # for anything that a test waits for


def run(scenario: Callable[["Rig"], Awaitable[None]], **options: Any) -> None:
    """Runs a scenario on the loop that the gateway has in production, and looks at what it leaves behind."""
    seen: list[str] = []
    handler = _Listening(seen)
    logging.getLogger().addHandler(handler)
    try:
        uvloop.run(asyncio.wait_for(_play(scenario, seen, options), 60))
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen == [], seen


class _Listening(logging.Handler):
    def __init__(self, seen: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        self._seen.append(self.format(record))


async def _play(scenario: Callable[["Rig"], Awaitable[None]], seen: list[str], options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: seen.append(str(context)))
    rig = Rig(**options)
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
        self.plane = Plane(self.ledger, self.prefixes, self.records.append, bounds or Bounds())
        self.kind, self.models, self.route = kind, models, route
        self.pool = Pool("p", "ns", {"app": "p"}, (8000,), kind=kind, **route.pop("pool", {}))  # type: ignore[arg-type]
        self.views: dict[str, PoolView] = {}
        self.backends: list[Backend_] = []
        self.clients: list[Client] = []
        self.wait_s = route.pop("wait_s", 30.0)

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
            b.name: Load(waiting=n, running=n, kv_usage=n / 10, models=tuple(served.values()), at=monotonic())
            for n, b in enumerate(self.backends)
        }
        self.views["p"] = PoolView(
            pool=self.pool,
            standing=Standing("p", endpoints, loads, self.ledger, self.prefixes),
            profile=DEFAULT if self.kind == "inference" else SERVICE,
            served=served if self.kind == "inference" and ready else {},
            listed=self.kind == "inference" and ready,
        )

    async def backend(self, answer: "Answer") -> "Backend_":
        backend = Backend_(f"ns/b{len(self.backends)}", answer)
        await backend.start()
        self.backends.append(backend)
        self.see()
        return backend

    def nobody(self) -> int:
        """An endpoint that refuses connections."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        backend = Backend_(f"ns/b{len(self.backends)}", hang)
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
        assert self.ledger.total() == 0, f"in flight: {dict(self.ledger.counts)}"
        assert not any(plane.parked.values()), f"parked: {plane.parked}"
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


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as the kernel does for a killed process that had bytes to read: with RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Reply:
    """An answer as it came; `whole` is False when the connection ended before it did."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, *, whole: bool = True) -> None:
        self.status, self.body, self.whole = status, body, whole
        self.headers = dict(headers)
        assert len(self.headers) == len(headers), headers

    @property
    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)["error"]


class Client:
    """A raw HTTP/1.1 client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        """What can be sent before the gateway closes."""
        self.writer.write(raw)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        first, *lines = raw.decode("latin-1")[:-4].split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        return int(status), [(name, value) for name, value in (line.split(": ", 1) for line in lines)]

    async def answer(self, *, to: str = "GET") -> Reply:
        return await asyncio.wait_for(self._answer(to), DEADLINE_S)

    async def _answer(self, to: str) -> Reply:
        status, headers = await self.head()
        given = dict(headers)
        body = b""
        try:
            if to == "HEAD" or status in (204, 304) or status < 200:
                pass
            elif "content-length" in given:
                body = await self.reader.readexactly(int(given["content-length"]))
            elif given.get("transfer-encoding") == "chunked":
                while True:
                    chunk = await self.chunk()
                    if not chunk:
                        break
                    body += chunk
            else:
                body = await self.reader.read()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return Reply(status, headers, body + getattr(error, "partial", b""), whole=False)
        return Reply(status, headers, body)

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def ended(self) -> bool:
        """Whether the gateway closes, with nothing more to say."""
        try:
            return await asyncio.wait_for(self.reader.read(1), DEADLINE_S) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        reset(self.writer)


class Request:
    """One request as a backend has read it, and the raw connection to answer it on."""

    def __init__(
        self, backend: "Backend_", head: bytes, body: bytes, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines)
        self.body, self.backend, self.writer, self.number = body, backend, writer, number

    async def write(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self, body: bytes = b"ok", *, status: str = "200 OK", headers: str = "") -> None:
        await self.write(
            b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status.encode(), headers.encode(), len(body), body)
        )

    def reset(self) -> None:
        reset(self.writer)

    def close(self) -> None:
        self.writer.close()


Answer = Callable[[Request], Awaitable[None]]


async def ok(request: Request) -> None:
    await request.reply()


async def echo(request: Request) -> None:
    """Says back what it was asked."""
    await request.reply(request.line.encode() + b"\n" + request.body)


async def hang(request: Request) -> None:
    await asyncio.Event().wait()


class Backend_:
    """A raw server: it reads requests with Content-Length, and `answer` writes whatever it wants."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name, self.answer = name, answer
        self.requests: list[Request] = []
        self.open: set[asyncio.StreamWriter] = set()
        self.accepted = 0
        self.port = 0
        self.server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open.add(writer)
        playing: asyncio.Task[None] | None = None
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                length = next(
                    (int(v) for k, _, v in (h.partition(b": ") for h in head.split(b"\r\n")) if k == b"content-length"),
                    0,
                )
                body = await reader.readexactly(length)
                request = Request(self, head, body, writer, len(self.requests))
                self.requests.append(request)
                playing = asyncio.create_task(self._play(request))
                await self._watch(reader, playing)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if playing is not None:
                playing.cancel()
            self.open.discard(writer)
            writer.close()

    async def _play(self, request: Request) -> None:
        with contextlib.suppress(ConnectionError):
            await self.answer(request)

    async def _watch(self, reader: asyncio.StreamReader, playing: "asyncio.Task[None]") -> None:
        """Until the answer is played, or the gateway hangs up."""
        while not playing.done():
            if reader.at_eof() or reader.exception() is not None:
                raise ConnectionResetError
            await asyncio.wait([playing], timeout=0.002)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in list(self.open):
            writer.transport.abort()
        await asyncio.sleep(0)
