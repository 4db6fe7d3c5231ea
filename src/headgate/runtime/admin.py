"""The admin face: what `headgate get` and `headgate explain` ask, and the metrics. JSON over a unix socket."""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import msgspec

from headgate.runtime.rows import QUEUES, ROWS, Seen
from headgate.runtime.server import Answer, Request

_JSON = (("content-type", "application/json"),)
_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


class Admin:
    """`handle` for the unix socket, `handle_metrics` for the metrics port, which is for everybody who can reach it."""

    def __init__(self, seen: Callable[[], Seen], ready: Callable[[], bool]) -> None:
        self._seen = seen
        self._ready = ready

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        first, _, rest = request.path.strip("/").partition("/")
        if first == "get":
            if rest == QUEUES:
                return self._queues()
            if rest not in ROWS:
                return _unknown(f"there is no '{rest}' to get, but {', '.join((*ROWS, QUEUES))}")
            return _json(ROWS[rest](self._seen()))
        if first == "explain":
            return self._explain(unquote(rest), text=request.query == "text")
        if first == "requests":
            return self._requests()
        return self.handle_metrics(request)

    def handle_metrics(self, request: Request) -> Answer | Awaitable[Answer]:
        if request.path == "/metrics":
            return self._metrics()
        if request.path == "/healthz":
            return Answer(200, _TEXT, b"ok\n")
        if request.path == "/readyz":
            return Answer(200, _TEXT, b"ready\n") if self._ready() else Answer(503, _TEXT, b"not ready\n")
        return Answer(404, _TEXT, b"here are /metrics, /healthz and /readyz\n")

    async def _metrics(self) -> Answer:
        page = await self._seen().gateway.serving.page()
        return Answer(200, _PROMETHEUS, page.text().encode())

    async def _requests(self) -> Answer:
        return _json(await self._seen().gateway.serving.latest())

    async def _queues(self) -> Answer:
        return _json(await self._seen().gateway.serving.queues())

    async def _explain(self, request_id: str, *, text: bool) -> Answer:
        story = await self._seen().gateway.serving.explain(request_id, text=text)
        if story.body is None:
            return _unknown(
                f"no request '{request_id}' among the last {story.of}; its id is in the answer's x-request-id header"
            )
        return Answer(200, _TEXT if text else _JSON, story.body)


def _unknown(message: str) -> Answer:
    return Answer(404, _JSON, msgspec.json.encode({"error": message}))


def _json(value: object) -> Answer:
    return Answer(200, _JSON, msgspec.json.encode(value))
