"""The gateway: sockets for the plan's listeners, a fleet behind them, who looks after it, and who serves."""

import asyncio
import socket
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from functools import partial
from time import time
from typing import Protocol

from msgspec.structs import replace

from headgate.exchange.edits import ServedAt
from headgate.exchange.site import Site
from headgate.fleet.endpoint import Server
from headgate.fleet.outliers import Ejection, EjectionRule
from headgate.pick.published import PROFILES
from headgate.pick.room import Room
from headgate.pick.shadow import Tally
from headgate.plan.plan import Listener, Plan
from headgate.plan.tls import Certificate
from headgate.runtime.accesslog import AccessLog, Line
from headgate.runtime.addresses import Assignment, Bound, assign
from headgate.runtime.client import Client
from headgate.runtime.contexts import Contexts
from headgate.runtime.exposition import Page
from headgate.runtime.fleet import Fleet
from headgate.runtime.front import Front, Options, Place, doors
from headgate.runtime.health import Health
from headgate.runtime.metrics import Metrics
from headgate.runtime.policies import Policies
from headgate.runtime.precise import Precise
from headgate.runtime.queueing import QueueRow
from headgate.runtime.recall import Story
from headgate.runtime.scrape import Scraper
from headgate.runtime.sockets import Binding, bind, why_not
from headgate.runtime.suppose import Other
from headgate.runtime.workers.publish import share
from headgate.runtime.workers.workers import Workers

__all__ = ["Gateway", "Options", "why_not"]

Inherited = MutableMapping[tuple[str, int], list[socket.socket]]

_NOTHING: Mapping[str, frozenset[str]] = {}


class Serving(Protocol):
    """Who takes requests: this process (`Front`), or others (`Workers`)."""

    @property
    def metrics(self) -> Metrics: ...
    @property
    def contexts(self) -> Contexts: ...  # in this process
    async def start(self) -> None: ...
    async def serve(self, places: Sequence[Place]) -> None: ...
    async def stop(self, grace: float, idle: float) -> None: ...
    def pool_changed(self, pool: str) -> None: ...
    def loads_changed(self, pool: str) -> None: ...
    def failing_changed(self) -> None: ...
    async def explain(self, request_id: str, *, text: bool, other: Other | None = None) -> Story: ...
    async def latest(self) -> list[Line]: ...
    async def shadow(self) -> dict[str, Tally]: ...  # by pool
    async def queues(self) -> list[QueueRow]: ...
    async def page(self) -> Page: ...


class Gateway:
    """`say` gets a line for people whenever there is something that they should know; `log` is this process' own.

    `inherited`: listening sockets by address and port, to be used instead of new ones, and then taken out. `policies`
    are those in Python.
    """

    def __init__(
        self,
        options: Options,
        say: Callable[[str], None],
        log: AccessLog | None,
        inherited: Inherited | None = None,
        policies: Policies | None = None,
    ) -> None:
        self.options = options
        self._inherited: Inherited = {} if inherited is None else inherited
        self.plan = Plan()
        self._expected = _NOTHING
        self.assigned = Assignment()
        self._told: tuple[str, ...] = ()  # what was said of it
        self.sockets: dict[tuple[str, int], Binding] = {}
        self.unbound: dict[tuple[str, int], str] = {}  # sockets that could not be had, and why
        self._say = say
        self._started = int(time())
        later = asyncio.get_running_loop().call_later
        changed, loaded, wanted = self._pool_changed, self._loads_changed, self._ask_for_models
        rule, room = EjectionRule(options.eject_after), options.room if options.room != Room() else None
        make = partial(Fleet, changed, loaded, later, judged=self._judged, rule=rule)
        make = partial(make, slow_start_s=options.slow_start_s, room=room, profile=PROFILES[options.profile])
        policies = Policies(say) if policies is None else policies
        make = partial(make, queueing=options.flow_control)
        make = partial(make, shadow_share=options.shadow_share, functions=policies.functions())
        self.serving: Serving
        if options.envoy:
            from headgate.runtime.envoy.serving import EnvoyFront  # what it needs not everybody has installed

            self.fleet = make()
            one, shown = replace(options, workers=1), self.fleet.views.values
            front = Front(
                one, self.fleet, shown, self._certificates, log, wanted, say, self._started, policies=policies
            )
            self.serving = EnvoyFront(front, options, self.fleet, lambda: self.plan, say, self._started)
        elif options.workers == 1:
            self.fleet = make()
            shown = self.fleet.views.values
            started, certificates = self._started, self._certificates
            self.serving = Front(options, self.fleet, shown, certificates, log, wanted, say, started, policies=policies)
        else:
            shared = share(options.workers)
            self.fleet = make(ledger=shared.ledger, prefixes=shared.prefixes)
            self.serving = Workers(options, self.fleet, shared, self._certificates, say, wanted, self._started)
        self._client = Client(connect=self.serving.contexts.connect)
        self._scraper = Scraper(
            self._client,
            self.fleet.load,
            interval=options.scrape_s,
            busy=self.fleet.ledger.total,
            on_silence=self._silent,
        )
        self._health = Health(self._client, self.fleet.health)
        learn = None if isinstance(self.serving, Workers) else self.serving.learn
        self._precise = Precise(self.fleet, self._client, learn, say)
        self.serving.metrics.add(self._precise.describe)
        self._watching: asyncio.Handle | None = None

    async def start(self) -> None:
        await self.serving.start()
        self._scraper.start()
        self._health.start()

    async def apply(self, plan: Plan, expected: Mapping[str, frozenset[str]] = _NOTHING) -> None:
        """Do what the plan says, without disturbing what stays the same. `expected`: adapters to come, by pool."""
        use_contexts = await self.serving.contexts.ready(plan)
        self.plan, self._expected = plan, expected
        use_contexts()
        self.fleet.plan(plan, expected)
        self._watch()
        self.assigned = assign(
            plan.listeners,
            self.options.address,
            privileged=self.options.privileged_ports,
            before=self.assigned.addresses,
        )
        told = (*self.assigned.refused, *self.assigned.notes)
        for text in told:
            if text not in self._told:
                self._say(text)
        self._told = told
        await self._listen(self.assigned.sockets)

    def servers(self, servers: Sequence[Server]) -> None:
        """These are the servers that run now."""
        self.fleet.servers(servers)
        self._watch()

    async def stop(self, grace: float, idle: float = 0.0, *, left: bool = False) -> None:
        """Take nothing more, finish what runs within `grace` seconds, let go of everything, the log too.

        Connections without a request have `idle` seconds for their next one. `left`: another one has taken over, and
        listens on.
        """
        for binding in self.sockets.values():
            if left:
                binding.close()
            else:
                binding.end()
        await self.serving.stop(grace, idle)
        await self._scraper.stop()
        await self._health.stop()
        await self._precise.stop()
        self._client.close()

    async def _listen(self, bound: Sequence[Bound]) -> None:
        wanted = {(one.address, one.port) for one in bound}
        for key in self.sockets.keys() - wanted:
            self.sockets.pop(key).end()
        self.unbound = {key: why for key, why in self.unbound.items() if key in wanted}
        # Those that are served go first: no route may outlive the pools that it leads to.
        await self._serve()
        if await self._bind(bound):
            await self._serve()

    async def listen_again(self) -> None:
        """Try for the sockets that another process had."""
        if self.unbound and await self._bind(self.assigned.sockets):
            await self._serve()

    async def _serve(self) -> None:
        """Who serves does so as the plan says, wherever there are sockets."""
        await self.serving.serve([place for one in self.assigned.sockets if (place := self._place(one)) is not None])

    def _place(self, one: Bound) -> Place | None:
        """None where there is no socket."""
        binding = self.sockets.get((one.address, one.port))
        if binding is None:
            return None
        gateway = one.listeners[0].gateway
        served = [listener for listener in self.plan.listeners if listener.gateway == gateway]
        return Place(
            binding,
            one.listeners,
            tuple(ServedAt(listener.hostname, listener.port, self.place(listener)[1]) for listener in served),
        )

    async def _bind(self, bound: Sequence[Bound]) -> bool:
        """Whether there is a socket more than before."""
        count = len(self.sockets)
        for one in bound:
            key = one.address, one.port
            if key in self.sockets:
                continue
            gateway, place = one.listeners[0].gateway, _hostport(*key)
            try:
                had, alone = self._inherited.pop(key, ()), bool(self.options.envoy)
                self.sockets[key] = await bind(*key, 1 if alone else self.options.workers, had, listening=not alone)
            except OSError as error:
                why = why_not(error, *key)
                if self.unbound.get(key) != why:
                    self._say(f"Gateway {gateway} is not served at {place}: {why}. It is tried again each second.")
                self.unbound[key] = why
            else:
                if self.unbound.pop(key, None):
                    self._say(f"Gateway {gateway} is served at {place} now.")
        return len(self.sockets) > count

    def place(self, listener: Listener) -> tuple[str, int]:
        """The address and port where a listener is served, or would be; no address where none could be had."""
        address = self.assigned.addresses.get(listener.gateway, "")
        return address, self.assigned.ports.get((listener.gateway, listener.port), listener.port)

    def site(self, listener: Listener) -> Site | None:
        """What requests find where the listener is served; None where it is not."""
        key = self.place(listener)
        bound = next((one for one in self.assigned.sockets if (one.address, one.port) == key), None)
        place = self._place(bound) if bound is not None else None
        if place is None:
            return None
        behind = doors(self.options, self.fleet, place, self.serving.contexts, self._started)
        return next((door.site for door in behind if door.hostname in (listener.hostname, None)), None)

    def _certificates(self) -> list[Certificate]:
        return [one for listener in self.plan.listeners if listener.tls for one in listener.tls.certificates]

    def _pool_changed(self, pool: str) -> None:
        self._watch()
        self.serving.pool_changed(pool)

    def _loads_changed(self, pool: str) -> None:
        self.serving.loads_changed(pool)

    def _silent(self, endpoint: str, why: str) -> None:
        """It was asked how it is, and gave no answer."""
        self.fleet.judge.failed(endpoint, why, probe=True)
        self.serving.failing_changed()

    def _judged(self, endpoint: str, ejection: Ejection | None) -> None:
        if ejection is None:
            self._say(f"Endpoint {endpoint} serves again.")
            return
        self.serving.metrics.ejected(self.fleet.pools_of(endpoint))
        if ejection.number == 1:  # the next ones are no news
            lasts = ejection.until - ejection.at
            self._say(
                f"Endpoint {endpoint} has failed {self.options.eject_after} times in a row ({ejection.why}): while "
                f"others serve it gets no requests for {lasts:g} s, and longer each time that it fails again."
            )

    def trouble(self, endpoint: str) -> str:
        """What is wrong with an endpoint, as far as it can be seen from here; "" where nothing is."""
        return self.fleet.why_not(endpoint) or self._scraper.errors.get(endpoint, "")

    def _ask_for_models(self, pools: Collection[str]) -> None:
        """Requests wait for these: who may have loaded their models meanwhile, or have room now, is asked at once."""
        views = [view for name in pools if (view := self.fleet.views.get(name)) is not None]
        for view in views:
            names = [endpoint.name for endpoint in view.standing.endpoints]
            self._scraper.refresh(names, loads=view.control is not None)

    def _watch(self) -> None:
        """Soon, and once for all changes of this moment."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().call_soon(self._watch_now)

    def _watch_now(self) -> None:
        self._watching = None
        inference = self.fleet.endpoints(kind="inference")
        self._scraper.watch(endpoint for endpoint in inference.values() if endpoint.ready)
        self._precise.watch(self.plan, inference)
        self._health.watch(
            (endpoint, pool.health)
            for pool in self.plan.pools.values()
            if pool.health is not None and pool.name in self.fleet.views
            for endpoint in self.fleet.views[pool.name].standing.endpoints
        )


def _hostport(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
