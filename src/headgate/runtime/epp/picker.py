"""A running endpoint picker: a pool from files or a cluster, and a proxy that asks about its endpoints."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic, time
from typing import IO, Any

from msgspec import Struct
from msgspec.structs import replace

from headgate.envoy.options import Options as Answering
from headgate.envoy.service import Service
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, Site
from headgate.fleet.endpoint import Server
from headgate.plan.plan import Backend, Listener, Match, Plan, Pool, Route
from headgate.runtime import gateway as gateways
from headgate.runtime.accesslog import AccessLog
from headgate.runtime.admin import Admin
from headgate.runtime.config import Reading, remarks
from headgate.runtime.epp.face import Face, Handler, Ports
from headgate.runtime.epp.identity import Identity
from headgate.runtime.epp.published import Published, Streams
from headgate.runtime.expected import expected_adapters
from headgate.runtime.front import Front
from headgate.runtime.gateway import Gateway
from headgate.runtime.mistakes import Mistakes
from headgate.runtime.policies import Policies
from headgate.runtime.presence import Presence
from headgate.runtime.rows import Seen
from headgate.runtime.voice import Voice
from headgate.runtime.world import Made, World

_RETRY_S = 1.0
_MORE = 1 << 20  # bytes of a message besides the body
_LISTENER = "picker"


class Options(Struct, frozen=True):
    """`pool` is namespace/name, "" for the only one there is; `selected` stands for it where there is none.

    `fails` where the pool is empty: the proxy is told UNAVAILABLE, as lwepp tells it.
    """

    pool: str
    selected: Pool | None
    directory: Path
    gateway: gateways.Options
    answering: Answering
    ports: Ports
    fails: bool = False


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
        self._reading = Reading()
        self._said: set[str] = set()
        self._missed = ""  # the pool that is not there
        self._gateway = Gateway(options.gateway, self._say, log, policies=policies)
        assert isinstance(self._gateway.serving, Front)
        self._front = self._gateway.serving
        self._changed = asyncio.Event()
        self._world: World = world(self._say, self._changed.set, self._servers_changed)
        self._mistakes = Mistakes(options.directory, self._say)
        self._site: Site | None = None
        self._pool = ""
        self._streams = Streams(lambda: len(self._service.under_way))
        answering = replace(options.answering, decided=self._streams.decided, ended=self._streams.ended)
        self._service = Service(self._front.plane, self._site_of, answering, self._mistakes.note)
        fleet = self._gateway.fleet
        self._published = Published(fleet.views.values, fleet.ledger, self._service.records, self._streams)
        self._front.heard = self._published.count
        self._front.metrics.add(self._published.describe)
        admin = Admin(self._seen, self._ready, policies)
        self._presence = Presence(options.directory, lock, admin, self._say, lambda: None)
        page: Handler = admin.handle_metrics
        self._face = Face(
            options.ports,
            self._service.methods,
            options.gateway.bounds.body + _MORE,
            self._front.plane.held,
            lambda: self._site is not None,
            page if guarded is None else guarded(page),
            identity,
            self._say,
            self._mistakes.note,
        )

    def _ready(self) -> bool:
        return self._face.ready()

    async def run(self) -> int:
        """Exit status: 0 after a signal, 1 where it could not serve."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._mistakes)
        works: list[asyncio.Task[Any]] = []
        try:
            if not await self._presence.enter(None, None, None):
                return 1
            await self._gateway.start()
            if not await self._face.open():
                return 1
            if not await self._first():
                return 0 if self._face.stopping.is_set() else 1
            works = [loop.create_task(self._for_ever(work)) for work in (*self._world.works(), self._apply_changes)]
            picked = f"endpoints of the pool {self._pool} are picked at {self._face.where}"
            self._say(f"Ready: {picked}. {self._world.followed} Ctrl-C stops it.")
            await self._face.stopping.wait()
            await self._face.drain()
            return 0
        finally:
            for task in works:
                task.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await self._face.close()
            await self._gateway.stop(0.0)
            await self._world.stop(0.0)
            await self._presence.exit()

    # What is picked from.

    async def _first(self) -> bool:
        reading = asyncio.ensure_future(self._world.first())
        stopping = asyncio.ensure_future(self._face.stopping.wait())
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
        self._face.health.changed()

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
