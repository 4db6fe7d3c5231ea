"""BackendTLSPolicies over real sockets: which servers are trusted, and that no other one ever hears a request."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import DAY, NOW, Authority, Issued
from secured import Backend, Client, Secured, bundle, eventually, gateway, policy, route, run, service
from test_tls_listeners import free_port

CA = Authority("the pods' authority")
OTHERS = Authority("another authority")
LISTENER = "name: http, port: {port}, protocol: HTTP"
TRUSTED = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]"
TARGET = "group: '', kind: Service, name: web"


async def asked(port: int, path: str = "/") -> tuple[int, str]:
    """Status and body."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        status, _, body = await client.get("gw.x", path)
        return status, body.decode()
    finally:
        await client.close()


def manifests(
    port: int, backend: Backend, validation: str, *, app_protocol: str = "", target: str = TARGET
) -> tuple[str, ...]:
    return (
        gateway(LISTENER.format(port=port)),
        route("all", f"{{backendRefs: [{{name: web, port: {backend.port}}}]}}"),
        service("web", backend.port, app_protocol=app_protocol),
        policy("to-web", target, validation),
        bundle("ca", CA),
    )


def told(secured: Secured) -> dict[str, tuple[str, str, str]]:
    """The policy's conditions at its gateway."""
    status = next(one for one in secured.statuses if one.kind == "BackendTLSPolicy")
    (at,) = status.parents
    assert at.parent == "Gateway default/gw"
    return {one.type: (one.status, one.reason, one.message) for one in at.conditions}


Known = tuple[str, Callable[[], Issued]]
_URI = "spiffe://example.com/ns/default/sa/web"
GOOD: dict[str, Known] = {
    "by its hostname": ("hostname: web.x", lambda: CA.issue("web.x")),
    "by a wildcard": ("hostname: web.x.y", lambda: CA.issue("*.x.y")),
    "by an alternative name": (
        "hostname: sni.x, subjectAltNames: [{type: Hostname, hostname: other.x}, {type: Hostname, hostname: web.x}]",
        lambda: CA.issue("web.x"),
    ),
    "by one of the names below another": (
        "hostname: sni.x, subjectAltNames: [{type: Hostname, hostname: '*.x'}]",
        lambda: CA.issue("web.x"),
    ),
    "by a URI": (f"hostname: sni.x, subjectAltNames: [{{type: URI, uri: '{_URI}'}}]", lambda: CA.issue(uris=(_URI,))),
}
BAD: dict[str, tuple[str, Callable[[], Issued], str]] = {
    "another authority": (
        "hostname: web.x",
        lambda: OTHERS.issue("web.x"),
        "its certificate is not trusted: unable to get local issuer certificate",
    ),
    "another name": (
        "hostname: web.x",
        lambda: CA.issue("other.x"),
        "its certificate is not trusted: Hostname mismatch, certificate is not valid for 'web.x'",
    ),
    "a certificate that has expired": (
        "hostname: web.x",
        lambda: CA.issue("web.x", begins=NOW - 9 * DAY, ends=NOW - DAY),
        "its certificate is not trusted: certificate has expired",
    ),
    "the hostname where alternative names count": (
        "hostname: web.x, subjectAltNames: [{type: Hostname, hostname: other.x}]",
        lambda: CA.issue("web.x"),
        "its certificate is not for other.x",
    ),
    "another URI": (
        f"hostname: web.x, subjectAltNames: [{{type: URI, uri: '{_URI}'}}]",
        lambda: CA.issue("web.x", uris=(_URI + "-2",)),
        f"its certificate is not for {_URI}",
    ),
}


@pytest.mark.parametrize("known", GOOD.values(), ids=GOOD)
def test_a_server_that_is_who_it_must_be_is_asked_by_tls(known: Known, tmp_path: Path) -> None:
    names, issue = known

    async def story(secured: Secured) -> None:
        async with Backend(issue(), tmp_path) as backend:
            port = free_port()
            await secured.apply(*manifests(port, backend, f"{TRUSTED}, {names}", app_protocol="HTTPS"))
            secured.servers(web=backend.port)
            for _ in range(3):
                assert await asked(port, "/secret") == (200, "GET /secret HTTP/1.1")
            hostname = names.split(",")[0].removeprefix("hostname: ")
            assert backend.names == [hostname]  # one handshake: the connection is kept
            assert told(secured) == {
                "Accepted": ("True", "Accepted", ""),
                "ResolvedRefs": ("True", "ResolvedRefs", ""),
            }

    run(story)


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_a_server_that_is_not_is_asked_nothing(wrong: tuple[str, Callable[[], Issued], str], tmp_path: Path) -> None:
    names, issue, why = wrong

    async def story(secured: Secured) -> None:
        async with Backend(issue(), tmp_path) as backend:
            port = free_port()
            await secured.apply(*manifests(port, backend, f"{TRUSTED}, {names}"))
            secured.servers(web=backend.port)
            status, body = await asked(port)
            assert status == 502
            assert why in body
            assert backend.asked == []

    run(story)


def test_a_server_that_does_not_speak_tls_is_asked_nothing() -> None:
    heard: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def story(secured: Secured) -> None:
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        backend, port = Backend(), free_port()
        backend.port = server.sockets[0].getsockname()[1]
        await secured.apply(*manifests(port, backend, f"{TRUSTED}, hostname: web.x"))
        secured.servers(web=backend.port)
        status, body = await asked(port)
        assert status == 502
        assert "it does not speak TLS" in body
        assert heard == [b"\x16"]  # a handshake, and no request
        server.close()

    run(story)


def test_where_a_policy_can_not_be_followed_nothing_goes_out_in_the_clear() -> None:
    async def story(secured: Secured) -> None:
        async with Backend() as backend:
            port = free_port()
            nobody = "caCertificateRefs: [{group: '', kind: ConfigMap, name: nobody}], hostname: web.x"
            await secured.apply(*manifests(port, backend, nobody))
            secured.servers(web=backend.port)
            status, body = await asked(port)
            assert status == 502
            assert "ConfigMap default/nobody does not exist" in body
            assert backend.accepted == 0
            assert told(secured) == {
                "Accepted": ("False", "NoValidCACertificate", "ConfigMap default/nobody does not exist"),
                "ResolvedRefs": ("False", "InvalidCACertificateRef", "ConfigMap default/nobody does not exist"),
            }

    run(story)


def test_new_authorities_are_for_new_connections_at_once(tmp_path: Path) -> None:
    async def story(secured: Secured) -> None:
        async with Backend(CA.issue("web.x"), tmp_path) as backend:
            port = free_port()
            written = manifests(port, backend, f"{TRUSTED}, hostname: web.x")[:-1]
            await secured.apply(*written, bundle("ca", CA))
            secured.servers(web=backend.port)
            assert (await asked(port))[0] == 200
            await secured.apply(*written, bundle("ca", OTHERS))
            assert (await asked(port))[0] == 502  # the connection that is kept counts for nothing now
            await secured.apply(*written, bundle("ca", OTHERS, CA))
            assert (await asked(port))[0] == 200

    run(story)


def test_an_endpoint_that_is_trusted_takes_the_place_of_one_that_is_not(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"

    async def story(secured: Secured) -> None:
        async with Backend(OTHERS.issue("web.x"), bad) as wrong, Backend(CA.issue("web.x"), good) as right:
            port = free_port()
            await secured.apply(*manifests(port, right, f"{TRUSTED}, hostname: web.x"))
            secured.servers(web=[wrong.port, right.port])
            for _ in range(64):  # equals are drawn: sooner or later the wrong one is tried first
                client = Client(*await asyncio.open_connection("127.0.0.1", port))
                status, _, _ = await client.get("gw.x", "/", body=b"even what may not be done twice")
                assert status == 200
                await client.close()
                if wrong.names:
                    break
            assert wrong.names
            assert wrong.asked == []

    for directory in (bad, good):
        directory.mkdir()
    run(story)


def test_metrics_and_models_of_an_inference_pool_are_asked_for_by_tls(tmp_path: Path) -> None:
    pool = (
        "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: web}\nspec:\n"
        "  selector: {matchLabels: {app: web}}\n  targetPorts: [{number: 8000}]\n"
        "  endpointPickerRef: {name: epp, port: {number: 9002}}\n"
    )
    models = b'{"object": "list", "data": [{"id": "base", "object": "model"}]}'

    async def story(secured: Secured) -> None:
        async with Backend(CA.issue("web.x"), tmp_path, answer=models) as backend:
            port = free_port()
            group = "inference.networking.k8s.io"
            await secured.apply(
                gateway(LISTENER.format(port=port)),
                route("all", f"{{backendRefs: [{{name: web, group: {group}, kind: InferencePool}}]}}"),
                pool,
                policy("to-web", f"group: {group}, kind: InferencePool, name: web", f"{TRUSTED}, hostname: web.x"),
                bundle("ca", CA),
            )
            secured.servers(web=backend.port)
            view = lambda: secured.gateway.fleet.views["default/web"]  # noqa: E731
            await eventually(lambda: "base" in view().served)
            assert secured.gateway.trouble("default/web-rank-0") == ""
            assert {one[":line"] for one in backend.asked} == {"GET /metrics HTTP/1.1", "GET /v1/models HTTP/1.1"}
            assert (await asked(port, "/v1/models"))[0] == 200

    run(story)


def test_health_checks_of_the_endpoints_own_port_go_by_tls(tmp_path: Path) -> None:
    check = (
        "apiVersion: networking.gke.io/v1\nkind: HealthCheckPolicy\nmetadata: {name: check}\nspec:\n"
        "  targetRef: {group: '', kind: Service, name: web}\n"
        "  default: {config: {type: HTTPS, httpsHealthCheck: {requestPath: /health}}}\n"
    )

    async def story(secured: Secured) -> None:
        async with Backend(CA.issue("web.x"), tmp_path) as backend:
            port = free_port()
            await secured.apply(*manifests(port, backend, f"{TRUSTED}, hostname: web.x"), check)
            secured.servers(web=backend.port)
            await eventually(lambda: backend.asked)
            assert backend.asked[0][":line"] == "GET /health HTTP/1.1"
            assert backend.names == ["web.x"]

    run(story)
