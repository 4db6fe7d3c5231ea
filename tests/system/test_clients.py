"""Clients as people use them, through a real gateway: WebSockets, and curl in its older and odder ways."""

import contextlib
import gzip
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from running import Running
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from written import GATEWAY, POOL, write

_ROUTES = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /v1}}]
    backendRefs: [{name: pool, group: inference.networking.k8s.io, kind: InferencePool}]
  - matches: [{path: {type: PathPrefix, value: /talk}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /inner}}}]
    backendRefs: [{name: talk, port: 80}]
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: talk}
spec:
  selector: {app: talk}
  ports: [{port: 80, targetPort: 8103}]
"""
_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {app}}}
  annotations: {{headgate.dev/address: "{address}:{port}"}}
"""
_MODEL_PORT, _TALK_PORT = 8102, 8103
CHAT = {"model": "base", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


def _answer(server: ServerConnection) -> None:
    """Says back what it hears; some words mean more."""
    for message in server:
        if message == "leave":
            server.close(1001, "going away")
        elif message == "path":
            assert server.request is not None
            server.send(server.request.path)
        else:
            server.send(message)


def _admit(server: ServerConnection, request: object) -> object:
    if "refused" in request.path:  # type: ignore[attr-defined]
        return server.respond(HTTPStatus.FORBIDDEN, "not you\n")
    return None


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("clients")
    manifests = directory / "manifests"
    running = Running(directory, manifests, verb="gateway", args=("--access-log", "-"))
    address = f"{running.address.rsplit('.', 2)[0]}.253.1"
    pods = {
        app: _POD.format(name=app, app=app, address=address, port=port)
        for app, port in (("vllm", _MODEL_PORT), ("talk", _TALK_PORT))
    }
    write(manifests, gateway=GATEWAY, routes=_ROUTES, pool=f"{POOL}---\n{_SERVICE}", **pods)
    command = [sys.executable, "-m", "headgate", "sim", "--model", "base", "--speed", "0"]
    silent = subprocess.DEVNULL
    model = subprocess.Popen([*command, "--host", address, "--port", str(_MODEL_PORT)], stdout=silent, stderr=silent)
    talk = serve(_answer, address, _TALK_PORT, process_request=_admit, subprotocols=["chat"], max_size=None)  # type: ignore[list-item]
    thread = threading.Thread(target=talk.serve_forever)
    thread.start()
    try:
        with running:
            yield running
    finally:
        talk.shutdown()
        thread.join()
        model.terminate()
        model.wait(10)


def _connect(gate: Running, path: str = "/talk/x?y=1", **more: object) -> ClientConnection:
    return connect(f"ws://{gate.address}:8080{path}", subprotocols=["chat"], **more)  # type: ignore


def test_a_websocket_says_back_what_it_hears(gate: Running) -> None:
    with _connect(gate, max_size=None) as client:
        assert client.subprotocol == "chat"
        for message in ("hello", "grüße 😀", b"\0\xff", "", "x" * 3_000_000, bytes(range(256)) * 4000):
            client.send(message)
            assert client.recv(10) == message
        assert client.ping().wait(10)
        client.send("path")
        assert client.recv(10) == "/inner/x?y=1"
    assert client.close_code == 1000
    gate.until(lambda: any('"path":"/talk/x"' in line for line in gate.output))
    line = next(json.loads(line) for line in gate.output if '"path":"/talk/x"' in line)
    assert (line["status"], line["endpoint"], line["error"]) == (101, "default/talk-rank-0", "")
    assert line["bytes_in"] > 1000
    assert line["bytes_out"] > 1000


def test_many_websockets_at_once(gate: Running) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_connect(gate)) for _ in range(50)]
        for number, client in enumerate(clients):
            client.send(str(number))
        assert [client.recv(10) for client in clients] == [str(number) for number in range(50)]


def test_a_server_that_leaves_says_why(gate: Running) -> None:
    with _connect(gate) as client:
        client.send("leave")
        with pytest.raises(Exception, match="going away"):
            client.recv(10)
        assert (client.close_code, client.close_reason) == (1001, "going away")


def test_a_websocket_that_the_server_refuses_is_refused(gate: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, _connect(gate, "/talk/refused"):
        pass
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"not you\n"


def test_a_websocket_that_no_route_takes_is_refused_by_the_gateway(gate: Running) -> None:
    with pytest.raises(InvalidStatus) as refused, _connect(gate, "/nowhere"):
        pass
    assert json.loads(refused.value.response.body)["error"]["message"].startswith("No route here takes GET /nowhere")


def curl(gate: Running, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    binary = shutil.which("curl")
    if binary is None:
        pytest.skip("install curl")
    url = f"http://{gate.address}:8080/v1/chat/completions"
    command = [binary, "-sS", "--max-time", "20", "-i", url, "-H", "content-type: application/json", *words]
    return subprocess.run(command, input=given, capture_output=True, check=True)


def content(done: subprocess.CompletedProcess[bytes]) -> str:
    head, _, body = done.stdout.rpartition(b"\r\n\r\n")
    assert b" 200 OK" in head, done.stdout
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize(
    "words", [("-d", json.dumps(CHAT)), ("-d", "@-"), ("-T", "-", "-X", "POST"), ("--http1.0", "-d", "@-")]
)
def test_curl_is_answered_however_it_sends(gate: Running, words: tuple[str, ...]) -> None:
    assert content(curl(gate, *words, given=json.dumps(CHAT).encode()))


def test_curl_waits_until_it_is_told_to_go_on(gate: Running) -> None:
    long = {**CHAT, "messages": [{"role": "user", "content": "word " * 400_000}], "user": "x"}
    words = ("-H", "expect: 100-continue", "--expect100-timeout", "15", "-d", "@-")
    done = curl(gate, *words, given=json.dumps(CHAT).encode())
    assert done.stdout.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 100 Continue" in curl(gate, *words, given=json.dumps(long).encode()).stdout


def test_curl_of_old_gets_a_stream_that_ends_with_the_connection(gate: Running) -> None:
    done = curl(gate, "--http1.0", "-d", json.dumps({**CHAT, "stream": True}))
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body.rstrip().endswith(b"data: [DONE]")


def test_curl_may_send_its_question_packed(gate: Running) -> None:
    packed = gzip.compress(json.dumps(CHAT).encode())
    words = ("-H", "content-encoding: gzip", "--data-binary", "@-")
    assert content(curl(gate, *words, given=packed)) == content(curl(gate, "-d", json.dumps(CHAT)))


def test_closing_without_a_word_is_noticed(gate: Running) -> None:
    with _connect(gate, "/talk/silent") as client:
        client.socket.shutdown(2)
        with pytest.raises(ConnectionClosedError):
            client.recv(10)
    gate.until(lambda: any('"path":"/talk/silent"' in line for line in gate.output))
