"""Our processor: a gRPC server on a Unix socket, for Envoy alone."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headgate.envoy.options import Options
from headgate.envoy.server import listen
from headgate.envoy.service import Service, Sites
from headgate.proxy.plane import Plane
from headgate.runtime.instance import reachable


class Processor:
    """`settled` returns when Envoy knows all endpoints that may be chosen."""

    def __init__(
        self,
        plane: Plane,
        sites: Sites,
        path: Path,
        settled: Callable[[], Awaitable[None]],
        destinations: int,
    ) -> None:
        options = Options(destinations=destinations, names_models=True, names_routes=True)
        self._service = _Settled(plane, sites, options, _mistaken, settled)
        self._path = path
        self._server: Any = None

    async def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        with reachable(self._path) as path:
            self._server, _ = await listen([self._service], f"unix:{path}")

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
