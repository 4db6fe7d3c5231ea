"""`headgate gateway --kubernetes`, a process of its own, before a small API server and model servers."""

import asyncio
import http.client
import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import applied as written
import outside
import pytest
from fake_api import FakeApi, kubeconfig, pod
from running import Running

from headgate.runtime.server import Answer, Request, serve

_JSON = (("content-type", "application/json"),)
_PLUGIN = """\
import json, os
assert json.loads(os.environ["KUBERNETES_EXEC_INFO"])["kind"] == "ExecCredential"
print(json.dumps({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
                  "status": {"token": "good"}}))
"""


class Town:
    """The API server, and model servers at addresses of their own, run by a thread."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.api.tokens = {"good"}
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._servers: dict[str, Any] = {}

    def __call__(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def open(self) -> None:
        self._thread.start()
        self(self.api.start())

    def close(self) -> None:
        self(self.api.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def server(self, address: str) -> None:
        """A model server there, at the port that the first one got."""
        found = self(serve(lambda request: _answer(address, request), host=address, port=self.port))
        self.port = found.port
        self._servers[address] = found


def _answer(address: str, request: Request) -> Answer:
    if request.path == "/v1/models":
        return Answer(200, _JSON, json.dumps({"data": [{"id": "base"}]}).encode())
    if request.path == "/metrics":
        return Answer(200, (), b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")
    return Answer(200, _JSON, json.dumps({"from": address}).encode())


class Gate(outside.Gate):
    def __init__(self, state: Path, args: tuple[str, ...]) -> None:
        Running.__init__(self, state, verb="gateway", args=args)


@pytest.fixture
def town() -> Iterator[Town]:
    found = Town()
    found.open()
    yield found
    found.close()


def _kubeconfig(directory: Path, url: str) -> Path:
    plugin = directory / "plugin.py"
    plugin.write_text(_PLUGIN)
    found = f"{{apiVersion: client.authentication.k8s.io/v1, command: {sys.executable}, args: [{plugin}]}}"
    return kubeconfig(directory, url, f"{{exec: {found}}}")


def _ask(address: str, port: int = 8080) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("POST", "/v1/completions", json.dumps({"model": "base", "prompt": "x"}))
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body)["from"] if answer.status == 200 else f"{answer.status}"
    finally:
        connection.close()


def _holds(condition: Callable[[], bool]) -> Callable[[], bool]:
    def holds() -> bool:
        try:
            return condition()
        except OSError:
            return False

    return holds


def test_a_gateway_serves_what_the_cluster_says_also_while_its_api_server_is_away(town: Town, tmp_path: Path) -> None:
    town.server("127.9.9.1")
    town.server("127.9.9.2")
    for one in (
        written.gateway_class(),
        written.gateway(),
        written.route(),
        written.pool(port=town.port),
        pod("a", address="127.9.9.1"),
    ):
        town(town.api.put(one))
    args = ("--kubernetes", "--kubeconfig", str(_kubeconfig(tmp_path, town.api.url)), "--access-log", "off")
    with Gate(tmp_path / "state", args) as gate:
        assert gate.process.poll() is None, gate.lines
        assert _ask(gate.address) == "127.9.9.1"
        assert [row["pod"] for row in gate.get("pods")] == ["default/a"]
        # A Pod comes, one goes: within a second.
        town(town.api.put(pod("b", address="127.9.9.2")))
        town(town.api.put(pod("a", address="127.9.9.1", deletionTimestamp="2026-01-01T00:00:00Z")))
        gate.until(lambda: _ask(gate.address) == "127.9.9.2", 1.0)
        # The API server is away, and everything goes on.
        town(town.api.stop())
        gate.until(lambda: gate.said("can't be followed"))
        assert gate.metrics()["headgate_kubernetes_collections_away"] > 0
        assert gate.metrics()["headgate_kubernetes_status_writes_total"] == 4
        assert _ask(gate.address) == "127.9.9.2"
        town(town.api.put(written.gateway("second", 8081)))
        town(town.api.put(written.route("second", "second")))
        town(town.api.start())
        gate.until(_holds(lambda: _ask(gate.address, 8081) == "127.9.9.2"), 40.0)
        assert _ask(gate.address) == "127.9.9.2"
        assert gate.stop() == 0
