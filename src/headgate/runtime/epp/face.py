"""Where a processor meets proxies, probes and Prometheus; and how it leaves without losing a request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from headgate.envoy.health import Health
from headgate.envoy.http2.call import Method
from headgate.envoy.http2.server import Server as Grpc
from headgate.envoy.service import NAME
from headgate.proxy.held import Held
from headgate.runtime.epp.identity import Identity, Unfit
from headgate.runtime.server import Answer, Request, serve
from headgate.runtime.server import Server as Http
from headgate.runtime.sockets import why_not
from headgate.runtime.up import signals

_LOOK_S = 1.0  # for another certificate
_SMALL = 4 << 10  # bytes that a probe's question may have
_PROBES = 16 << 20  # bytes that all probes may hold

Handler = Callable[[Request], Answer | Awaitable[Answer]]


class Ports(Struct, frozen=True):
    """A port of 0 is none, but for gRPC's, which is any free one. `drain_s`: how long it goes on after SIGTERM.

    `shared`: other processes may listen at the same ports, but for that of the metrics.
    """

    address: str
    grpc: int
    health: int
    metrics: int
    drain_s: float
    follow_certificate: bool = True
    shared: bool = False


class Face:
    """Mutable. `stopping` is set once it wants no more; `ready` says whether it does before that.

    `identity` is None where it speaks no TLS; `limit`: bytes that a message may have, `held` counts those of all.
    """

    def __init__(
        self,
        ports: Ports,
        methods: Mapping[bytes, Method],
        limit: int,
        held: Held,
        ready: Callable[[], bool],
        page: Handler,
        identity: Identity | None,
        say: Callable[[str], None],
        mistaken: Callable[[str, Exception], None],
    ) -> None:
        self._ports = ports
        self._ready = ready
        self._page = page
        self._identity = identity
        self._say = say
        self._said = ""
        self.stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self.health = Health(("", "readiness", "inference-extension", NAME), self.ready)
        self._grpc = Grpc({**methods, **self.health.methods}, limit, held, mistaken)
        self._probed = Grpc(self.health.methods, _SMALL, Held(_PROBES), mistaken)
        self._metrics: Http | None = None

    def ready(self) -> bool:
        """Whether it wants requests."""
        return self._ready() and not self.stopping.is_set()

    @property
    def where(self) -> str:
        """In words."""
        ports = self._ports
        return f"{ports.address or '*'}:{self._grpc.port} ({'TLS' if self._identity is not None else 'no TLS'})"

    async def open(self) -> bool:
        """Whether all ports can be had; else it is said why not. From here on signals end it."""
        loop = asyncio.get_running_loop()
        for number in signals():
            loop.add_signal_handler(number, self._signalled)
        ports, address = self._ports, self._ports.address
        port, flag = ports.grpc, "grpc-port"
        try:
            context = None if self._identity is None else self._identity.context
            await self._grpc.listen(address, port, context, shared=ports.shared)
            if ports.health:
                port, flag = ports.health, "grpc-health-port"
                await self._probed.listen(address, port, shared=ports.shared)
            if ports.metrics:
                port, flag = ports.metrics, "metrics-port"
                self._metrics = await serve(self._page, host=address or None, port=port, server_name="headgate")
        except OSError as error:
            self._say(f"--{flag} {port} can't be had: {why_not(error, address or '*', port)}")
            return False
        if self._identity is not None and ports.follow_certificate:
            loop.call_later(_LOOK_S, self._follow_certificate, self._identity)
        return True

    def _follow_certificate(self, identity: Identity) -> None:
        try:
            if identity.reload():
                self._said = ""
                self._say("The certificate has changed: connections that are made from now on get the new one.")
        except Unfit as error:
            if str(error) != self._said:
                self._said = str(error)
                self._say(f"{error}; the one before stays.")
        asyncio.get_running_loop().call_later(_LOOK_S, self._follow_certificate, identity)

    def _signalled(self) -> None:
        if self.stopping.is_set():
            self._at_once.set()
            return
        self._say(f"Stopping: requests are served for {self._ports.drain_s:g} s more. Ctrl-C again stops at once.")
        self.stopping.set()
        self.health.changed()
        self._grpc.leave()

    async def drain(self) -> None:
        """Whoever has not heard yet that it wants no more may still come."""
        try:
            async with asyncio.timeout(self._ports.drain_s):
                await self._at_once.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        await self._grpc.close()
        await self._probed.close()
        if self._metrics is not None:
            await self._metrics.close(0)
