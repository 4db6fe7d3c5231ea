"""What goes wrong: endpoints are killed, hung, slow, broken in many ways, and the configuration changes."""

import asyncio
import random
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from chaos.endpoint import MOODS
from chaos.manifests import Manifests
from chaos.processes import Process

_Event = Callable[[], Coroutine[Any, Any, None]]

_LASTS_S = (0.3, 3.0)
_PAUSE_S = (0.1, 0.8)


class Endpoint:
    """One endpoint's process, which may be killed and started again at the same address."""

    def __init__(self, name: str, address: str, seed: int, heard: Callable[[str], None]) -> None:
        self.name = name
        self._up = asyncio.Event()
        self._felt = asyncio.Event()
        host, port = address.split(":")
        self._heard = heard
        self._make = partial(Process, "chaos.endpoint", host, port, str(seed), heard=self._hear)
        self.process: Process | None = None

    def _hear(self, line: str) -> None:
        if line == "up":
            self._up.set()
        elif line.startswith("mood"):
            self._felt.set()
        else:
            self._heard(line)

    async def start(self) -> None:
        self._up.clear()
        self.process = self._make()
        await self.process.start()
        await asyncio.wait_for(self._up.wait(), 20)

    async def kill(self) -> list[str]:
        """What it said on standard error: it should not have said anything."""
        assert self.process is not None
        process, self.process = self.process, None
        await process.kill()
        return process.said

    async def mood(self, name: str) -> None:
        assert self.process is not None
        self._felt.clear()
        self.process.tell(name)
        await asyncio.wait_for(self._felt.wait(), 10)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)


class Weather:
    """Events, some of them at the same time. `now`: what is wrong at the moment; `events`: what ever was."""

    def __init__(self, endpoints: list[Endpoint], manifests: Manifests, dice: random.Random) -> None:
        self._endpoints = endpoints
        self._manifests = manifests
        self._dice = dice
        self.events: dict[str, int] = {}
        self.now: list[str] = []
        self.stopping = asyncio.Event()
        self.complaints: list[str] = []

    def __str__(self) -> str:
        return ", ".join(self.now) or "all is well"

    async def blow(self) -> None:
        """Until `stopping` is set; then all is well again."""
        moods = [partial(self._bad_mood, mood) for mood in MOODS if mood != "good"]
        first: list[_Event] = [*moods, self._kill, self._freeze, self._flap]
        self._dice.shuffle(first)
        running: set[asyncio.Task[None]] = set()
        while not self.stopping.is_set():
            event = first.pop() if first else self._any()
            task = asyncio.create_task(event())
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(self._over)
            await self._sleep(self._dice.uniform(*_PAUSE_S))
            while len(running) > 3:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*running, return_exceptions=True)
        self._manifests.mend()

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.complaints.append(f"the weather itself failed: {error!r}")

    def _any(self) -> _Event:
        choice = self._dice.random()
        if choice < 0.2:
            return self._kill
        if choice < 0.3:
            return self._freeze
        if choice < 0.55:
            return self._flap
        return partial(self._bad_mood, self._dice.choice([mood for mood in MOODS if mood != "good"]))

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    def _victim(self) -> Endpoint | None:
        """One that is well: each has one trouble at a time."""
        well = [one for one in self._endpoints if not any(text.startswith(one.name) for text in self.now)]
        return self._dice.choice(well) if well else None

    async def _lasting(self, text: str) -> None:
        kind = text.partition(": ")[2] or text
        self.events[kind] = self.events.get(kind, 0) + 1
        self.now.append(text)
        await self._sleep(self._dice.uniform(*_LASTS_S))

    async def _bad_mood(self, mood: str) -> None:
        if (victim := self._victim()) is None:
            return
        await victim.mood(mood)
        text = f"{victim.name}: {mood}"
        await self._lasting(text)
        await victim.mood("good")
        self.now.remove(text)

    async def _kill(self) -> None:
        if (victim := self._victim()) is None:
            return
        text = f"{victim.name}: killed"
        self.now.append(text)
        said = await victim.kill()
        self.complaints += [f"{victim.name} said: {line}" for line in said]
        self.now.remove(text)
        await self._lasting(text)
        await victim.start()
        self.now.remove(text)

    async def _freeze(self) -> None:
        """The kernel goes on accepting connections for it; nobody answers."""
        if (victim := self._victim()) is None:
            return
        text = f"{victim.name}: frozen"
        victim.signal(signal.SIGSTOP)
        await self._lasting(text)
        victim.signal(signal.SIGCONT)
        self.now.remove(text)

    async def _flap(self) -> None:
        if any(text.startswith("configuration") for text in self.now):
            return
        text = self._manifests.flap(self._dice)
        await self._lasting(text)
        self._manifests.mend()
        self.now.remove(text)
