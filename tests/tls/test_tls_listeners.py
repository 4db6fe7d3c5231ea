"""HTTPS listeners over real sockets: who is shown which certificate, who is let in, and what their requests get."""

import asyncio
import gc
import os
import socket
import ssl
from pathlib import Path

import pytest
from authority import DAY, NOW, Authority
from secured import (
    Backend,
    Client,
    Secured,
    bundle,
    eventually,
    gateway,
    route,
    run,
    secret,
    service,
    turned_away,
)

CA = Authority("the servers' authority")
STAFF = Authority("the staff's authority")
OTHERS = Authority("another authority")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def https(name: str, port: int, hostname: str, *secrets: str, more: str = "") -> str:
    refs = ", ".join(f"{{name: {one}}}" for one in secrets)
    host = f", hostname: '{hostname}'" if hostname else ""
    return f"name: {name}, port: {port}, protocol: HTTPS{host}, tls: {{certificateRefs: [{refs}]{more}}}"


def says(text: str) -> str:
    """A rule that answers by itself: a redirect whose Location names the route."""
    return f"{{filters: [{{type: RequestRedirect, requestRedirect: {{hostname: {text}}}}}]}}"


async def reached(client: Client, host: str) -> str:
    """The route that takes requests for the host, or the status where none does."""
    status, headers, _ = await client.get(host)
    return headers["location"].split("//")[1].split("/")[0].split(":")[0] if status == 302 else str(status)


def test_a_client_is_shown_the_certificate_of_the_listener_that_it_names() -> None:
    port = free_port()
    manifests = (
        gateway(
            https("exact", port, "a.example.com", "exact"),
            https("deep", port, "*.b.example.com", "deep"),
            https("wide", port, "*.example.com", "wide"),
        ),
        secret("exact", CA.issue("a.example.com")),
        secret("deep", CA.issue("*.b.example.com")),
        secret("wide", CA.issue("*.example.com")),
    )

    async def story(secured: Secured) -> None:
        await secured.apply(*manifests)
        for asked, shown in (
            ("a.example.com", ["a.example.com"]),
            ("x.b.example.com", ["*.b.example.com"]),
            ("c.example.com", ["*.example.com"]),
        ):
            client = await Client.connect(port, CA.client(), asked)
            assert client.names == shown
            assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            await client.close()
        for nobody in ("example.com", "other.org", None):
            assert await turned_away(port, CA.client(), nobody) == "TLSV1_UNRECOGNIZED_NAME"
        assert secured.plane.handshake_failures == {"unrecognized_name": 3}

    run(story)


def test_of_several_certificates_of_one_listener_the_one_for_the_name_is_shown() -> None:
    port = free_port()
    manifests = (
        gateway(https("all", port, "", "first", "wide", "exact")),
        secret("first", CA.issue("first.org")),
        secret("wide", CA.issue("*.example.com")),
        secret("exact", CA.issue("a.example.com", "b.example.com")),
    )

    async def story(secured: Secured) -> None:
        await secured.apply(*manifests)
        for asked, shown in (
            ("B.example.com", ["a.example.com", "b.example.com"]),
            ("c.example.com", ["*.example.com"]),
            ("first.org", ["first.org"]),
        ):
            client = await Client.connect(port, CA.client(), asked)
            assert client.names == shown
            await client.close()
        client = await Client.connect(port, CA.client(), None)
        assert client.names == ["first.org"]  # and a client that checks names would object
        await client.close()

    run(story)


# The table of the Gateway API's conformance test HTTPRouteHTTPSListenerDetectMisdirectedRequests.
MISDIRECTED = [
    ("example.org", "example.org", "one"),
    ("example.org", "second-example.org", "421"),
    ("example.org", "unknown-example.org", "404"),
    ("second-example.org", "second-example.org", "two"),
    ("second-example.org", "example.org", "421"),
    ("second-example.org", "unknown-example.org", "421"),
    ("third-example.wildcard.org", "third-example.wildcard.org", "three"),
    ("third-example.wildcard.org", "fith-example.wildcard.org", "three"),
    ("third-example.wildcard.org", "fourth-example.wildcard.org", "421"),
    ("third-example.wildcard.org", "second-example.org", "421"),
    ("third-example.wildcard.org", "unknown-example.org", "421"),
    ("fourth-example.wildcard.org", "fourth-example.wildcard.org", "four"),
    ("fourth-example.wildcard.org", "fith-example.wildcard.org", "421"),
    ("unknown-example.org", "example.org", "one"),
    ("unknown-example.org", "unknown-example.org", "404"),
]


def test_a_request_for_a_host_of_another_listener_gets_421_and_for_nobodys_404() -> None:
    port = free_port()
    names = ("example.org", "second-example.org", "*.wildcard.org", "unknown-example.org")
    manifests = (
        gateway(
            https("https", port, "", "cert"),
            https("second", port, "second-example.org", "cert"),
            https("wild", port, "*.wildcard.org", "cert"),
            https("fourth", port, "fourth-example.wildcard.org", "cert"),
        ),
        secret("cert", CA.issue(*names)),
        route("one", says("one"), hosts="example.org", section="https"),
        route("two", says("two"), section="second"),
        route("three", says("three"), section="wild"),
        route("four", says("four"), section="fourth"),
    )

    async def story(secured: Secured) -> None:
        await secured.apply(*manifests)
        found = []
        for asked, host, _ in MISDIRECTED:
            client = await Client.connect(port, CA.client(), asked)
            found.append((asked, host, await reached(client, host)))
            assert await reached(client, f"{asked.upper()}:{port}") in ("one", "two", "three", "four", "404")
            await client.close()
        assert found == MISDIRECTED
        overlapping = secured.listener("fourth")["OverlappingTLSConfig"]
        assert overlapping[:2] == ("True", "OverlappingHostnames")

    run(story)


def test_a_new_certificate_is_for_new_handshakes_and_what_is_open_lives_on() -> None:
    port = free_port()
    listening = gateway(https("https", port, "", "cert"))
    answers = route("one", says("one"))

    async def story(secured: Secured) -> None:
        await secured.apply(listening, secret("cert", CA.issue("a.x", "old.x")), answers)
        old = await Client.connect(port, CA.client(), "a.x")
        assert await reached(old, "a.x") == "one"
        await secured.apply(listening, secret("cert", OTHERS.issue("a.x", "new.x")), answers)
        new = await Client.connect(port, OTHERS.client(), "a.x")
        assert (old.names, new.names) == (["a.x", "old.x"], ["a.x", "new.x"])
        assert await turned_away(port, CA.client(), "a.x") == "CERTIFICATE_VERIFY_FAILED"
        for client in (old, new):
            assert await reached(client, "a.x") == "one"
            await client.close()

    run(story)


def test_a_certificate_that_breaks_leaves_the_one_before_in_force_and_the_status_says_so() -> None:
    port = free_port()
    listening = gateway(https("https", port, "", "cert"))
    good, other = CA.issue("a.x"), CA.issue("b.x")

    async def story(secured: Secured) -> None:
        await secured.apply(listening, secret("cert", good))
        await secured.apply(listening, secret("cert", good, key=other.key))
        assert secured.listener("https")["ResolvedRefs"] == (
            "False",
            "InvalidCertificateRef",
            "Secret default/cert: tls.key does not belong to tls.crt; the one that it was before is used on",
        )
        assert secured.listener("https")["Programmed"][0] == "True"
        for _ in range(2):
            client = await Client.connect(port, CA.client(), "a.x")
            assert client.names == ["a.x"]
            await client.close()
            await secured.apply(listening, secret("cert", good, key="nonsense"))
        await secured.apply(listening, secret("cert", other))
        assert secured.listener("https")["ResolvedRefs"][0] == "True"
        client = await Client.connect(port, CA.client(), "b.x")
        await client.close()

    run(story)


def test_a_listener_without_a_certificate_is_not_served_and_the_others_are() -> None:
    port, plain = free_port(), free_port()
    manifests = (
        gateway(
            https("good", port, "a.x", "cert"),
            https("missing", port, "b.x", "nobody"),
            https("mismatched", port, "c.x", "mismatched"),
            https("weak", port, "d.x", "weak"),
            https("half", port, "e.x", "nobody", "cert"),
            f"name: http, port: {plain}, protocol: HTTP",
        ),
        secret("cert", CA.issue("a.x", "e.x")),
        secret("mismatched", CA.issue("c.x"), key=CA.issue("c.x").key),
        secret("weak", CA.issue("d.x", passphrase=b"x")),
        route("one", says("one")),
    )

    async def story(secured: Secured) -> None:
        await secured.apply(*manifests)
        told = {name: secured.listener(name) for name in ("good", "missing", "mismatched", "weak", "half", "http")}
        assert {name: one["ResolvedRefs"][1] for name, one in told.items()} == {
            "good": "ResolvedRefs",
            "missing": "InvalidCertificateRef",
            "mismatched": "InvalidCertificateRef",
            "weak": "InvalidCertificateRef",
            "half": "InvalidCertificateRef",
            "http": "ResolvedRefs",
        }
        assert told["mismatched"]["ResolvedRefs"][2] == "Secret default/mismatched: tls.key does not belong to tls.crt"
        assert told["weak"]["ResolvedRefs"][2].endswith("tls.key is encrypted; write it without a passphrase")
        assert [name for name, one in told.items() if one["Programmed"][0] == "True"] == ["good", "half", "http"]
        for name in ("a.x", "e.x"):
            client = await Client.connect(port, CA.client(), name)
            assert await reached(client, name) == "one"
            await client.close()
        for name in ("b.x", "c.x", "d.x"):
            assert await turned_away(port, CA.client(), name) == "TLSV1_UNRECOGNIZED_NAME"

    run(story)


def test_a_certificate_that_has_expired_is_shown_and_told_of() -> None:
    port = free_port()
    expired = CA.issue("a.x", begins=NOW - 9 * DAY, ends=NOW - 2 * DAY)

    async def story(secured: Secured) -> None:
        await secured.apply(gateway(https("https", port, "", "cert")), secret("cert", expired))
        told = f"the certificate has expired on {NOW - 2 * DAY:%Y-%m-%d}"
        assert secured.listener("https")["ResolvedRefs"] == (
            "True",
            "ResolvedRefs",
            f"Secret default/cert: {told}",
        )
        (problem,) = secured.reading.problems
        assert problem.severity == "warning"
        assert str(problem).startswith(f"1.yaml:1: data[tls.crt]: {told}")
        context = CA.client()
        assert await turned_away(port, context, "a.x") == "CERTIFICATE_VERIFY_FAILED"
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = await Client.connect(port, context, "a.x")
        await client.close()

    run(story)


def test_a_port_may_change_from_http_to_https_and_is_there_all_the_time() -> None:
    port = free_port()
    answers, certificate = route("one", says("one")), secret("cert", CA.issue("a.x"))

    async def story(secured: Secured) -> None:
        await secured.apply(gateway(f"name: l, port: {port}, protocol: HTTP"), answers, certificate)
        binding = secured.gateway.sockets["127.0.0.1", port]
        plain = Client(*await asyncio.open_connection("127.0.0.1", port))
        assert await reached(plain, "a.x") == "one"
        await secured.apply(gateway(https("l", port, "", "cert")), answers, certificate)
        assert await plain.ended()
        client = await Client.connect(port, CA.client(), "a.x")
        assert await reached(client, "a.x") == "one"
        await secured.apply(gateway(f"name: l, port: {port}, protocol: HTTP"), answers, certificate)
        assert await client.ended()
        plain = Client(*await asyncio.open_connection("127.0.0.1", port))
        assert await reached(plain, "a.x") == "one"
        assert secured.gateway.sockets["127.0.0.1", port] is binding
        for one in (plain, client):
            await one.close()

    run(story)


def test_who_speaks_plain_http_to_tls_is_told_so_in_plain_http() -> None:
    port = free_port()

    async def story(secured: Secured) -> None:
        await secured.apply(gateway(https("https", port, "", "cert")), secret("cert", CA.issue("a.x")))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a.x\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"use https://" in answer
        writer.close()
        assert secured.plane.handshake_failures == {"http_request": 1}

    run(story)


@pytest.mark.parametrize("tls12", [False, True])
def test_a_client_must_show_a_certificate_where_the_port_wants_one(tmp_path: Path, tls12: bool) -> None:
    port, other = free_port(), free_port()
    staff = "validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: staff}]}"
    manifests = (
        gateway(
            https("https", port, "", "cert"),
            https("open", other, "", "cert"),
            tls=f"frontend: {{default: {{{staff}}}, perPort: [{{port: {other}, tls: {{}}}}]}}",
        ),
        secret("cert", CA.issue("a.x")),
        bundle("staff", STAFF),
        route("one", says("one")),
    )

    async def story(secured: Secured) -> None:
        await secured.apply(*manifests)
        known = CA.client(shown=STAFF.issue("alice"), at=tmp_path, tls12=tls12)
        stranger = CA.client(shown=OTHERS.issue("mallory"), at=tmp_path, tls12=tls12)
        client = await Client.connect(port, known, "a.x")
        assert await reached(client, "a.x") == "one"
        await client.close()
        needed = "SSLV3_ALERT_HANDSHAKE_FAILURE" if tls12 else "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        assert await turned_away(port, CA.client(tls12=tls12), "a.x") == needed
        assert await turned_away(port, stranger, "a.x") == "TLSV1_ALERT_UNKNOWN_CA"
        assert await turned_away(other, CA.client(tls12=tls12), "a.x") == ""
        failures = secured.plane.handshake_failures
        assert failures == {"peer_did_not_return_a_certificate": 1, "certificate_verify_failed": 1}

    run(story)


@pytest.mark.parametrize("tls12", [False, True])
def test_listeners_of_one_port_may_want_certificates_of_different_authorities(tmp_path: Path, tls12: bool) -> None:
    """By the place that the API had until v1.3, where that is up to each listener; sessions are not shared either."""
    port = free_port()

    def wants(name: str) -> str:
        return f", frontendValidation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: {name}}}]}}"

    manifests = (
        gateway(
            https("staff", port, "staff.x", "cert", more=wants("staff")),
            https("others", port, "others.x", "cert", more=wants("others")),
            https("open", port, "open.x", "cert"),
        ),
        secret("cert", CA.issue("staff.x", "others.x", "open.x")),
        bundle("staff", STAFF),
        bundle("others", OTHERS),
        route("one", says("one")),
    )
    alice = STAFF.issue("alice")

    def resumed(name: str, session: ssl.SSLSession | None, context: ssl.SSLContext) -> tuple[str, bool, object]:
        """What comes of a request, whether the session was resumed, and the session for next time."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            try:
                with context.wrap_socket(raw, server_hostname=name, session=session) as secured:
                    secured.sendall(b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % name.encode())
                    return secured.recv(12).decode(), bool(secured.session_reused), secured.session
            except (ssl.SSLError, ConnectionError) as error:
                return type(error).__name__, False, None

    async def story(secured: Secured) -> None:
        await secured.apply(*manifests)
        context = CA.client(shown=alice, at=tmp_path, tls12=tls12)
        answer, _, session = await asyncio.to_thread(resumed, "staff.x", None, context)
        assert answer == "HTTP/1.1 302"
        answer, again, _ = await asyncio.to_thread(resumed, "staff.x", session, context)
        assert (answer, again) == ("HTTP/1.1 302", True)
        answer, again, _ = await asyncio.to_thread(resumed, "others.x", session, context)
        assert (answer, again) == ("SSLError", False)
        answer, again, _ = await asyncio.to_thread(resumed, "open.x", session, context)
        assert (answer, again) == ("HTTP/1.1 302", False)
        client = await Client.connect(port, CA.client(tls12=tls12), "open.x")
        assert await reached(client, "open.x") == "one"
        assert await reached(client, "staff.x") == "421"  # not let in by the back door
        await client.close()

    run(story)


def test_clients_that_would_not_be_let_in_any_more_are_let_go(tmp_path: Path) -> None:
    port = free_port()
    certificate = secret("cert", CA.issue("a.x"))
    answers = route("one", says("one"))

    def wanting(name: str) -> str:
        refs = f"caCertificateRefs: [{{group: '', kind: ConfigMap, name: {name}}}]"
        return gateway(https("https", port, "", "cert"), tls=f"frontend: {{default: {{validation: {{{refs}}}}}}}")

    async def story(secured: Secured) -> None:
        await secured.apply(gateway(https("https", port, "", "cert")), certificate, answers)
        anybody = await Client.connect(port, CA.client(), "a.x")
        assert await reached(anybody, "a.x") == "one"
        both = (bundle("staff", STAFF), bundle("others", OTHERS))
        await secured.apply(wanting("staff"), certificate, answers, *both)
        assert await anybody.ended()
        alice = await Client.connect(port, CA.client(shown=STAFF.issue("alice"), at=tmp_path), "a.x")
        assert await reached(alice, "a.x") == "one"
        await secured.apply(wanting("staff"), secret("cert", CA.issue("a.x", "b.x")), answers, *both)
        assert await reached(alice, "a.x") == "one"
        await secured.apply(wanting("others"), certificate, answers, *both)
        assert await alice.ended()
        for client in (anybody, alice):
            await client.close()

    run(story)


def test_a_listener_whose_authorities_are_all_missing_lets_nobody_in() -> None:
    port, other = free_port(), free_port()
    refs = "caCertificateRefs: [{group: '', kind: ConfigMap, name: nobody}]"

    async def story(secured: Secured) -> None:
        await secured.apply(
            gateway(
                https("https", port, "", "cert"),
                f"name: http, port: {other}, protocol: HTTP",
                tls=f"frontend: {{default: {{validation: {{{refs}}}}}}}",
            ),
            secret("cert", CA.issue("a.x")),
        )
        told = secured.listener("https")
        assert told["Accepted"][:2] == ("False", "NoValidCACertificate")
        assert told["ResolvedRefs"][:2] == ("False", "InvalidCACertificateRef")
        assert told["Programmed"][0] == "False"
        assert secured.listener("http")["Programmed"][0] == "True"
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await Client.connect(port, CA.client(), "a.x")

    run(story)


def test_by_allow_insecure_fallback_everybody_is_let_in(tmp_path: Path) -> None:
    port = free_port()
    validation = "mode: AllowInsecureFallback, caCertificateRefs: [{group: '', kind: ConfigMap, name: staff}]"

    async def story(secured: Secured) -> None:
        await secured.apply(
            gateway(https("https", port, "", "cert"), tls=f"frontend: {{default: {{validation: {{{validation}}}}}}}"),
            secret("cert", CA.issue("a.x")),
            bundle("staff", STAFF),
            route("one", says("one")),
        )
        stranger = CA.client(shown=OTHERS.issue("mallory"), at=tmp_path)
        for context in (CA.client(), stranger):
            client = await Client.connect(port, context, "a.x")
            assert await reached(client, "a.x") == "one"
            await client.close()
        conditions = next(one for one in secured.statuses if one.kind == "Gateway").conditions
        assert ("InsecureFrontendValidationMode", "True") in [(one.type, one.status) for one in conditions]

    run(story)


def test_servers_are_told_that_it_was_https() -> None:
    port, plain = free_port(), free_port()

    async def story(secured: Secured) -> None:
        async with Backend() as backend:
            await secured.apply(
                gateway(https("https", port, "", "cert"), f"name: http, port: {plain}, protocol: HTTP"),
                secret("cert", CA.issue("a.x")),
                route("all", f"{{backendRefs: [{{name: web, port: {backend.port}}}]}}"),
                service("web", backend.port),
            )
            secured.servers(web=backend.port)
            client = await Client.connect(port, CA.client(), "a.x")
            status, _, body = await client.get("a.x", "/secure")
            assert (status, body) == (200, b"GET /secure HTTP/1.1")
            await client.close()
            in_the_clear = Client(*await asyncio.open_connection("127.0.0.1", plain))
            assert (await in_the_clear.get("a.x", "/plain"))[0] == 200
            await in_the_clear.close()
            assert [one["x-forwarded-proto"] for one in backend.asked] == ["https", "http"]

    run(story)


def test_a_redirect_to_https_leads_to_where_https_is_served() -> None:
    """Ports below 1024 are served at port + 8000: who came by such a port is sent to such a port."""
    address = f"127.{os.getpid() % 200 + 20}.7.1"
    to_https = "{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]}"

    async def story(secured: Secured) -> None:
        await secured.apply(
            gateway("name: http, port: 80, protocol: HTTP", https("https", 443, "*.x", "cert")),
            secret("cert", CA.issue("a.x")),
            route("up", to_https, section="http"),
            route("one", says("one"), section="https"),
        )
        reader, writer = await asyncio.open_connection(address, 8080)
        client = Client(reader, writer)
        for host, where in (
            ("a.x:8080", "https://a.x:8443/v1?q=1"),
            ("A.X:8080", "https://A.X:8443/v1?q=1"),
            ("a.x", "https://a.x/v1?q=1"),  # something before us maps the ports
            ("b.y:8080", "https://b.y/v1?q=1"),  # which nobody serves here
        ):
            status, headers, _ = await client.get(host, "/v1?q=1")
            assert (status, headers["location"]) == (301, where)
        await client.close()
        opening = asyncio.open_connection(address, 8443, ssl=CA.client(), server_hostname="a.x")
        client = Client(*await opening)
        assert await reached(client, "a.x:8443") == "one"
        await client.close()

    run(story, address=address)


# Those of the Gateway API's conformance test HTTPRouteRedirectPortAndScheme that go to an HTTPS listener.
REDIRECTS = {
    "/scheme-nil-and-port-nil": ("hostname: example.org", "https://example.org/scheme-nil-and-port-nil"),
    "/scheme-nil-and-port-443": ("port: 443", "https://example.org/scheme-nil-and-port-443"),
    "/scheme-nil-and-port-8443": ("port: 8443", "https://example.org:8443/scheme-nil-and-port-8443"),
    "/scheme-http-and-port-nil": ("scheme: http", "http://example.org/scheme-http-and-port-nil"),
    "/scheme-http-and-port-80": ("scheme: http, port: 80", "http://example.org/scheme-http-and-port-80"),
    "/scheme-http-and-port-8080": ("scheme: http, port: 8080", "http://example.org:8080/scheme-http-and-port-8080"),
}


def test_redirects_of_an_https_listener_stay_with_https_and_name_no_port_that_goes_without_saying() -> None:
    port = free_port()
    rules = [
        f"{{matches: [{{path: {{value: {path}}}}}],"
        f" filters: [{{type: RequestRedirect, requestRedirect: {{{redirect}}}}}]}}"
        for path, (redirect, _) in REDIRECTS.items()
    ]

    async def story(secured: Secured) -> None:
        await secured.apply(
            gateway(https("https", port, "", "cert")),
            secret("cert", CA.issue("example.org")),
            route("all", ", ".join(rules)),
        )
        client = await Client.connect(port, CA.client(), "example.org")
        for path, (_, where) in REDIRECTS.items():
            status, headers, _ = await client.get("example.org", path)
            assert (status, headers["location"]) == (302, where)
        await client.close()

    run(story)


def test_bodies_of_any_size_come_whole_in_both_directions() -> None:
    port = free_port()
    large = bytes(range(256)) * 12_000  # 3 MB: many records, and more than any buffer

    async def story(secured: Secured) -> None:
        async with Backend() as backend:
            await secured.apply(
                gateway(https("https", port, "", "cert")),
                secret("cert", CA.issue("a.x")),
                route("all", f"{{backendRefs: [{{name: web, port: {backend.port}}}]}}"),
                service("web", backend.port),
            )
            secured.servers(web=backend.port)
            client = await Client.connect(port, CA.client(), "a.x", limit=1 << 26)
            for size in (1, 16_384, 16_385, 100_000, len(large)):
                status, _, body = await client.get("a.x", "/echo", body=large[:size])
                assert status == 200
                assert body == large[:size]
            await client.close()

    run(story)


def test_a_client_that_reads_slowly_holds_up_its_server_and_not_the_gateways_memory() -> None:
    port = free_port()
    large = os.urandom(1 << 20) * 24

    async def story(secured: Secured) -> None:
        async with Backend(answer=large) as backend:
            await secured.apply(
                gateway(https("https", port, "", "cert")),
                secret("cert", CA.issue("a.x")),
                route("all", f"{{backendRefs: [{{name: web, port: {backend.port}}}]}}"),
                service("web", backend.port),
            )
            secured.servers(web=backend.port)
            client = await Client.connect(port, CA.client(), "a.x", limit=1 << 26)
            client.writer.transport.pause_reading()
            client.writer.write(b"GET / HTTP/1.1\r\nhost: a.x\r\n\r\n")
            (connection,) = secured.plane.connections
            transport = connection.transport  # type: ignore[attr-defined]
            await eventually(lambda: transport.get_write_buffer_size() > 0, "nothing was held")
            before = -1
            while before != (held := transport.get_write_buffer_size()):  # until it does not grow any more
                before = held
                await asyncio.sleep(0.2)
            assert held < len(large) // 4  # one turn's reading: the server is held up only when that is over
            client.writer.transport.resume_reading()
            _, _, body = await client.answer()
            assert body == large
            await client.close()

    run(story)


def test_an_answer_that_breaks_off_does_not_end_as_if_it_were_whole() -> None:
    """What only the end of the connection ends must not end with a close_notify."""
    port = free_port()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await asked.wait()
        writer.transport.abort()

    def ask() -> type[Exception] | None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with CA.client().wrap_socket(raw, server_hostname="a.x", suppress_ragged_eofs=False) as client:
            client.sendall(b"GET / HTTP/1.0\r\nhost: a.x\r\n\r\n")
            try:
                while client.recv(4096):
                    loop.call_soon_threadsafe(asked.set)
            except (ConnectionError, ssl.SSLError) as error:
                return type(error)
        return None

    async def story(secured: Secured) -> None:
        nonlocal loop, asked
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(half, "127.0.0.1", 0)
        backend = server.sockets[0].getsockname()[1]
        await secured.apply(
            gateway(https("https", port, "", "cert")),
            secret("cert", CA.issue("a.x")),
            route("all", f"{{backendRefs: [{{name: web, port: {backend}}}]}}"),
            service("web", backend),
        )
        secured.servers(web=backend)
        assert await asyncio.to_thread(ask) in (ConnectionResetError, ssl.SSLEOFError)
        server.close()

    loop: asyncio.AbstractEventLoop
    asked: asyncio.Event
    run(story)


def test_a_handshake_that_is_not_finished_in_time_is_ended() -> None:
    port = free_port()

    async def story(secured: Secured) -> None:
        await secured.apply(gateway(https("https", port, "", "cert")), secret("cert", CA.issue("a.x")))
        for first in (b"", b"\x16\x03\x01\x02\x00\x01"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            assert await reader.read() == b""
            writer.close()
        assert secured.plane.handshake_failures == {"timeout": 2}

    run(story, handshake_s=0.2)


def test_a_thousand_handshakes_leave_nothing_behind() -> None:
    port = free_port()

    async def story(secured: Secured) -> None:
        await secured.apply(
            gateway(https("https", port, "", "cert")), secret("cert", CA.issue("a.x")), route("one", says("one"))
        )
        plane, context = secured.plane, CA.client()

        async def some(count: int) -> None:
            for _ in range(count):
                client = await Client.connect(port, context, "a.x")
                assert await reached(client, "a.x") == "one"
                await client.close()
            await eventually(lambda: not plane.connections)
            gc.collect()

        await some(100)  # OpenSSL and the allocator have taken what they keep
        files, objects, memory = len(os.listdir("/proc/self/fd")), len(gc.get_objects()), _resident()
        await some(1000)
        assert len(os.listdir("/proc/self/fd")) == files
        assert len(gc.get_objects()) - objects < 1000
        assert _resident() - memory < 4 << 20

    run(story)


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
