"""Pools' standings, made anew whenever endpoints or loads change; what of them outlasts that is kept here."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from headgate.api.picker import FlowControl, Picking
from headgate.exchange.budget import Budget
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.latency import Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.fleet.slow_start import SlowStart
from headgate.flow.control import Control
from headgate.flow.discipline import DEFAULT as FLOW_DEFAULT
from headgate.flow.discipline import Discipline
from headgate.flow.discipline import configure as configure_flow
from headgate.flow.gauge import Bounds, Gauge
from headgate.pick.configure import configure
from headgate.pick.profile import DEFAULT, SERVICE, Profile
from headgate.pick.room import Room
from headgate.pick.standing import Standing
from headgate.plan.plan import Pool

_GROW_S = 0.25  # between two looks at those that have just begun to serve


class Standings:
    """Mutable. `grow(pool)` is called each 0.25 s while some have just begun to serve there: make it anew.

    `room` is that of each inference pool, `profile` what those pick by that say nothing of it; `queueing`: requests
    queue at those too. `share` is how many processes serve. `later` and `clock` as for a Fleet.
    """

    def __init__(
        self,
        ledger: Ledger,
        prefixes: PrefixIndex,
        grow: Callable[[str], None],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = monotonic,
        slow_start_s: float = 10.0,
        room: Room | None = None,
        profile: Profile = DEFAULT,
        queueing: bool = False,
        share: int = 1,
    ) -> None:
        self.controls: dict[str, Control] = {}  # by pool; where requests do not queue any more, it has nobody in it
        self._queueing = queueing
        self._share = share
        self._flows: dict[str, FlowControl | None] = {}  # what each control goes by
        self._ledger = ledger
        self._prefixes = prefixes
        self._grow = grow
        self._later = later
        self._clock = clock
        self._slow_start_s = slow_start_s
        self._room = room
        self._profile = profile
        self._budgets: dict[str, Budget] = {}
        self._slow_starts: dict[str, SlowStart] = {}
        self._growing: set[str] = set()
        self._profiles: dict[str, tuple[Picking, Profile]] = {}  # of pools that have one of their own
        self._latencies: dict[str, Latency] = {}  # of pools that predict

    def make(self, pool: Pool, endpoints: Sequence[Endpoint], loads: Mapping[str, Load]) -> Standing:
        serving = [one.name for one in endpoints if one.ready and not one.draining and not one.ejected]
        slow_start = self._slow_starts.setdefault(pool.name, SlowStart(self._slow_start_s))
        young = slow_start.serve(serving, self._clock())
        if young:
            if not self._growing:
                self._later(_GROW_S, self._look)
            self._growing.add(pool.name)
        room = self._room if pool.kind == "inference" else None
        latency = None
        if self.profile(pool).foresight is not None:
            latency = self._latencies.setdefault(pool.name, Latency())
        standing = Standing(pool.name, endpoints, loads, self._ledger, self._prefixes, young, room, latency)
        control = self.controls.get(pool.name)
        if control is not None:
            control.watch(standing.endpoints, standing.loads, self._clock())
        return standing

    def profile(self, pool: Pool) -> Profile:
        """How it chooses; the same object for as long as it is written so, for much is remembered by it."""
        if pool.kind != "inference":
            return SERVICE
        if pool.picking is None:
            return self._profile
        known = self._profiles.get(pool.name)
        if known is None or known[0] != pool.picking:
            known = self._profiles[pool.name] = (pool.picking, configure(pool.picking))
        return known[1]

    def control(self, pool: Pool, standing: Standing) -> Control | None:
        """Its queues, None where requests do not queue. The same object for as long as there is such a pool."""
        picking, known = pool.picking, self.controls.get(pool.name)
        flow = picking.flow if picking is not None else None
        now = self._clock()
        if pool.kind != "inference" or (flow is None and not (self._queueing and picking is None)):
            if known is not None:
                known.disband(now)
                self._flows.pop(pool.name, None)
            return None
        detector = self.profile(pool).detector
        if known is None:
            bounds = Bounds() if self._room is None else Bounds(self._room.endpoint, self._room.pool)
            gauge = Gauge(detector, self._ledger, bounds)
            known = self.controls[pool.name] = Control(_discipline(flow), gauge, share=self._share)
        elif pool.name not in self._flows or self._flows[pool.name] != flow:
            known.configure(_discipline(flow), now)
        self._flows[pool.name] = flow
        known.gauge.aim(detector)
        known.priorities({0, *pool.objectives.values(), *(model.priority for model in pool.models.values())})
        known.watch(standing.endpoints, standing.loads, now)
        return known

    def _look(self) -> None:
        pools, self._growing = self._growing, set()
        for pool in pools:
            self._grow(pool)

    def budget(self, pool: str) -> Budget:
        """Of retries."""
        return self._budgets.setdefault(pool, Budget())

    def ended(self, requests: Mapping[str, int]) -> None:
        """So many requests of these pools have ended."""
        now = self._clock()
        for pool, count in requests.items():
            if pool in self._budgets:
                self._budgets[pool].ended(count, now)

    def forget(self, pool: str) -> None:
        """It is gone. Who waits there is told by whoever has put him there, and then it is forgotten for good."""
        for name in [name for name in self.controls if name not in self._flows and not self.controls[name].decided]:
            del self.controls[name]
        if pool in self.controls:
            self.controls[pool].disband(self._clock())
            self._flows.pop(pool, None)
        self._budgets.pop(pool, None)
        self._slow_starts.pop(pool, None)
        self._profiles.pop(pool, None)
        self._latencies.pop(pool, None)


def _discipline(flow: FlowControl | None) -> Discipline:
    return FLOW_DEFAULT if flow is None else configure_flow(flow)
