"""WebSockets by TLS, before the gateway and behind it."""

import asyncio
import ssl
from pathlib import Path

import pytest
from authority import Authority
from secured import Secured, bundle, eventually, gateway, policy, route, run, secret, service
from test_tls_listeners import free_port
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

CA = Authority()


async def _echo(server: ServerConnection) -> None:
    await server.send("x" * 100_000)  # right behind the answer to the handshake, in records of its own
    async for message in server:
        await server.send(message)


@pytest.mark.parametrize("behind", [False, True], ids=["plain behind", "TLS behind"])
def test_a_websocket_goes_through_by_tls(behind: bool, tmp_path: Path) -> None:
    context = None
    if behind:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*CA.issue("web.x").files(tmp_path, "web"))

    async def story(secured: Secured) -> None:
        async with serve(_echo, "127.0.0.1", 0, ssl=context, max_size=None) as server:
            port, behind_it = free_port(), server.sockets[0].getsockname()[1]
            trusted = "hostname: web.x, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]"
            await secured.apply(
                gateway(f"name: https, port: {port}, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}"),
                secret("cert", CA.issue("gw.x")),
                route("all", f"{{backendRefs: [{{name: web, port: {behind_it}}}]}}"),
                service("web", behind_it, app_protocol="HTTPS" if behind else ""),
                *([policy("to-web", "group: '', kind: Service, name: web", trusted)] if behind else []),
                bundle("ca", CA),
            )
            secured.servers(web=behind_it)
            url = f"wss://gw.x:{port}/talk"
            async with connect(url, ssl=CA.client(), host="127.0.0.1", port=port, max_size=None) as client:
                assert await client.recv() == "x" * 100_000
                for message in ("hello", "x" * 5_000_000, bytes(range(256)) * 4000):
                    sending = asyncio.create_task(client.send(message))
                    assert await client.recv() == message
                    await sending
                assert secured.gateway.fleet.ledger.total() == 1
            await eventually(lambda: secured.gateway.fleet.ledger.total() == 0)

    run(story)
