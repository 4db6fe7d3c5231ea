"""The same gateway with all of it real: Envoy as the data plane, its files, our processor, servers at addresses.

One Envoy serves all cases, one after the other: each is a change of the plan.
"""

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from conformance_gateway import Outcome, Seen

from headgate.api import Text, load
from headgate.fleet.endpoint import Server
from headgate.plan import translate
from headgate.plan.plan import Plan
from headgate.runtime import gateway as gateways
from headgate.runtime.envoy.binary import find_envoy

T = TypeVar("T")
_QUIET_S = 0.1  # copies come whenever they come


class EnvoyGateway:
    """Use as a context manager, `serve` the manifests of a case, and `ask`."""

    def __init__(self, directory: Path) -> None:
        block = os.getpid() % 200 + 10
        self._here, self._there = f"127.{block}.251.1", f"127.{block}.252"
        self._options = gateways.Options(
            address=self._here, access_log="", envoy=find_envoy(), directory=str(directory), tries=3
        )
        self._loop = asyncio.new_event_loop()
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._arrived: dict[str, list[str]] = {}  # request → Services that it came to
        self._scripts: dict[str, list[Any]] = {}
        self._ids = count(1)
        self.said: list[str] = []

    def __enter__(self) -> "EnvoyGateway":
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _do(self, what: Awaitable[T]) -> T:
        async def it() -> T:
            return await what

        return asyncio.run_coroutine_threadsafe(it(), self._loop).result(60)

    async def _start(self) -> None:
        self._gateway = gateways.Gateway(self._options, self.said.append, None)
        await self._gateway.start()

    async def _stop(self) -> None:
        await self._gateway.stop(1.0)
        for server in self._servers.values():
            server.close()

    # Servers.

    def serve(self, *manifests: str) -> None:
        snapshot, _ = load([Text(f"{n}.yaml", text) for n, text in enumerate(manifests)])
        self._do(self._serve(translate(snapshot)[0]))

    async def _serve(self, plan: Plan) -> None:
        servers = {}
        for number, pool in enumerate(sorted(plan.pools.values(), key=lambda pool: pool.name)):
            for nth in (1, 2):
                address = f"{self._there}.{2 * number + nth}"
                name = f"{pool.name.replace('/', '-').replace(':', '-')}-{nth}"
                servers[name] = Server(pool.namespace, name, address, pool.selector, ready=True)
                for port in pool.ports:
                    if (address, int(port)) not in self._servers:
                        self._servers[address, int(port)] = await asyncio.start_server(self._answer, address, int(port))
        self._gateway.servers(list(servers.values()))
        self._services = {one.address: one.labels["app"] for one in servers.values()}
        await self._gateway.apply(plan)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        service_at = writer.get_extra_info("sockname")[0]
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = _joined([tuple(line.split(": ", 1)) for line in head[1:] if line])
                await reader.readexactly(int(headers.get("content-length", 0)))
                name, service = headers["x-request-id"], self._services[service_at]
                self._arrived.setdefault(name, []).append(service)
                script, answer = self._scripts.get(name, ([], {}))
                does = script.pop(0) if script else 200
                does = does if isinstance(does, dict) else {"status": does}
                await asyncio.sleep(does.get("after", 0.0))
                if does.get("status") == "reset":
                    writer.transport.abort()
                    return
                body = json.dumps([service, method, target, headers]).encode()
                lines = "".join(f"{key}: {value}\r\n" for key, value in answer.items())
                status = does.get("status", 200)
                writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    # Clients.

    def ask(self, line: str, *, times: int = 1, **given: Any) -> list[Outcome]:
        return self._do(self._ask_often(line, times, given))

    async def _ask_often(self, line: str, times: int, given: Mapping[str, Any]) -> list[Outcome]:
        found: list[tuple[str, Outcome]] = []
        for at in range(0, times, 50):
            found += await asyncio.gather(*(self._ask(line, **given) for _ in range(min(50, times - at))))
        if times > 1:
            before = -1
            while before != (before := sum(map(len, self._arrived.values()))):  # noqa: ASYNC110 - they tell nobody
                await asyncio.sleep(_QUIET_S)
        return [self._with_copies(name, outcome) for name, outcome in found]

    def _with_copies(self, name: str, outcome: Outcome) -> Outcome:
        came = self._arrived.pop(name, [])
        copies = tuple(service for service in came if outcome.backend and service != outcome.backend)
        return Outcome(outcome.status, outcome.headers, outcome.backend, outcome.seen, len(came) - len(copies), copies)

    async def _ask(
        self,
        line: str,
        *,
        gateway: str = "same-namespace",
        port: int = 80,
        host: str = "gateway.test",
        headers: Mapping[str, str] | None = None,
        server: Sequence[Any] = (),
        answer: Mapping[str, str] | None = None,
    ) -> tuple[str, Outcome]:
        name = f"request-{next(self._ids)}"
        self._scripts[name] = (list(server), answer or {})
        method, target = line.split(" ", 1)
        address = self._gateway.assigned.addresses[f"default/{gateway}"]
        here = self._gateway.assigned.ports[f"default/{gateway}", port]
        pairs = {"host": host, **(headers or {}), "x-request-id": name}
        lines = "".join(f"{key}: {value}\r\n" for key, value in pairs.items())
        reader, writer = await asyncio.open_connection(address, here)
        writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status, heads = int(first.split(" ")[1]), _joined([tuple(line.split(": ", 1)) for line in rest if line])
        if method == "HEAD":
            body = b""
        elif heads.get("transfer-encoding") == "chunked":
            body = b"".join((await reader.readuntil(b"\r\n0\r\n\r\n")).split(b"\r\n")[1:-3:2])
        else:
            body = await reader.readexactly(int(heads.get("content-length", 0)))
        writer.close()
        del self._scripts[name]
        if not body.startswith(b"["):
            return name, Outcome(status, heads)
        service, *seen = json.loads(body)
        return name, Outcome(status, heads, service, Seen(*seen))


def _joined(pairs: Sequence[tuple[str, ...]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        found[key] = f"{found[key]},{value}" if key in found else value
    return found
