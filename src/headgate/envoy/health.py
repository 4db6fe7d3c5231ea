"""`grpc.health.v1.Health`, Check and Watch: whether this picker wants requests.

`liveness` is always there; what else is asked for serves while `ready()` says so. Messages are a field each, so they
are written out here. Source: grpc/health/v1/health.proto.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from grpc import aio

_CHECK, _WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
_SERVING, _NOT_SERVING, _UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
_LIVENESS = "liveness"


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """`services` are the names that are known besides `liveness`. Call `changed` when `ready` would say otherwise."""

    def __init__(self, services: tuple[str, ...], ready: Callable[[], bool]) -> None:
        self._services = frozenset(services)
        self._ready = ready
        self._news = asyncio.Event()
        self._check = grpc.unary_unary_rpc_method_handler(self._answer)
        self._watch = grpc.unary_stream_rpc_method_handler(self._follow)

    def service(self, details: Any) -> Any:
        return {_CHECK: self._check, _WATCH: self._watch}.get(details.method)

    def changed(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _status(self, service: str) -> bytes | None:
        """None for a name that is not known."""
        if service == _LIVENESS:
            return _SERVING
        if service not in self._services:
            return None
        return _SERVING if self._ready() else _NOT_SERVING

    async def _answer(self, request: bytes, context: Any) -> bytes:
        service = _service(request)
        status = self._status(service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {service!r} here")
            raise aio.AbortError
        return status

    async def _follow(self, request: bytes, context: Any) -> None:
        service, last = _service(request), b""
        while True:
            news = self._news
            status = self._status(service) or _UNKNOWN
            if status != last:
                last = status
                await context.write(status)
            await news.wait()


def _service(request: bytes) -> str:
    """HealthCheckRequest: the text of field 1, "" where it is not there."""
    if request[:1] != b"\x0a":
        return ""
    size, at, shift = 0, 1, 0
    while at < len(request):
        byte = request[at]
        size |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return request[at : at + size].decode("utf-8", "replace")
