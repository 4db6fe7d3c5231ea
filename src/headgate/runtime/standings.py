"""Pools' standings, made anew whenever endpoints or loads change; what of them outlasts that is kept here."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from headgate.api.picker import Picking
from headgate.exchange.budget import Budget
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.latency import Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.fleet.slow_start import SlowStart
from headgate.pick.configure import configure
from headgate.pick.profile import DEFAULT, SERVICE, Profile
from headgate.pick.room import Room
from headgate.pick.standing import Standing
from headgate.plan.plan import Pool

_GROW_S = 0.25  # between two looks at those that have just begun to serve


class Standings:
    """Mutable. `grow(pool)` is called each 0.25 s while some have just begun to serve there: make it anew.

    `room` is that of each inference pool, `profile` what those pick by that say nothing of it.
    `later` and `clock` as for a Fleet.
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
    ) -> None:
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
        return Standing(pool.name, endpoints, loads, self._ledger, self._prefixes, young, room, latency)

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
        """It is gone."""
        self._budgets.pop(pool, None)
        self._slow_starts.pop(pool, None)
        self._profiles.pop(pool, None)
        self._latencies.pop(pool, None)
