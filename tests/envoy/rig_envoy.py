"""The native rig's pool and backends, reached through a real Envoy and our picker beside it.

async def scenario(rig):
    await rig.backend(ok)
    await rig.open(request="BUFFERED")
    assert (await rig.ask(CHAT)).status == 200

run(scenario)
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from proxied import Envoy, configuration, endpoints, free_port, original_dst, override_host, processor
from rig import Rig, eventually
from rig import run as run_native

from headgate.envoy.http2.server import Server as Grpc
from headgate.envoy.options import Options
from headgate.envoy.service import Service
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, Site
from headgate.plan.plan import Backend, Listener, Match, Route

_USUAL = Options()


class EnvoyRig(Rig):
    """`mistakes` are ours; there shall be none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mistakes: list[str] = []
        self.envoys: list[Envoy] = []
        self._directory = tempfile.TemporaryDirectory(prefix="envoy-")
        self.directory = Path(self._directory.name)

    async def start(self) -> None:
        self._before = asyncio.all_tasks()
        self.plane.start()
        self.see()

    def picker_site(self) -> Site:
        route = Route("picker", Match(), backends=(Backend("p"),))
        limits = Limits(tries=1, retry_codes=frozenset(), wait_s=self.wait_s, lists_models=False, needs_model=True)
        return Site(Router((Listener("picker", "ext_proc", 0, routes=(route,)),)), self.views, {}, lambda: 0.0, limits)

    async def picker(self, options: Options = _USUAL) -> int:
        """Starts one; its port."""
        site = self.picker_site()
        self.service = Service(
            self.plane, lambda name: site, options, lambda text, error: self.mistakes.append(f"{text}: {error!r}")
        )
        self.grpc = Grpc(self.service.methods, 64 << 20, self.plane.held, self.service.mistaken)
        await self.grpc.listen("127.0.0.1", 0)
        return self.grpc.port

    async def open(
        self,
        *,
        options: Options = _USUAL,
        topology: str = "original_dst",
        routes: list[dict[str, Any]] | None = None,
        before: list[dict[str, Any]] | None = None,
        served: bool = False,
        buffer: int = 0,
        **modes: Any,
    ) -> None:
        """From now on clients reach the backends through Envoy."""
        grpc = await self.picker(options)
        self.port = free_port()
        self.eds = self.directory / "eds.json"
        endpoints(self.eds, [backend.port for backend in self.backends])
        servers = original_dst() if topology == "original_dst" else override_host(self.eds)
        if served:
            modes["response_attributes"] = ["upstream.address"]
        config = configuration(
            self.port, [processor("epp", **modes)], {"epp": grpc}, servers, routes=routes, before=before
        )
        if buffer:
            config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = buffer
        envoy = Envoy(config, self.port, self.directory)
        await envoy.__aenter__()
        self.envoys.append(envoy)

    async def nothing_is_left(self) -> None:
        for envoy in self.envoys:
            await envoy.__aexit__()
        await eventually(lambda: not self.grpc.peers, "gRPC connections")
        await self.grpc.close()
        await super().nothing_is_left()
        assert self.mistakes == []

    async def stop(self) -> None:
        for envoy in self.envoys:
            await envoy.__aexit__()
        if hasattr(self, "grpc"):
            await self.grpc.close()
        self.plane.stop()
        for backend in self.backends:
            await backend.stop()
        self._directory.cleanup()


def run(scenario: Any, **options: Any) -> None:
    run_native(scenario, rig=EnvoyRig, **options)
