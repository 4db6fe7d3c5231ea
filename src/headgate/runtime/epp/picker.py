"""A running endpoint picker: a pool from files or a cluster, and a proxy that asks about its endpoints."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic, time
from typing import IO, Any

from msgspec import Struct
from msgspec.structs import replace

from headgate.envoy.health import Health
from headgate.envoy.http2.server import Server as Grpc
from headgate.envoy.options import Options as Answering
from headgate.envoy.service import NAME, Service
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, Site
from headgate.fleet.endpoint import Server
from headgate.plan.plan import Backend, Listener, Match, Plan, Pool, Route
from headgate.runtime import gateway as gateways
from headgate.runtime.accesslog import AccessLog
from headgate.runtime.admin import Admin
from headgate.runtime.config import Reading, remarks
from headgate.runtime.epp.identity import Identity, Unfit
from headgate.runtime.epp.published import Published, Streams
from headgate.runtime.expected import expected_adapters
from headgate.runtime.front import Front
from headgate.runtime.gateway import Gateway
from headgate.runtime.mistakes import Mistakes
from headgate.runtime.policies import Policies
from headgate.runtime.presence import Presence
from headgate.runtime.rows import Seen
from headgate.runtime.server import Answer, Request, serve
from headgate.runtime.server import Server as Http
from headgate.runtime.sockets import why_not
from headgate.runtime.up import signals
from headgate.runtime.voice import Voice
from headgate.runtime.world import Made, World

_RETRY_S = 1.0
_LISTENER = "picker"

Handler = Callable[[Request], Answer | Awaitable[Answer]]


class Options(Struct, frozen=True):
    """`pool` is namespace/name, "" for the only one there is; `selected` stands for it where there is none.

    A port of 0 is none. `fails` where the pool is empty: the proxy is told UNAVAILABLE, as lwepp tells it.
    """

    pool: str
    selected: Pool | None
    directory: Path
    gateway: gateways.Options
    answering: Answering
    address: str = ""
    grpc_port: int = 9002
    health_port: int = 9003
    metrics_port: int = 9090
    drain_s: float = 30.0
    fails: bool = False
    follow_certificate: bool = True


class Picker:
    """`identity` is None where it speaks no TLS; `guarded` lets only those read the metrics who may."""

    def __init__(
        self,
        options: Options,
        world: Made,
        policies: Policies,
        voice: Voice,
        log: AccessLog | None,
        lock: IO[str],
        identity: Identity | None,
        guarded: Callable[[Handler], Handler] | None,
    ) -> None:
        self._options = options
        self._say = voice.say
        self._identity = identity
        self._guarded = guarded
        self._reading = Reading()
        self._said: set[str] = set()
        self._missed = ""  # the pool that is not there
        self._gateway = Gateway(options.gateway, self._say, log, policies=policies)
        assert isinstance(self._gateway.serving, Front)
        self._front = self._gateway.serving
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._world: World = world(self._say, self._changed.set, self._servers_changed)
        self._admin = Admin(self._seen, self.ready, policies)
        self._presence = Presence(options.directory, lock, self._admin, self._say, self._stopping.set)
        self._mistakes = Mistakes(options.directory, self._say)
        self._site: Site | None = None
        self._pool = ""
        self._streams = Streams(lambda: len(self._service.under_way))
        answering = replace(options.answering, decided=self._streams.decided, ended=self._streams.ended)
        self._service = Service(self._front.plane, self._site_of, answering, self._mistakes.note)
        self._health = Health(("", "readiness", "inference-extension", NAME), self.ready)
        fleet = self._gateway.fleet
        self._published = Published(fleet.views.values, fleet.ledger, self._service.records, self._streams)
        self._front.heard = self._published.count
        self._front.metrics.add(self._published.describe)
        body = options.gateway.bounds.body
        methods = {**self._service.methods, **self._health.methods}
        self.grpc = Grpc(methods, body + (1 << 20), self._mistakes.note)
        self._health_server = Grpc(self._health.methods, 1 << 20, self._mistakes.note)
        self._metrics: Http | None = None

    def ready(self) -> bool:
        """Whether it wants requests."""
        return self._site is not None and not self._stopping.is_set()

    async def run(self) -> int:
        """Exit status: 0 after a signal, 1 where it could not serve."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._mistakes)
        for number in signals():
            loop.add_signal_handler(number, self._signalled)
        works: list[asyncio.Task[Any]] = []
        try:
            if not await self._presence.enter(None, None, None):
                return 1
            await self._gateway.start()
            if not await self._listen():
                return 1
            if not await self._first():
                return 0 if self._stopping.is_set() else 1
            works = [loop.create_task(self._for_ever(work)) for work in (*self._world.works(), self._apply_changes)]
            self._say(f"{self._described()} {self._world.followed} Ctrl-C stops it.")
            await self._stopping.wait()
            await self._drain()
            return 0
        finally:
            for task in works:
                task.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await self.grpc.close()
            await self._health_server.close()
            if self._metrics is not None:
                await self._metrics.close(0)
            await self._gateway.stop(0.0)
            await self._world.stop(0.0)
            await self._presence.exit()

    def _described(self) -> str:
        options = self._options
        where = f"{options.address or '*'}:{self.grpc.port}"
        how = "TLS" if self._identity is not None else "no TLS"
        return f"Ready: endpoints of the pool {self._pool} are picked at {where} ({how})."

    # Where it listens.

    async def _listen(self) -> bool:
        options = self._options
        context = self._identity.context if self._identity is not None else None
        address = options.address
        port, flag = options.grpc_port, "grpc-port"
        try:
            await self.grpc.listen(address, port, context)
            if options.health_port:
                port, flag = options.health_port, "grpc-health-port"
                await self._health_server.listen(address, port)
            if options.metrics_port:
                port, flag = options.metrics_port, "metrics-port"
                handler: Handler = self._admin.handle_metrics
                if self._guarded is not None:
                    handler = self._guarded(handler)
                self._metrics = await serve(handler, host=address or None, port=port, server_name="headgate")
        except OSError as error:
            self._say(f"--{flag} {port} can't be had: {why_not(error, address or '*', port)}")
            return False
        return True

    # What is picked from.

    async def _first(self) -> bool:
        reading = asyncio.ensure_future(self._world.first())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            reading.cancel()
            return False
        self._take(reading.result())
        plan = self._plan(reading.result())
        if plan is None:
            return False
        await self._apply(reading.result(), plan)
        return True

    def _plan(self, reading: Reading) -> Plan | None:
        """The pool alone, and no listener. None, and said, where it can't be told which one is meant."""
        options, pools = self._options, reading.plan.pools
        if options.selected is not None:
            configs = reading.snapshot.picker_configs
            pool = options.selected
            if configs:
                pool = Pool(pool.name, pool.namespace, pool.selector, pool.ports, picking=configs[0].picking)
            return Plan((), {pool.name: pool}, reading.plan.base_models)
        wanted = options.pool
        if not wanted:
            names = [name for name, pool in pools.items() if pool.kind == "inference"]
            if len(names) != 1:
                there = f"are {len(names)} InferencePools ({', '.join(names)})" if names else "is no InferencePool"
                self._say(f"There {there}: write --pool-name NAME, or --endpoint-selector and --endpoint-target-ports.")
                return None
            wanted = names[0]
        self._pool = wanted
        found = pools.get(wanted)
        if found is None and self._missed != wanted:
            self._say(f"There is no InferencePool {wanted}; it is waited for.")
        self._missed = wanted if found is None else ""
        return Plan((), {} if found is None else {wanted: found}, reading.plan.base_models)

    def _take(self, reading: Reading) -> None:
        """It is the newest. Say what is new in it; what was said before is not said again."""
        self._reading = reading
        self._front.metrics.reloaded(len(reading.errors), time())
        lines = remarks(reading)
        for text in dict.fromkeys(lines):
            if text not in self._said:
                self._say(text)
        self._said = set(lines)

    async def _apply(self, reading: Reading, plan: Plan) -> None:
        await self._world.apply(reading)
        await self._gateway.apply(plan, expected_adapters(reading.snapshot, plan))
        self._world.applied(reading, self._gateway)
        await asyncio.sleep(0)  # servers that run already are told of one turn of the loop later
        self._pool = next(iter(plan.pools), self._pool)
        self._site = self._make_site(self._pool) if plan.pools else None
        self._health.changed()

    def _make_site(self, pool: str) -> Site:
        """A site remembers ways for as long as the plan is the same."""
        fleet, options = self._gateway.fleet, self._options.gateway
        route = Route(_LISTENER, Match(), backends=(Backend(pool),))
        limits = Limits(
            tries=1,  # the proxy tries again, not we
            retry_codes=frozenset(),
            wait_s=options.wait_s,
            debug_headers=options.debug_headers,
            lists_models=False,
            needs_model=True,
        )
        router = Router((Listener(_LISTENER, "ext_proc", 0, routes=(route,)),))
        return Site(router, fleet.views, fleet.base_models, random.random, limits, int(time()), time() - monotonic())

    def _site_of(self, _: str) -> Site | None:
        site = self._site
        if site is None or not self._options.fails:
            return site
        view = site.pools.get(self._pool)
        return site if view is not None and view.standing.endpoints else None

    async def _apply_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            before = self._reading
            reading = await self._world.read(before)
            self._take(reading)
            if reading.snapshot != before.snapshot:
                plan = self._plan(reading)
                if plan is not None:
                    await self._apply(reading, plan)

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        """What runs goes on, whatever is wrong with us."""
        while True:
            try:
                await work()
            except Exception as error:
                self._mistakes.note("while changes were followed", error)
                await asyncio.sleep(_RETRY_S)

    def _servers_changed(self, servers: Sequence[Server]) -> None:
        self._gateway.servers(servers)

    def _seen(self) -> Seen:
        return Seen(self._gateway, self._reading.statuses, self._world.rows())

    def follow_certificate(self) -> None:
        """Look for another one, now and again."""
        if self._identity is None or not self._options.follow_certificate:
            return
        try:
            if self._identity.reload():
                self._say("The certificate has changed: connections that are made from now on get the new one.")
        except Unfit as error:
            if str(error) not in self._said:
                self._said.add(str(error))
                self._say(f"{error}; the one before stays.")
        asyncio.get_running_loop().call_later(_RETRY_S, self.follow_certificate)

    # The end.

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._at_once.set()
            return
        seconds = self._options.drain_s
        self._say(f"Stopping: requests are served for {seconds:g} s more. Ctrl-C again stops at once.")
        self._stopping.set()
        self._health.changed()
        self.grpc.leave()

    async def _drain(self) -> None:
        """Whoever has not heard yet that it wants no more may still come."""
        try:
            async with asyncio.timeout(self._options.drain_s):
                await self._at_once.wait()
        except TimeoutError:
            return
