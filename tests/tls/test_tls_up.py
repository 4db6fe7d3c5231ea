"""`headgate up` with HTTPS, as a user has it: the openai client, a redirect, a new certificate, no key on a screen."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority, Issued
from openai import DefaultHttpxClient, OpenAI
from running import Running
from secured import secret
from written import POOL, ROUTE, adapters, deployment, write

CA = Authority("ours")
HOST = "llm.example.com"
GATEWAY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: any
  listeners:
  - {name: http, protocol: HTTP, port: 80}
  - {name: https, protocol: HTTPS, port: 443, hostname: "*.example.com", tls: {certificateRefs: [{name: cert}]}}
"""
UP = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: up}
spec:
  parentRefs: [{name: gw, sectionName: http}]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 308}}]}]
"""


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("manifests")
    write(
        directory,
        gateway=GATEWAY,
        up=UP,
        route=ROUTE.replace("{name: gw}", "{name: gw, sectionName: https}"),
        pool=POOL,
        vllm=deployment(1),
        adapters=adapters("food-review"),
        cert=secret("cert", CA.issue(HOST)),
    )
    return directory


@pytest.fixture(
    scope="module", params=[("--workers", "1"), ("--workers", "2"), ("--data-plane", "envoy")], ids=" ".join
)
def gate(
    request: pytest.FixtureRequest, manifests: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    args = ("--sim-speed", "0", *request.param)
    with Running(tmp_path_factory.mktemp("state"), manifests, args=args) as running:
        # It is ready a while before its adapters are loaded where the machine is slow.
        running.until(lambda: "food-review" in {row["model"] for row in running.get("models")})
        yield running


@pytest.fixture
def resolved(gate: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a line in /etc/hosts would do."""
    ask = socket.getaddrinfo

    def answer(host: object, *more: object, **named: object) -> object:
        return ask(gate.address if host in (HOST, HOST.encode()) else host, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def client(port: int = 8443, scheme: str = "https") -> OpenAI:
    own = DefaultHttpxClient(verify=CA.client(), follow_redirects=True)
    url = f"{scheme}://{HOST}:{port}/v1"
    return OpenAI(base_url=url, api_key="none", max_retries=0, timeout=10, http_client=own)


def shown(gate: Running) -> ssl.SSLSocket:
    raw = socket.create_connection((gate.address, 8443), timeout=10)
    return CA.client().wrap_socket(raw, server_hostname=HOST)


@pytest.mark.usefixtures("resolved")
def test_the_openai_client_talks_and_streams_over_https_with_an_authority_of_its_own() -> None:
    with client() as found:
        assert [model.id for model in found.models.list()] == ["base", "food-review"]
        question = [{"role": "user", "content": "Hello"}]
        answer = found.chat.completions.create(model="food-review", messages=question)  # type: ignore[arg-type]
        assert answer.choices[0].message.content
        stream = found.chat.completions.create(model="base", messages=question, stream=True)  # type: ignore[call-overload]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.mark.usefixtures("resolved")
def test_who_comes_by_http_is_led_to_https_and_answered() -> None:
    with client(8080, "http") as found:
        answer = found.chat.completions.create(model="base", messages=[{"role": "user", "content": "Hello"}])
        assert answer.model == "base"


def test_get_shows_https(gate: Running) -> None:
    plain, secured = gate.get("gateways")
    assert (plain["url"], secured["url"]) == (f"http://{gate.address}:8080", f"https://{gate.address}:8443")
    assert secured["status"] == "Programmed"
    assert {row["url"] for row in gate.get("models")} == {secured["url"]}


def test_an_edit_of_the_secret_is_a_new_certificate_and_what_is_open_lives_on(gate: Running, manifests: Path) -> None:
    def fingerprint(connection: ssl.SSLSocket) -> bytes:
        found = connection.getpeercert(binary_form=True)
        assert found is not None
        return found

    def asks(connection: ssl.SSLSocket) -> bytes:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: %b\r\n\r\n" % HOST.encode())
        return connection.recv(15)

    before = shown(gate)
    assert asks(before) == b"HTTP/1.1 200 OK"
    next_one = CA.issue(HOST)
    write(manifests, cert=secret("cert", next_one))
    gate.until(lambda: gate.said("The change is in force"))
    with shown(gate) as after:
        assert fingerprint(after) != fingerprint(before)
        assert asks(after) == b"HTTP/1.1 200 OK"
    while before.recv(65536)[-2:] != b"]}":
        pass  # the rest of the first answer
    assert asks(before) == b"HTTP/1.1 200 OK"
    before.close()

    write(manifests, cert=secret("cert", next_one, key=CA.issue(HOST).key))
    gate.until(lambda: gate.said("tls.key does not belong to tls.crt; the one that it was before is used on"))
    with shown(gate) as still:
        assert fingerprint(still) == ssl.PEM_cert_to_DER_cert(next_one.chain)
    write(manifests, cert=secret("cert", next_one))


def test_no_verb_shows_a_key(gate: Running, manifests: Path, tmp_path: Path) -> None:
    secrets = [line for line in _key(manifests).splitlines() if not line.startswith("-----")]
    for words in (
        ("translate", str(manifests)),
        ("translate", str(manifests), "-o", "json"),
        ("check", str(manifests)),
        ("get",),
        ("get", "-o", "yaml"),
    ):
        said = gate.run(*words)
        assert said.returncode == 0, said.stderr
        assert not [line for line in secrets if line in said.stdout + said.stderr]
    told = json.loads(gate.run("translate", str(manifests), "-o", "json").stdout)
    (listener,) = [one for one in told["plan"]["listeners"] if one["name"] == "https"]
    (certificate,) = listener["tls"]["certificates"]
    assert (certificate["names"], certificate["pem"]) == ([HOST], "sealed")


def _key(manifests: Path) -> str:
    text = (manifests / "cert.yaml").read_text()
    found = text[text.index("-----BEGIN PRIVATE KEY-----") : text.index("-----END PRIVATE KEY-----")]
    return "\n".join(line.strip() for line in found.splitlines())


def test_check_tells_of_a_certificate_that_is_not_one_before_anything_runs(tmp_path: Path) -> None:
    good, other = CA.issue(HOST), CA.issue(HOST)
    write(tmp_path, gateway=GATEWAY, cert=secret("cert", Issued(good.chain, other.key, good.certificate)))
    said = subprocess.run(
        [sys.executable, "-m", "headgate", "check", str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert said.returncode == 1
    assert "Gateway default/gw listener https: ResolvedRefs is False: InvalidCertificateRef: " in said.stdout
    assert "tls.key does not belong to tls.crt" in said.stdout
