"""KV cache between simulated servers: whether it is still there, who has pulled it, and who asks whom to prefill.

vLLM asks over ZeroMQ and pulls by NIXL, at the host and port that `kv_transfer_params` names. Simulators have nothing
to pull: they ask there by HTTP whether it could be, and say when it would have been. Only they understand each other.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from headgate.runtime.client import Answer, Client, ClientError
from headgate.runtime.server import Handler, Request
from headgate.sim import handover
from headgate.sim.handover import PREFILLER, Source
from headgate.sim.service import Service

_log = logging.getLogger(__name__)

_LONGEST_S = 600.0  # a prompt that takes longer to prefill has no client any more
_SPLIT = {"/v1/chat/completions": True, "/v1/completions": False}  # what a sidecar splits, and whether that is chat
_KEPT = ("authorization", "x-request-id")  # headers that both servers get


def side_channel(service: Service, now: "Clock", freed: Callable[[], None]) -> Handler:
    """What listens beside the API: GET asks for a request's blocks, which then stay, DELETE lets go of them."""

    def answer(request: Request) -> Answer:
        _, engine, name, *_ = (*request.path.split("/", 2), "", "")
        if request.method == "DELETE":
            service.give_up(engine, name, now())
            freed()
            return Answer(204, (), b"")
        tokens = service.promise(engine, name, now())
        if tokens is None:
            return Answer(404, (), b"")
        return Answer(200, (("content-type", "application/json"),), b'{"num_tokens": %d}' % tokens)

    return answer


class Clock:
    """Unix seconds of a loop."""

    def __init__(self, offset: float) -> None:
        self._loop, self.offset = asyncio.get_running_loop(), offset

    def __call__(self) -> float:
        return self._loop.time() + self.offset


class Peers:
    """The other servers, as one of them asks them."""

    def __init__(self) -> None:
        self._client = Client()
        self._telling: set[asyncio.Task[None]] = set()

    async def have(self, source: Source) -> bool:
        """Whether the blocks can be pulled; they stay until they are."""
        try:
            answer = await self._client.fetch("GET", source.host, source.port, _path(source))
        except ClientError as error:
            _log.warning("KV cache of %s at %s:%d: %s", source.request, source.host, source.port, error)
            return False
        if answer.status != 200:
            _log.warning("KV cache of %s at %s:%d: not there any more", source.request, source.host, source.port)
        return answer.status == 200

    def pulled(self, source: Source) -> None:
        """Nobody here needs them any more."""
        task = asyncio.get_running_loop().create_task(self._tell(source))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, source: Source) -> None:
        try:
            await self._client.fetch("DELETE", source.host, source.port, _path(source))
        except ClientError as error:  # it will let go of them by itself
            _log.warning("KV cache of %s at %s:%d: %s", source.request, source.host, source.port, error)

    async def prefilled(self, request: Request) -> Request | Answer:
        """The request for this server once another one has prefilled it, as its header says; or what that one refused
        it with. Where that one can't, this server computes the prompt itself.
        """
        where, chat = request.headers[PREFILLER], _SPLIT[request.path]
        content = _content(request.body)
        host, port = _place(where)
        if content is None or not port:
            return alone(request)
        headers = [("content-type", "application/json"), *((n, v) for n, v in request.headers.items() if n in _KEPT)]
        body = msgspec.json.encode(handover.to_prefill(content, chat))
        try:
            answer = await self._client.fetch(
                "POST", host, port, request.path, headers=headers, body=body, timeout=_LONGEST_S
            )
        except ClientError as error:
            _log.warning("prefill by %s: %s: the prompt is computed here", where, error)
            return alone(request)
        if 400 <= answer.status < 500:
            return Answer(
                answer.status, tuple([pair for pair in answer.headers if pair[0] == "content-type"]), answer.body
            )
        params = (_content(answer.body) or {}).get("kv_transfer_params")
        if answer.status != 200 or params is None:
            _log.warning("prefill by %s: %d, no kv_transfer_params: the prompt is computed here", where, answer.status)
            return alone(request)
        return msgspec.structs.replace(alone(request), body=msgspec.json.encode(handover.to_decode(content, params)))

    def close(self) -> None:
        self._client.close()


def splits(request: Request) -> bool:
    """Whether a routing sidecar would make two of it."""
    return PREFILLER in request.headers and request.method == "POST" and request.path in _SPLIT


def alone(request: Request) -> Request:
    """The same without the header that has another server prefill it."""
    return msgspec.structs.replace(
        request, headers={name: value for name, value in request.headers.items() if name != PREFILLER}
    )


def _path(source: Source) -> str:
    return f"/{quote(source.engine, safe='')}/{quote(source.request, safe='')}"


def _content(body: bytes) -> Mapping[str, object] | None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _place(text: str) -> tuple[str, int]:
    """Port 0 where it is none."""
    host, _, port = text.strip().rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() else 0
    return host.removeprefix("[").removesuffix("]"), number if 0 < number < 65536 and host else 0
