"""Who takes requests where Envoy is the data plane: it, as its files say, and our processor, which it asks."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic

from msgspec.structs import replace

from headgate.envoy.render import Settings, Socket, render
from headgate.envoy.render.clusters import is_ip
from headgate.envoy.render.files import place
from headgate.envoy.render.settings import Data, place_name
from headgate.envoy.render.tls import secrets
from headgate.exchange.events import Forward
from headgate.exchange.site import PoolView, Site
from headgate.pick.shadow import Tally
from headgate.plan.plan import Plan
from headgate.runtime.accesslog import Line
from headgate.runtime.client import Client
from headgate.runtime.contexts import Contexts
from headgate.runtime.envoy.admin import Face
from headgate.runtime.envoy.child import Child
from headgate.runtime.envoy.processor import Processor
from headgate.runtime.envoy.served import Served
from headgate.runtime.envoy.sockets import asked_of, without_sending
from headgate.runtime.envoy.store import Store, write
from headgate.runtime.envoy.trust import trusted
from headgate.runtime.exposition import Page
from headgate.runtime.front import Front, Options, Place, Views, doors
from headgate.runtime.metrics import Metrics
from headgate.runtime.pods.process import Spawner
from headgate.runtime.queueing import QueueRow
from headgate.runtime.recall import Story
from headgate.runtime.suppose import Other

_LOOK_S = 0.002
_DRAIN_LOOK_S = 0.02
_TAKES_S = 2.0  # for Envoy to take what it is told; some of it, such as a port in use, it never takes


class EnvoyFront:
    """`front` is what requests have in common whoever moves their bytes: queues, metrics, memory of requests."""

    def __init__(
        self,
        front: Front,
        options: Options,
        fleet: Views,
        plan: Callable[[], Plan],
        say: Callable[[str], None],
        started: int,
    ) -> None:
        self._front = front
        self._options = options
        self._fleet = fleet
        self._plan = plan
        self._say = say
        self._started = started
        folder = Path(options.directory, "envoy")
        self._settings = settings(options, folder)
        self._store = Store(self._settings)
        self._client = Client()
        self._face = Face(self._client, folder / "admin")
        spawner = Spawner(sys.executable, folder / "spawner.log", f"envoy-{folder}")
        self._child = Child(argv(options, self._settings, folder), spawner, self._face, folder / "envoy.log", say)
        self._running = False
        self._sites: dict[str, Site] = {}
        where = folder / self._settings.processor
        self._processor = Processor(front.plane, self._sites.get, where, options.tries)
        self._served = Served(Path(self._settings.log), fleet.views, front.plane.done)
        self._places: Sequence[Place] = ()
        self._applying = asyncio.Lock()
        self._stale: set[str] = set()
        self._said: set[str] = set()  # of endpoints
        self._taking: asyncio.Task[None] | None = None

    @property
    def metrics(self) -> Metrics:
        return self._front.metrics

    @property
    def contexts(self) -> Contexts:
        return self._front.contexts

    async def start(self) -> None:
        await self._front.start()
        self._served.start()
        await self._processor.start()

    async def serve(self, places: Sequence[Place]) -> None:
        """These are all places to serve. What stays is not disturbed."""
        self._places = places
        async with self._applying:
            await self._apply(self._plan())
        if places and not self._running:
            self._running = True
            await self._child.start()

    async def _apply(self, plan: Plan) -> None:
        """No route leads to a cluster that is not there: clusters come before routes, and go after them."""
        sockets = tuple(map(_socket, self._places))
        for socket, place_ in zip(sockets, self._places, strict=True):
            asking = replace(place_, listeners=tuple(map(without_sending, place_.listeners)))
            behind = doors(self._options, self._fleet, asking, self.contexts, self._started)
            for door, listener in zip(behind, socket.listeners, strict=False):
                self._sites[place_name(socket, listener if listener.tls is not None else None)] = asked_of(door.site)
        views = self._fleet.views
        endpoints = {name: views[name].standing.endpoints for name in plan.pools if name in views}
        self._say_unplaced(plan.pools)
        files = render(plan, sockets, endpoints, self._settings)
        for name, content in secrets(plan).items():
            write(Path(self._settings.folder, name), content)
        first = {name: data for name, data in files.items() if name.startswith("endpoints/")}
        if self._store.put(first | {"clusters": self._with_old(files["clusters"])}):
            await self._taken()
        if self._store.put({name: data for name, data in files.items() if name != "clusters"}):
            await self._taken()
        self._store.put(files)
        self._store.keep(files)

    def _with_old(self, clusters: Data) -> Data:
        """With those that routes of before may still lead to."""
        before = self._store.told("clusters")
        new = {one["name"] for one in clusters["resources"]}
        kept = [one for one in before.get("resources", ()) if one["name"] not in new]
        return clusters | {"resources": [*clusters["resources"], *kept]} if kept else clusters

    async def _taken(self) -> None:
        """Until Envoy has taken what stands in the files."""
        if not self._running:
            return
        ends = monotonic() + _TAKES_S
        while not set(self._store.versions.values()) <= await self._face.versions():
            if monotonic() > ends:
                return
            await asyncio.sleep(_LOOK_S)

    # Endpoints.

    def pool_changed(self, pool: str) -> None:
        """Who waits for it may go once Envoy knows the endpoints, too."""
        self._stale.add(pool)
        self._processor.hold()
        if self._taking is None or self._taking.done():
            self._taking = asyncio.get_running_loop().create_task(self._take_endpoints())

    async def _take_endpoints(self) -> None:
        while self._stale:
            stale, self._stale = self._stale, set()
            async with self._applying:
                plan = self._plan()
                self._say_unplaced(stale)
                files = {}
                for name in stale:
                    view: PoolView | None = self._fleet.views.get(name)
                    if view is not None and name in plan.pools:
                        path, data = place(view.pool, view.standing.endpoints, self._settings)
                        files[path] = data
                if self._store.put(files):
                    await self._taken()
            for name in stale:
                self._front.pool_changed(name)
        self._processor.go_on()

    def _say_unplaced(self, pools: Iterable[str]) -> None:
        """Endpoints that Envoy can't be told of."""
        for view in (self._fleet.views[name] for name in pools if name in self._fleet.views):
            for one in view.standing.endpoints:
                if not is_ip(one.address) and one.name not in self._said:
                    self._said.add(one.name)
                    self._say(
                        f"Endpoint {one.name} is not served: its address {one.address} is a host name, and Envoy is "
                        "told addresses; write its IP address"
                    )

    def learn(self, sent: Callable[[Forward], None] | None) -> None:
        self._front.learn(sent)

    def loads_changed(self, pool: str) -> None:
        self._front.loads_changed(pool)

    def failing_changed(self) -> None:
        self._front.failing_changed()

    # The end.

    async def stop(self, grace: float, idle: float) -> None:
        ends = monotonic() + grace
        if self._running:
            await self._face.leave()
            await asyncio.sleep(min(idle, grace))
            while monotonic() < ends and await self._face.active():  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(_DRAIN_LOOK_S)
        if self._taking is not None:
            self._taking.cancel()
        await self._child.stop()
        self._served.stop()
        await self._processor.stop()
        await self._front.stop(0.0, 0.0)
        self._client.close()

    # What remains of requests.

    async def explain(self, request_id: str, *, text: bool, other: Other | None = None) -> Story:
        return await self._front.explain(request_id, text=text, other=other)

    async def latest(self) -> list[Line]:
        return await self._front.latest()

    async def shadow(self) -> dict[str, Tally]:
        return await self._front.shadow()

    async def queues(self) -> list[QueueRow]:
        return await self._front.queues()

    async def page(self) -> Page:
        return await self._front.page()


def settings(options: Options, folder: Path) -> Settings:
    bounds = options.bounds
    return Settings(
        folder=str(folder),
        form="json",
        log=str(folder / "served"),
        admin=("127.0.0.1", 0),
        body=bounds.body,
        head=bounds.head,
        headers=bounds.headers,
        connect_s=bounds.connect_s,
        first_byte_s=bounds.first_byte_s,
        silence_s=bounds.silence_s,
        request_s=options.request_s,
        tries=options.tries,
        eject_after=options.eject_after,
        connections=bounds.connections,
        authorities=trusted(),
    )


def argv(options: Options, settings: Settings, folder: Path) -> list[str]:
    return [
        options.envoy,
        *("-c", settings.path("bootstrap")),
        *("--concurrency", str(options.workers)),
        *("--log-level", "warning"),
        *("--admin-address-path", str(folder / "admin")),
        *("--file-flush-interval-msec", "50"),
        *("--drain-time-s", "5", "--drain-strategy", "immediate"),
        "--disable-hot-restart",
    ]


def _socket(one: Place) -> Socket:
    """The binding keeps the port ours; it does not listen."""
    addresses = [str(each.getsockname()[0]) for each in one.binding.sockets]
    return Socket(addresses[0], one.binding.port, tuple(one.listeners), one.served, tuple(addresses[1:]))
