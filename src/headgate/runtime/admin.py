"""The admin face: what `headgate get` and `headgate explain` ask, and the metrics. JSON over a unix socket."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote

import msgspec

from headgate.api.embedded import embedded
from headgate.api.fault import Fault, dotted
from headgate.api.meta import Where
from headgate.runtime import shadows
from headgate.runtime.policies import Policies
from headgate.runtime.probes import TEXT, exposed, probed
from headgate.runtime.rows import ASKED, QUEUES, ROWS, SHADOW, Seen
from headgate.runtime.server import Answer, Request
from headgate.runtime.suppose import Other

_JSON = (("content-type", "application/json"),)


class Admin:
    """`handle` for the unix socket, `handle_metrics` for the metrics port, which is for everybody who can reach it."""

    def __init__(self, seen: Callable[[], Seen], ready: Callable[[], bool], policies: Policies | None = None) -> None:
        self._seen = seen
        self._ready = ready
        self._policies = policies

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        first, _, rest = request.path.strip("/").partition("/")
        if first == "get":
            if rest == QUEUES:
                return self._queues()
            if rest == SHADOW:
                return self._shadow()
            if rest not in ROWS:
                return _unknown(f"there is no '{rest}' to get, but {', '.join((*ROWS, *ASKED))}")
            return _json(ROWS[rest](self._seen()))
        if first == "explain":
            return self._explain(unquote(rest), request)
        if first == "requests":
            return self._requests()
        return self.handle_metrics(request)

    def handle_metrics(self, request: Request) -> Answer | Awaitable[Answer]:
        if request.path == "/metrics":
            return self._metrics()
        return probed(request.path, ready=self._ready())

    async def _metrics(self) -> Answer:
        return exposed(await self._seen().gateway.serving.page())

    async def _other(self, body: bytes, asked: dict[str, list[str]]) -> Other | str:
        """The policy that is asked about, or what is wrong with it. Its modules are found from the `directory=`."""
        file, directory = (asked.get(name, [usual])[0] for name, usual in (("file", "config"), ("directory", ".")))
        picking, faults = embedded(body.decode("utf-8", "replace"), local=True)
        wrong = [_fault(file, one) for one in faults if one.severity == "error"]
        if picking is not None and self._policies is not None:  # in a thread: the requests must not wait for its code
            picking, problems, _ = await asyncio.to_thread(self._policies.attach, picking, Path(directory), Where(file))
            wrong += map(str, problems)
        return "\n".join(wrong) if picking is None or wrong else Other(file, picking)

    async def _shadow(self) -> Answer:
        return _json(shadows.rows(await self._seen().gateway.serving.shadow()))

    async def _requests(self) -> Answer:
        return _json(await self._seen().gateway.serving.latest())

    async def _queues(self) -> Answer:
        return _json(await self._seen().gateway.serving.queues())

    async def _explain(self, request_id: str, request: Request) -> Answer:
        """`?text` for people. A body is an EndpointPickerConfig of a `file=`: what would that have chosen?"""
        asked = parse_qs(request.query, keep_blank_values=True)
        text, other = "text" in asked, None
        if request.body:
            found = await self._other(request.body, asked)
            if isinstance(found, str):
                return Answer(422, _JSON, msgspec.json.encode({"error": found}))
            other = found
        story = await self._seen().gateway.serving.explain(request_id, text=text, other=other)
        if story.body is None:
            return _unknown(
                f"no request '{request_id}' among the last {story.of}; its id is in the answer's x-request-id header"
            )
        return Answer(200, TEXT if text else _JSON, story.body)


def _fault(file: str, fault: Fault) -> str:
    place = dotted(fault.path)
    return f"{file}:{fault.line}: {place + ': ' if place else ''}{fault.message}"


def _unknown(message: str) -> Answer:
    return Answer(404, _JSON, msgspec.json.encode({"error": message}))


def _json(value: object) -> Answer:
    return Answer(200, _JSON, msgspec.json.encode(value))
