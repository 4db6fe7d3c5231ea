"""A real `headgate gateway --kubernetes` before a real API server, and clients of it."""

import http.client
import json
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from running import Running

PORT = 8080  # where a listener of port 80 is served without privileges


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def gateway(account: Path, state: Path, *more: str) -> Running:
    """`account` is a kubeconfig."""
    words = ("--kubernetes", "--kubeconfig", str(account), "--access-log", "off", *more)
    return Running(state, verb="gateway", args=words)


def refusals(running: Running) -> list[str]:
    """What it complained of that it may not do."""
    return [line for line in running.lines if "forbidden" in line or "grant" in line]


def ask(address: str, body: dict[str, Any], path: str = "/v1/completions", port: int = PORT, **headers: str) -> Answer:
    """POST JSON on a connection of its own."""
    connection = http.client.HTTPConnection(address, port, timeout=20)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def status(address: str, model: str, port: int = PORT) -> int:
    """The status of a short request, 0 where nobody listens."""
    try:
        return ask(address, {"model": model, "prompt": "Hello", "max_tokens": 2}, port=port).status
    except OSError:
        return 0


class Traffic:
    """Clients that ask without pause for a model, as context manager; `statuses` counts what they got."""

    def __init__(self, address: str, model: str, clients: int = 4) -> None:
        self.statuses: dict[int, int] = {}
        self._ended = Event()
        self._threads = [Thread(target=self._run, args=(address, model), daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, address: str, model: str) -> None:
        while not self._ended.is_set():
            got = status(address, model)
            self.statuses[got] = self.statuses.get(got, 0) + 1
            self._ended.wait(0.005)
