"""Active health checks, for pools that ask for them."""

from collections.abc import Callable, Iterable
from time import monotonic

from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import HealthCheck
from headgate.runtime.client import Client, ClientError
from headgate.runtime.rounds import AT_ONCE, Rounds

_STARTING_S = 1.0  # the longest pause between checks of an endpoint that was not healthy yet


class _Target:
    __slots__ = ("check", "due_at", "endpoint", "ever", "healthy", "row", "running")

    def __init__(self, endpoint: Endpoint, check: HealthCheck, due_at: float) -> None:
        self.endpoint = endpoint
        self.check = check
        self.due_at = due_at
        self.running = False
        self.healthy: bool | None = None  # None: no verdict yet
        self.ever = False  # it was healthy once
        self.row = 0  # results in a row that speak against the verdict


class Health:
    """Tells `on_change(endpoint name, healthy)` each verdict that differs from the one before.

    There is none before the first `healthy` successes or `unhealthy` failures in a row. The first time one success is
    enough, and checks come each second at least: an endpoint that starts has no relapse to fear. HTTP: GET `path`
    must answer 200 (GKE's HealthCheckPolicy), by TLS where the endpoint speaks it and this is its own port; TCP: a
    connection must be had.
    """

    def __init__(self, client: Client, on_change: Callable[[str, bool], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._targets: dict[str, _Target] = {}
        self._rounds = Rounds(self._tick)

    def start(self) -> None:
        """Begin; from inside the event loop."""
        self._rounds.start()

    async def stop(self) -> None:
        """Check nothing more."""
        await self._rounds.stop()

    def watch(self, checks: Iterable[tuple[Endpoint, HealthCheck]]) -> None:
        """These are all checks; of two for one endpoint the first. One that is new or differs starts over, at once."""
        before, self._targets = self._targets, {}
        for endpoint, check in checks:
            if endpoint.name in self._targets:
                continue
            target = before.get(endpoint.name)
            if target is None or _what(target.endpoint, target.check) != _what(endpoint, check):
                target = _Target(endpoint, check, monotonic())
            target.endpoint = endpoint
            self._targets[endpoint.name] = target
        self._rounds.soon()

    def _tick(self, now: float) -> float:
        next_at = now + 1.0
        for target in self._targets.values():
            if not target.running:
                if target.due_at <= now and self._rounds.begun < AT_ONCE:
                    self._begin(target, now)
                next_at = min(next_at, max(target.due_at, now + 0.05))
        return next_at

    def _begin(self, target: _Target, now: float) -> None:
        target.running = True
        interval = target.check.interval_s
        target.due_at = now + (interval if target.ever else min(interval, _STARTING_S))
        self._rounds.begin(self._turn(target))

    async def _turn(self, target: _Target) -> None:
        try:
            passed = await self._passes(target)
        finally:
            target.running = False
        if self._targets.get(target.endpoint.name) is target:
            self._count(target, passed)

    async def _passes(self, target: _Target) -> bool:
        endpoint, check = target.endpoint, target.check
        port = endpoint.mapped.get(check.port, check.port) if check.port else endpoint.port
        try:
            if check.tcp:
                await self._client.connect(endpoint.address, port, timeout=check.timeout_s)
                return True
            tls = endpoint.tls if port == endpoint.port else ""
            answer = await self._client.fetch(
                "GET", endpoint.address, port, check.path, tls=tls, timeout=check.timeout_s
            )
        except ClientError:
            return False
        return answer.status == 200

    def _count(self, target: _Target, passed: bool) -> None:
        if passed is target.healthy:
            target.row = 0
            return
        target.row += 1
        needed = target.check.unhealthy if not passed else target.check.healthy if target.ever else 1
        if target.row >= needed:
            target.healthy, target.row = passed, 0
            target.ever = target.ever or passed
            self._on_change(target.endpoint.name, passed)


def _what(endpoint: Endpoint, check: HealthCheck) -> tuple[str, int, HealthCheck]:
    return endpoint.address, endpoint.port, check
