"""A real gateway before model servers that answer as a test wants them to."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from time import monotonic

import uvloop

from headgate.fleet.endpoint import Server
from headgate.plan.plan import Backend, Listener, Match, Plan, Pool, Route
from headgate.runtime.gateway import Gateway, Options
from headgate.runtime.rows import ROWS, Seen

CHAT = b'{"model":"m","messages":[]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    % (len(CHAT), CHAT)
)
_MODELS = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode()


class Model:
    """A model server that answers chats with `status`; it says what it serves, and has no metrics."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self.hangs = False
        self.takes = 0.0  # seconds for an answer
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line = head.partition(b"\r\n")[0]
                if line.startswith(b"POST"):
                    await reader.readexactly(len(CHAT))
                    self.asked += 1
                    answer, body = self.status, b"{}"
                else:
                    answer, body = (200, _MODELS) if b"/v1/models" in line else (404, b"")
                await asyncio.sleep(self.takes)
                if self.hangs:
                    await reader.read()
                    return
                writer.write(
                    b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (answer, len(body), body)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        self._server.close()


class World:
    def __init__(self, gateway: Gateway, models: list[Model], said: list[str]) -> None:
        self.gateway, self.models, self.said = gateway, models, said

    async def page(self) -> str:
        return (await self.gateway.serving.page()).text()

    async def ask(self) -> int:
        """The status of one answer."""
        ((address, port),) = self.gateway.sockets
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return int(head.split(b" ", 2)[1])

    def endpoints(self) -> dict[str, dict[str, object]]:
        rows = ROWS["endpoints"](Seen(self.gateway, (), ()))
        return {str(row["endpoint"]): row for row in rows}

    async def until(self, check: Callable[[], object]) -> None:
        ends = monotonic() + 20
        while not check():
            assert monotonic() < ends, self.said
            await asyncio.sleep(0.005)


def play(story: Callable[[World], Awaitable[None]], **options: object) -> list[str]:
    said: list[str] = []

    async def main() -> None:
        gateway = Gateway(Options(slow_start_s=0.0, **options), said.append, None)  # type: ignore[arg-type]
        models = [Model(), Model()]
        for model in models:
            await model.start()
        await gateway.start()
        try:
            pool = Pool("ns/pool", "ns", {"app": "m"}, (8000,))
            route = Route("ns/r/0/0", Match("/"), backends=(Backend("ns/pool"),))
            await gateway.apply(Plan((Listener("ns/gw", "http", _free_port(), routes=(route,)),), {"ns/pool": pool}))
            gateway.servers(
                [
                    Server("ns", f"m{n}", "127.0.0.1", {"app": "m"}, port=model.port, ready=True)
                    for n, model in enumerate(models)
                ]
            )
            world = World(gateway, models, said)
            await world.until(lambda: [row["state"] for row in world.endpoints().values()] == ["ready", "ready"])
            await story(world)
        finally:
            await gateway.stop(0.0)
            for model in models:
                await model.stop()

    uvloop.run(main())
    return said


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
