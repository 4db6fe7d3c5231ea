"""Model servers whose streams end when a test says so, and a `headgate gateway` in front of them."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from running import Running
from steady import dechunk
from written import GATEWAY, POOL, ROUTE, write

from headgate.runtime.server import Answer, Request, Stream, serve

_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: vllm}}
  annotations: {{headgate.dev/address: "127.0.0.1:{port}"}}
"""
_JSON = (("content-type", "application/json"),)
_EVENTS = (("content-type", "text/event-stream"),)
_DONE = b"data: [DONE]\n\n"


class Servers:
    """`count` servers on 127.0.0.1, run by a thread. A streaming request begins at once and ends after `release`.

    A plain one is answered at once with the model that the server `saw`. `models` is what they list.
    """

    def __init__(self, count: int) -> None:
        self.models = ["base"]
        self.ports: list[int] = []
        self.streams = [0] * count  # under way, by server
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._count = count

    def start(self) -> None:
        self._thread.start()
        for number in range(self._count):
            self.ports.append(asyncio.run_coroutine_threadsafe(self._serve(number), self._loop).result(10).port)

    async def _serve(self, number: int):  # type: ignore[no-untyped-def]
        return await serve(lambda request: self._answer(number, request), host="127.0.0.1", port=0)

    def stop(self) -> None:
        self.release()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def release(self) -> None:
        """Every stream ends; those to come are held again."""

        def release() -> None:
            self._released.set()
            self._released = asyncio.Event()

        self._loop.call_soon_threadsafe(release)

    def _answer(self, number: int, request: Request) -> Answer | Stream:
        if request.path == "/v1/models":
            return Answer(200, _JSON, json.dumps({"data": [{"id": model} for model in self.models]}).encode())
        if request.path == "/metrics":
            return Answer(200, (), b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")
        asked = json.loads(request.body)
        if asked.get("stream"):
            return Stream(200, _EVENTS, self._stream(number))
        return Answer(200, _JSON, json.dumps({"model": asked["model"], "saw": f"<{asked['model']}>"}).encode())

    async def _stream(self, number: int) -> AsyncIterator[bytes]:
        released = self._released
        self.streams[number] += 1
        try:
            yield b'data: {"choices": []}\n\n'
            await released.wait()
            yield _DONE
        finally:
            self.streams[number] -= 1


@contextmanager
def servers(count: int = 2) -> Iterator[Servers]:
    found = Servers(count)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def manifests(directory: Path, behind: Servers, **more: str) -> Path:
    """One gateway, one pool, these servers."""
    pods = {f"pod-{n}": _POD.format(name=f"pod-{n}", port=port) for n, port in enumerate(behind.ports)}
    write(directory, gateway=GATEWAY, route=ROUTE, pool=POOL, **pods, **more)
    return directory


class Gate(Running):
    """`headgate gateway --workers N`, and its processes."""

    def __init__(self, state: Path, paths: Path, workers: int, *args: str) -> None:
        super().__init__(state, paths, verb="gateway", args=("--workers", str(workers), *args))

    def workers(self) -> dict[int, int]:
        """Processes that serve: process id → its parent's, the fork server's."""
        return {pid: server for server in _children(self.process.pid) for pid in _children(server)}

    def metrics(self) -> defaultdict[str, float]:
        """The sum of each family's samples."""
        page = self.admin("/metrics").decode()
        found: defaultdict[str, float] = defaultdict(float)
        for line in page.splitlines():
            if not line.startswith("#"):
                name, value = line.partition("{")[0].split(" ")[0], line.rpartition(" ")[2]
                found[name] += float(value)
        return found


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []


class Connection:
    """A client's connection, with plain sockets: nothing is sent again behind the test's back."""

    def __init__(self, host: str, port: int = 8080) -> None:
        self.host, self.port = host, port

    async def open(self) -> "Connection":
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def ask(
        self, prompt: str = "Hi", *, model: str = "base", request_id: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        self.send(prompt, model=model, request_id=request_id)
        return await self.answer()

    def send(self, prompt: str = "Hi", *, model: str = "base", stream: bool = False, request_id: str = "") -> None:
        body = json.dumps({"model": model, "prompt": prompt, "stream": stream}).encode()
        own = f"x-request-id: {request_id}\r\n" if request_id else ""
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{own}"
        self.writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return int(lines[0].split(" ")[1]), headers

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        return status, headers, dechunk(await self.reader.readuntil(b"\r\n0\r\n\r\n"))

    async def stream(self) -> str:
        """Begin one that goes on until the server is released; the request's id."""
        self.send(stream=True)
        status, headers = await self.head()
        assert status == 200
        return headers["x-request-id"]

    async def cut(self) -> bool:
        """Whether the stream has ended before its end; False while it goes on."""
        try:
            return not await asyncio.wait_for(self.whole(), 0.3)
        except TimeoutError:
            return False

    async def whole(self) -> bool:
        """Whether the stream that was begun comes to its proper end."""
        try:
            data = await self.reader.readuntil(b"\r\n0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return _DONE in data

    def close(self) -> None:
        self.writer.close()


def worker_of(request_id: str) -> str:
    """Requests of one worker have ids that begin alike."""
    return request_id.partition("-")[0]
