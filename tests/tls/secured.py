"""A gateway in this process, by manifests, with TLS before and behind it."""

import asyncio
import socket
import ssl
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any

import uvloop
from authority import Authority, Issued

from headgate.api import Text, load
from headgate.fleet.endpoint import Server
from headgate.plan import Plan, Statuses, translate
from headgate.proxy.plane import Bounds, Plane
from headgate.runtime.certificates import examine
from headgate.runtime.config import Reading
from headgate.runtime.front import Front
from headgate.runtime.gateway import Gateway, Options

DEADLINE_S = 20.0


def secret(name: str, issued: Issued, *, key: str | None = None, namespace: str = "default") -> str:
    data = {"tls.crt": issued.chain, "tls.key": issued.key if key is None else key}
    return _object("v1", "Secret", name, namespace, type_="kubernetes.io/tls", stringData=data)


def bundle(name: str, *authorities: Authority, namespace: str = "default") -> str:
    pem = "".join(authority.pem for authority in authorities)
    return _object("v1", "ConfigMap", name, namespace, data={"ca.crt": pem})


def _object(version: str, kind: str, name: str, namespace: str, type_: str = "", **data: Mapping[str, str]) -> str:
    lines = [f"apiVersion: {version}", f"kind: {kind}", f"metadata: {{name: {name}, namespace: {namespace}}}"]
    lines += [f"type: {type_}"] if type_ else []
    for field, values in data.items():
        lines.append(f"{field}:")
        for key, text in values.items():
            lines += [f"  {key}: |", textwrap.indent(text.rstrip("\n") or "-", "    ")]
    return "\n".join(lines) + "\n"


def gateway(*listeners: str, tls: str = "", name: str = "gw") -> str:
    """Each listener in YAML's flow style; `tls` is that of the whole gateway."""
    items = "".join(f"    - {{{listener}}}\n" for listener in listeners)
    whole = f"  tls: {{{tls}}}\n" if tls else ""
    return (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n"
        f"metadata: {{name: {name}}}\nspec:\n  gatewayClassName: any\n{whole}  listeners:\n{items}"
    )


def route(name: str, rules: str, *, hosts: str = "", section: str = "") -> str:
    at = f", sectionName: {section}" if section else ""
    return (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
        f"metadata: {{name: {name}}}\nspec:\n  parentRefs: [{{name: gw{at}}}]\n"
        f"  hostnames: [{hosts}]\n  rules: [{rules}]\n"
    )


def service(name: str, port: int, *, app_protocol: str = "", port_name: str = "web") -> str:
    speaks = f", appProtocol: {app_protocol}" if app_protocol else ""
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {name}}}\n"
        f"  ports: [{{name: {port_name}, port: {port}{speaks}}}]\n"
    )


def policy(name: str, target: str, validation: str) -> str:
    return (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n"
        f"metadata: {{name: {name}}}\nspec:\n  targetRefs: [{{{target}}}]\n  validation: {{{validation}}}\n"
    )


class Secured:
    """`apply` is what a change of the files is; `said` holds what people were told."""

    def __init__(self, address: str, bounds: Bounds) -> None:
        self.said: list[str] = []
        self.gateway = Gateway(Options(address=address, wait_s=1.0, bounds=bounds), self.said.append, None)
        self.reading = Reading()

    @property
    def plane(self) -> Plane:
        assert isinstance(self.gateway.serving, Front)
        return self.gateway.serving.plane

    @property
    def plan(self) -> Plan:
        return self.reading.plan

    @property
    def statuses(self) -> Statuses:
        return self.reading.statuses

    async def apply(self, *manifests: str) -> None:
        texts = [Text(f"{number}.yaml", text) for number, text in enumerate(manifests)]
        snapshot, problems = load(texts, self.reading.snapshot)
        assert not [str(problem) for problem in problems if problem.severity == "error"]
        examined = examine(snapshot, self.reading.fit, time())
        plan, statuses = translate(snapshot, examined.findings)
        self.reading = Reading(snapshot, plan, statuses, examined.problems, examined.fit)
        await self.gateway.apply(plan)

    def servers(self, **ports: int | list[int]) -> None:
        """Servers at 127.0.0.1, by the name of their Service."""
        self.gateway.servers(
            [
                Server("default", f"{name}-{n}" if n else name, "127.0.0.1", {"app": name}, port=port, ready=True)
                for name, given in ports.items()
                for n, port in enumerate(given if isinstance(given, list) else [given])
            ]
        )

    def listener(self, name: str) -> dict[str, tuple[str, str, str]]:
        """Its conditions: status, reason and message by type."""
        found = next(one for one in self.statuses if one.kind == "Gateway")
        own = next(one for one in found.listeners if one.name == name)
        return {one.type: (one.status, one.reason, one.message) for one in own.conditions}


def run(story: Callable[[Secured], Awaitable[None]], *, address: str = "127.0.0.1", **bounds: float) -> None:
    """On the loop of production; nothing may be left behind, and nothing unexpected may happen."""
    mistakes: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: mistakes.append(str(context)))
        secured = Secured(address, Bounds(**bounds))  # type: ignore[arg-type]
        await secured.gateway.start()
        try:
            await asyncio.wait_for(story(secured), 60)
        finally:
            await secured.gateway.stop(0.0)
        await eventually(lambda: not secured.plane.connections)
        assert secured.gateway.fleet.ledger.total() == 0

    uvloop.run(main())
    assert mistakes == [], mistakes


async def eventually(check: Callable[[], object], what: str = "") -> None:
    start = monotonic()
    while not check():
        assert monotonic() - start < DEADLINE_S, what or "it did not happen"
        await asyncio.sleep(0.005)


class Client:
    """A connection by TLS that was greeted; HTTP/1.1 with Content-Length is all it speaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext, name: str | None, **more: Any) -> "Client":
        """`name` is asked for by SNI; None: none is."""
        if name is None:
            context.check_hostname = False
        opening = asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "", **more)
        return cls(*await asyncio.wait_for(opening, DEADLINE_S))

    @property
    def names(self) -> list[str]:
        """Those that the gateway's certificate is for."""
        shown = self.writer.get_extra_info("peercert")
        return [value for _, value in shown["subjectAltName"]]

    async def get(self, host: str, path: str = "/", *, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        first, *lines = raw.decode()[:-4].split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), DEADLINE_S)
        return int(first.split()[1]), headers, body

    async def ended(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), DEADLINE_S) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    async def close(self) -> None:
        self.writer.transport.abort()


async def turned_away(port: int, context: ssl.SSLContext, name: str | None) -> str:
    """Why a client does not get in, as it is told by an alert; "" when it does."""
    return await asyncio.to_thread(_turned_away, port, context, name)


def _turned_away(port: int, context: ssl.SSLContext, name: str | None) -> str:
    if name is None:
        context.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=name) as secured:
                # By TLS 1.3 a client learns only after the handshake whether its own certificate was good enough.
                secured.sendall(b"GET / HTTP/1.1\r\nhost: nobody.invalid\r\n\r\n")
                secured.recv(1)
        except ssl.SSLError as error:
            return error.reason or str(error)
        except ConnectionError as error:
            return type(error).__name__
    return ""


class Backend:
    """A server that says what it was asked, by TLS where it has a certificate: `METHOD PATH` and the headers it saw."""

    def __init__(self, identity: Issued | None = None, at: Path | None = None, *, answer: bytes = b"") -> None:
        self.names: list[str | None] = []  # asked for by SNI
        self.asked: list[dict[str, str]] = []
        self.accepted = 0
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._answer = answer
        self._context: ssl.SSLContext | None = None
        if identity is not None:
            assert at is not None
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*identity.files(at, "backend"))
            self._context.sni_callback = lambda _, name, __: self.names.append(name)

    async def __aenter__(self) -> "Backend":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context, limit=1 << 26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await eventually(lambda: not self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._open.add(writer)
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode()[:-4].split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.asked.append(headers | {":line": first})
                answer = self._answer or (body if body else first.encode())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self._open.discard(writer)
