"""One run: a gateway, endpoints, clients and weather; then a calm in which everything must be as it was before."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from msgspec import Struct

from chaos.account import Account
from chaos.client import Client
from chaos.manifests import Manifests
from chaos.processes import Metrics, Process, fetch, resident_mb, sockets
from chaos.questions import KINDS, stream
from chaos.tokens import token
from chaos.weather import Endpoint, Weather

_ENDPOINTS = 4
_CALM_S = 20.0  # for what was under way to end
_GROWTH_MB = 32.0  # of the gateway's memory between a quarter of the time and the end


class Failed(Exception):
    """The run could not be made. The text is for people."""


class Settings(Struct, frozen=True):
    seconds: float
    seed: int
    clients: int
    rate: float  # requests per second in all, as far as the clients are not waiting for answers
    directory: Path
    gateway: tuple[str, ...]  # more words for `headgate gateway`
    block: str  # the first two numbers of the loopback addresses that the run may use


class Result(Struct):
    seconds: float
    seed: int
    requests: int
    outcomes: dict[str, int]
    statuses: dict[str, int]
    kinds: dict[str, int]
    events: dict[str, int]
    memory_mb: tuple[float, float]  # at a quarter of the time, and after the calm
    sockets: tuple[int, int]  # before the endpoints were started, and after they were stopped
    tasks: tuple[int, int]  # of the event loop, at the same moments
    violated: int
    violations: list[str]


class Run:
    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        """`tell` gets a line of progress now and then."""
        self._settings = settings
        self._tell = tell
        self._dice = random.Random(settings.seed)
        self.account = Account()
        self._host, self._metrics_port = f"{settings.block}.1.1", 9090
        addresses = [f"{settings.block}.2.{n + 1}:8000" for n in range(_ENDPOINTS)]
        self._manifests = Manifests(settings.directory / "manifests", addresses)
        self._endpoints = [
            Endpoint(f"endpoint {n}", address, settings.seed * 100 + n, self.account.heard_of_endpoint)
            for n, address in enumerate(addresses)
        ]
        words = ("-f", str(self._manifests.directory), "--address", self._host, "--wait", "2", "--grace", "20")
        watched = ("--metrics", f"{self._host}:{self._metrics_port}", "--access-log", "-")
        self._gateway = Process(
            *("headgate", "gateway", *words, *watched, *settings.gateway),
            heard=self.account.heard_of_gateway,
            env={"HEADGATE_STATE": str(settings.directory / "state")},
        )
        self._memory: list[tuple[float, float]] = []  # time since the beginning, MB

    async def run(self) -> Result:
        account, settings = self.account, self._settings
        weather = Weather(self._endpoints, self._manifests, self._dice)
        try:
            before = await self._start()
            clients = await self._storm(weather)
            await self._calm(clients)
            after = await self._ebb(before)
            await self._farewell()
        finally:
            for process in (self._gateway, *(one.process for one in self._endpoints if one.process is not None)):
                if process.status is None:
                    await process.kill()
        account.settle(all_of_them=True)
        self._agree(before, after)
        for text in weather.complaints:
            account.violate(text)
        return Result(
            settings.seconds,
            settings.seed,
            account.issued,
            dict(sorted(account.outcomes.items())),
            dict(sorted(account.statuses.items())),
            dict(sorted(account.kinds.items())),
            dict(sorted(weather.events.items())),
            (self._memory_at(0.25), self._memory[-1][1]),
            (before[0], after[0]),
            (before[1], after[1]),
            account.violated,
            account.violations,
        )

    # One part after the other.

    async def _start(self) -> tuple[int, int]:
        """Sockets and tasks of the gateway while it has neither endpoints nor clients."""
        await self._gateway.start()
        await self._until(lambda: any("Ready after" in line for line in self._gateway.said), "the gateway is ready", 30)
        before = await self._held()
        await asyncio.gather(*(one.start() for one in self._endpoints))
        await self._everything_works("at the beginning")
        return before

    async def _storm(self, weather: Weather) -> list[Client]:
        settings, account = self._settings, self.account
        rate = settings.rate / settings.clients
        clients = [
            Client(account, self._host, random.Random(self._dice.random()), rate) for _ in range(settings.clients)
        ]
        living = [asyncio.create_task(client.live()) for client in clients]
        blowing = asyncio.create_task(weather.blow())
        began, told = monotonic(), monotonic()
        while (passed := monotonic() - began) < settings.seconds:
            await asyncio.sleep(min(1.0, settings.seconds - passed))
            account.settle()
            if self._gateway.status is not None:
                account.violate(f"the gateway ended with status {self._gateway.status}")
                break
            self._memory.append((passed, resident_mb(self._gateway.pid)))
            if monotonic() - told > (10 if settings.seconds > 100 else 3):
                told = monotonic()
                self._tell(self._progress(passed, weather))
        for client in clients:
            client.stopping = True
        weather.stopping.set()
        await blowing
        await asyncio.gather(*living)
        return clients

    async def _calm(self, clients: list[Client]) -> None:
        """All is mended and nobody asks: nothing may be under way, and everything must work."""
        self._tell("calm: nothing may be under way, and everything must work")
        for client in clients:
            client.close()
        await self._nothing_under_way()
        await self._everything_works("in the calm")
        self._memory.append((float("inf"), resident_mb(self._gateway.pid)))

    async def _ebb(self, before: tuple[int, int]) -> tuple[int, int]:
        """Sockets and tasks once the endpoints are gone: as many as before they came."""
        await asyncio.gather(*(one.kill() for one in self._endpoints))
        deadline = monotonic() + _CALM_S
        while True:
            after = await self._held()
            if (after[0] <= before[0] and after[1] <= before[1]) or monotonic() > deadline:
                return after
            await asyncio.sleep(0.1)

    async def _farewell(self) -> None:
        """SIGTERM in the middle of streams: each of them is finished, and the gateway ends well."""
        self._tell("farewell: SIGTERM in the middle of streams")
        await asyncio.gather(*(one.start() for one in self._endpoints))
        await self._everything_works("before the end")
        await asyncio.gather(*(one.mood("slow") for one in self._endpoints))
        account = self.account
        entries = [account.issue() for _ in range(12)]
        streams = []
        for entry in entries:
            client = Client(account, self._host, random.Random(entry.number), 1.0)
            question = stream(token(entry.number), random.Random(entry.number))
            entry.kind = question.kind
            streams.append(asyncio.create_task(client.play([(entry, question)])))
        await self._until(lambda: all(entry.got or entry.outcome for entry in entries), "the streams are at endpoints")
        self._gateway.signal(signal.SIGTERM)
        await asyncio.gather(*streams)
        status = await asyncio.wait_for(self._gateway.ended(), 30)
        outcomes = Counter(entry.outcome for entry in entries)
        if status != 0 or set(outcomes) != {"answered"}:
            account.violate(f"after SIGTERM: exit status {status}, streams: {dict(outcomes)}")

    # What is looked at.

    async def _held(self) -> tuple[int, int]:
        page = await self._metrics()
        return sockets(self._gateway.pid), int(page.sum("headgate_tasks"))

    async def _metrics(self) -> Metrics:
        _, page = await fetch(self._host, self._metrics_port, "/metrics")
        return Metrics(page)

    async def _everything_works(self, when: str) -> None:
        """One request of each kind, again and again until all is well; then once more, and none may fail."""
        deadline = monotonic() + _CALM_S
        while True:
            last = monotonic() > deadline
            bad = await self._one_of_each()
            if not bad:
                return
            if last:
                self.account.violate(f"{when} not everything works: {'; '.join(bad)}")
                return
            await asyncio.sleep(0.1)

    async def _one_of_each(self) -> list[str]:
        client = Client(self.account, self._host, self._dice, 1.0)
        bad = []
        for maker in KINDS:
            entry = self.account.issue()
            question = maker(token(entry.number), self._dice)
            entry.kind = question.kind
            await client.play([(entry, question)])
            if entry.outcome != ("refused" if question.kind in ("unknown model", "malformed") else "answered"):
                bad.append(f"{question.kind}: {entry.outcome} {entry.status}")
        client.close()
        return bad

    async def _nothing_under_way(self) -> None:
        gauges = ("headgate_endpoint_in_flight", "headgate_waiting_requests", "headgate_connections")
        deadline = monotonic() + _CALM_S
        while True:
            page = await self._metrics()
            left = {name: page.sum(name) for name in gauges}
            counted = page.sum("headgate_requests_total")
            if not any(left.values()) and counted == self.account.log_lines:
                return
            if monotonic() > deadline:
                self.account.violate(
                    f"something is under way when nobody asks: {left}; "
                    f"{counted:g} requests are counted, {self.account.log_lines} logged"
                )
                return
            await asyncio.sleep(0.1)

    async def _until(self, condition: Callable[[], object], what: str, patience: float = 10.0) -> None:
        deadline = monotonic() + patience
        while not condition():
            if monotonic() > deadline or self._gateway.status is not None:
                said = "\n".join(self._gateway.said[-20:])
                raise Failed(f"it never came to it that {what}; the gateway said:\n{said}")
            await asyncio.sleep(0.02)

    def _agree(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        account, gateway = self.account, self._gateway
        for what, was, now in (("sockets", before[0], after[0]), ("tasks", before[1], after[1])):
            if now > was:
                account.violate(f"{now - was} {what} are left over: {was} before, {now} after")
        grown = self._memory[-1][1] - self._memory_at(0.25)
        # In the first minutes it grows to what it needs: the records that are kept, the largest bodies under way.
        if grown > (_GROWTH_MB if self._settings.seconds >= 300 else 3 * _GROWTH_MB):
            account.violate(f"the gateway's memory has grown by {grown:.0f} MB in three quarters of the time")
        if account.unnamed_lines < account.malformed:
            account.violate(f"{account.malformed} malformed requests were refused, {account.unnamed_lines} are logged")
        mistakes = self._settings.directory / "state"
        found = [path.read_text() for path in mistakes.rglob("mistakes.log")]
        if found or any("Traceback" in line for line in gateway.said):
            account.violate("the gateway has made mistakes: " + "\n".join([*found, *gateway.said[-40:]])[:4000])

    def _memory_at(self, part: float) -> float:
        wanted = self._settings.seconds * part
        return min(self._memory, key=lambda sample: abs(sample[0] - wanted))[1]

    def _progress(self, passed: float, weather: Weather) -> str:
        account = self.account
        outcomes = ", ".join(f"{count} {name}" for name, count in account.outcomes.most_common())
        return (
            f"{passed:4.0f} s of {self._settings.seconds:g}: {account.issued} requests: {outcomes}; "
            f"{account.violated} violations; {self._memory[-1][1]:.0f} MB; now: {weather}"
        )
