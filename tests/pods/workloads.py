"""Objects for these tests, and a way to wait for what should become true."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from headgate.api.gateway import LabelSelector
from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import (
    ConfigMap,
    Container,
    ContainerPort,
    HttpGet,
    Pod,
    PodSpec,
    PodTemplate,
    Probe,
    Workload,
)
from headgate.fleet.endpoint import Server
from headgate.runtime.pods import Options, PodRow, Pods

ON_HOST = {"headgate.dev/run": "host"}

# Serves /health on the Pod's address and port 8000; SIGTERM ends it after what it was asked is answered.
SERVER = """
import http.server, os, pathlib, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        bad = pathlib.Path(os.environ.get("BAD_WHILE", "/nonexistent")).exists()
        self.send_response(500 if bad and self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(os.environ.get("SAYS", "").encode())
    def log_message(self, *args):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer((os.environ["HEADGATE_POD_ADDRESS"], 8000), Handler).serve_forever()
"""


def container(code: str = SERVER, name: str = "main", **fields: object) -> Container:
    """A container that runs some Python, quickly started."""
    return Container(name=name, image="example.com/tool", command=(sys.executable, "-I", "-S", "-c", code), **fields)


def server(**fields: object) -> Container:
    fields.setdefault("readiness_probe", Probe(http_get=HttpGet(port="http", path="/health"), period_seconds=1))
    return container(ports=(ContainerPort(8000, "http"),), **fields)


def spec(*containers: Container, **fields: object) -> PodSpec:
    fields.setdefault("termination_grace_period_seconds", 5)
    return PodSpec(containers=containers or (server(),), **fields)


def pod(name: str = "p", of: PodSpec | None = None, annotations: dict[str, str] = ON_HOST, **meta: object) -> Pod:
    return Pod(Meta(name, annotations=annotations, **meta), of or spec())


def workload(replicas: int = 1, of: PodSpec | None = None, name: str = "web", **fields: object) -> Workload:
    fields.setdefault("kind", "Deployment")
    annotations = fields.pop("annotations", ON_HOST)
    template = PodTemplate({"app": name}, annotations, of or spec())
    selector = LabelSelector(match_labels={"app": name})
    return Workload(meta=Meta(name), selector=selector, template=template, replicas=replicas, **fields)


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(Meta(name), data)


class Running:
    """Pods that run, and all that they said."""

    def __init__(self, directory: Path, **options: object) -> None:
        options.setdefault("engine", "sim")
        options.setdefault("network", "127.78.0.0/24")
        self.said: list[str] = []
        self.seen: list[tuple[Server, ...]] = []
        self.directory = directory
        self.pods = Pods(Options(state_dir=str(directory), **options), self.said.append, self.seen.append)

    def apply(self, **kinds: object) -> None:
        self.pods.apply(Snapshot(**kinds))

    @property
    def rows(self) -> tuple[PodRow, ...]:
        return self.pods.rows()

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.seen[-1] if self.seen else ()

    @property
    def ready(self) -> int:
        return sum(server.ready for server in self.servers)

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait for it; say how things stand when it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join([*map(str, self.rows), *self.said])
            await asyncio.sleep(0.01)


@contextmanager
def no_process_left(directory: Path) -> Iterator[None]:
    """Every process that has to do with this directory is gone at the end."""
    yield
    wait_until(lambda: not processes(directory), 5)


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes(directory: Path) -> dict[int, str]:
    """pid → command line of the processes (this one left out) that work in this directory or write to it."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            places = os.readlink(entry / "cwd") + os.readlink(entry / "fd" / "1")
            if f"{directory}/" in places:
                found[int(entry.name)] = line
        except OSError:
            continue
    return found


def run(directory: Path, story: Callable[[Running], object], **options: object) -> Running:
    """Tell a story with Pods, and stop them however it ends: no process is left, ever."""
    running: list[Running] = []

    async def main() -> None:
        running.append(Running(directory, **options))
        try:
            await story(running[0])  # type: ignore[misc]
        finally:
            await running[0].pods.stop(2)

    with no_process_left(directory):
        uvloop.run(main())  # as `headgate up` does
    return running[0]
