"""WebSockets with a client and a server of their own, through a real gateway."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from planes import PLANES, flags
from running import Running
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from written import GATEWAY, write

_ROUTES = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: gw}]
  rules:
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
  name: talk
  labels: {{app: talk}}
  annotations: {{headgate.dev/address: "{address}:{port}"}}
"""
_TALK_PORT = 8103


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


@pytest.fixture(scope="module", params=PLANES)
def gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("clients")
    manifests = directory / "manifests"
    running = Running(directory, manifests, verb="gateway", args=("--access-log", "-", *flags(request.param)))
    address = f"{running.address.rsplit('.', 2)[0]}.253.1"
    pod = _POD.format(address=address, port=_TALK_PORT)
    write(manifests, gateway=GATEWAY, routes=_ROUTES, service=_SERVICE, pod=pod)
    talk = serve(_answer, address, _TALK_PORT, process_request=_admit, subprotocols=["chat"], max_size=None)  # type: ignore[list-item]
    thread = threading.Thread(target=talk.serve_forever)
    thread.start()
    try:
        with running:
            yield running
    finally:
        talk.shutdown()
        thread.join()


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


def test_closing_without_a_word_is_noticed(gate: Running) -> None:
    with _connect(gate, "/talk/silent") as client:
        client.socket.shutdown(2)
        with pytest.raises(ConnectionClosedError):
            client.recv(10)
    gate.until(lambda: any('"path":"/talk/silent"' in line for line in gate.output))
