"""Our processor: a gRPC server on a Unix socket, for Envoy alone."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from grpc import aio

from headgate.envoy.options import Options
from headgate.envoy.service import Service, Sites
from headgate.proxy.plane import Plane
from headgate.runtime.instance import reachable

_ARGUMENTS = (
    ("grpc.max_receive_message_length", -1),  # Envoy's limit of a body comes first
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", 1 << 20),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
)


class Processor:
    """`settled` returns when Envoy knows all endpoints that may be chosen."""

    def __init__(
        self,
        plane: Plane,
        sites: Sites,
        path: Path,
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        self._service = _Settled(plane, sites, Options(names_models=True, names_routes=True), _mistaken, settled)
        self._path = path
        self._server: Any = None

    async def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        self._server = aio.server(options=_ARGUMENTS)
        self._server.add_generic_rpc_handlers((self._service,))
        with reachable(self._path) as path:
            self._server.add_insecure_port(f"unix:{path}")
            await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)


def _mistaken(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


class _Settled(Service):
    def __init__(self, *given: Any) -> None:
        *rest, self._settled = given
        super().__init__(*rest)

    async def _process(self, _: Any, context: Any) -> None:
        await self._settled()
        await super()._process(_, context)
