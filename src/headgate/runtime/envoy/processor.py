"""Our processor: a gRPC server on a Unix socket, for Envoy alone."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from headgate.envoy.http2.call import Call, Method, Receiver
from headgate.envoy.http2.server import Server
from headgate.envoy.options import Options
from headgate.envoy.service import Service, Sites
from headgate.proxy.plane import Plane
from headgate.runtime.instance import reachable

_FRAME = 1 << 20  # bytes of a message that are no body


class Processor:
    """`hold` while Envoy does not know all endpoints that may be chosen, then `go_on`."""

    def __init__(self, plane: Plane, sites: Sites, path: Path, destinations: int) -> None:
        service = Service(plane, sites, Options(destinations=destinations, own=True), _mistaken)
        methods = {name: partial(self._call, method) for name, method in service.methods.items()}
        self._server = Server(methods, plane.bounds.body + _FRAME, plane.held, _mistaken)
        self._path = path
        self._holding = False
        self._held: list[_Held] = []

    async def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        with reachable(self._path) as path:
            await self._server.listen_at(path)

    def hold(self) -> None:
        self._holding = True

    def go_on(self) -> None:
        self._holding = False
        held, self._held = self._held, []
        for one in held:
            one.go_on()

    def _call(self, method: Method, call: Call) -> Receiver:
        if not self._holding:
            return method(call)
        self._held.append(_Held(method(call)))
        return self._held[-1]

    async def stop(self) -> None:
        await self._server.close()


class _Held(Receiver):
    """What comes is kept until it may go on."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._kept: list[Callable[[], None]] | None = []

    def go_on(self) -> None:
        kept, self._kept = self._kept or [], None
        for one in kept:
            one()

    def _do(self, one: Callable[[], None]) -> None:
        if self._kept is None:
            one()
        else:
            self._kept.append(one)

    def message(self, data: bytes) -> None:
        self._do(partial(self._receiver.message, data))

    def ended(self) -> None:
        self._do(self._receiver.ended)

    def gone(self) -> None:
        self._do(self._receiver.gone)


def _mistaken(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
