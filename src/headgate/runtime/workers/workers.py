"""The controller's workers: started, told what is new, asked, replaced and ended."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from time import monotonic
from typing import Literal, TypeVar

import msgspec

from headgate.plan.tls import Certificate
from headgate.runtime.accesslog import Line
from headgate.runtime.contexts import Contexts
from headgate.runtime.exposition import Family, Page
from headgate.runtime.fleet import Fleet
from headgate.runtime.front import Options, Place
from headgate.runtime.metrics import Metrics
from headgate.runtime.queueing import QueueRow, joined
from headgate.runtime.recall import LATEST, Story
from headgate.runtime.sockets import Binding
from headgate.runtime.workers.forkserver import ForkServer
from headgate.runtime.workers.member import Heard, Member
from headgate.runtime.workers.messages import Applied, Begin, Failed, Passed, Said
from headgate.runtime.workers.publish import Publisher, Shared

T = TypeVar("T")

_ASK_S = 2.0  # how long an answer is waited for
_SETTLE_S = 2.0  # how long a change is waited for; a worker that is slower does as it says later
_STABLE_S = 1.0  # who ended sooner than this after the start is not replaced at once
_BACK_OFF_S = 2.0  # the longest pause before a replacement
_LATE_S = 1.0  # beyond the grace, before what is left is killed


class Workers:
    """Who takes requests, where that is not this process."""

    def __init__(
        self,
        options: Options,
        fleet: Fleet,
        shared: Shared,
        certificates: Callable[[], Iterable[Certificate]],
        say: Callable[[str], None],
        wanted: Callable[[Collection[str]], None],
        started: int,
    ) -> None:
        self._options = options
        self._fleet = fleet
        self._shared = shared
        self._say = say
        self._wanted = wanted
        self._started = started
        self.metrics = Metrics(
            fleet.ledger,
            fleet.views.values,
            lambda: 0,
            {},
            lambda: 0,
            lambda: len(asyncio.all_tasks()),
            certificates=certificates,
        )
        self.contexts = Contexts({}, say)  # for what this process asks of endpoints
        self._publisher = Publisher(shared)
        self._bindings: dict[int, Binding] = {}
        self._forkserver = ForkServer()
        self._members: dict[int, Member] = {}  # by row
        self._short_lives: dict[int, int] = {}  # by row: how many ended too soon, one after the other
        self._replaced = 0
        self._departed = Page()  # what those that ended had counted
        self._said: dict[int, str] = {}  # by row: what a worker said last
        self._failing: tuple[str, ...] = ()  # as workers know it
        self._telling: asyncio.Handle | None = None
        self._progress = asyncio.Event()
        self._stopping = False

    async def start(self) -> None:
        for row in range(self._options.workers):
            self._hire(row)

    async def stop(self, grace: float, idle: float) -> None:
        self._stopping = True
        for member in self._members.values():
            member.stop(grace, idle)
        if not await self._until(lambda: not self._members, grace + idle + _LATE_S):
            for member in self._members.values():
                if member.pid is not None:
                    os.kill(member.pid, signal.SIGKILL)
            await self._until(lambda: not self._members, _LATE_S)
        for member in self._members.values():
            member.close()
        await asyncio.to_thread(self._forkserver.close)

    async def serve(self, places: Sequence[Place]) -> None:
        """These are all places to serve: every worker does so when this returns, but for those that are slow."""
        self._bindings = {place.binding.number: place.binding for place in places}
        self._publisher.plan(places)
        self._tell()
        version = self._shared.latest.version
        await self._until(lambda: all(one.applied >= version for one in self._members.values()), _SETTLE_S)

    def pool_changed(self, pool: str) -> None:
        self._publisher.pool(pool, self._fleet.views.get(pool))
        self._shared.latest.put("bases", "", dict(self._fleet.base_models))
        self._tell_soon()

    def loads_changed(self, pool: str) -> None:
        self._publisher.loads(self._fleet.views[pool])
        self._tell_soon()

    def failing_changed(self) -> None:
        failing = tuple(sorted(self._fleet.judge.failing))
        if failing != self._failing:
            self._failing = failing
            self._shared.latest.put("failing", "", failing)
            self._tell_soon()

    # What is new.

    def _tell_soon(self) -> None:
        """Once for all changes of this moment."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        for member in self._members.values():
            member.update(self._shared.latest, self._bindings, self._options.workers)

    def _hear(self, member: Member, heard: Heard) -> None:
        if isinstance(heard, Applied):
            member.update(self._shared.latest, self._bindings, self._options.workers)
            everywhere = min(one.applied for one in self._members.values())
            self._shared.latest.forget(everywhere)
            self._shared.ledger.rested(everywhere)
            self._progress.set()
        elif isinstance(heard, Said):
            # What befalls all of them is said once.
            if heard.text not in [text for row, text in self._said.items() if row != member.row]:
                self._say(heard.text)
            self._said[member.row] = heard.text
        elif isinstance(heard, Failed):
            self._fleet.judge.failed(heard.endpoint, heard.why)
            self.failing_changed()
        elif isinstance(heard, Passed):
            self._fleet.judge.passed(heard.endpoint)
            self.failing_changed()
        else:
            self._wanted(heard.pools)

    async def _until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Whether it came to that in time; looked at whenever a worker has moved."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not condition():
                    self._progress.clear()
                    await self._progress.wait()
        return condition()

    # Coming and going.

    def _hire(self, row: int) -> None:
        if self._stopping:
            return
        member = self._members[row] = Member(row, self._hear, self._lose)
        begin = Begin(self._options, row, self._options.workers, self._started)
        with member.theirs:
            try:
                self._forkserver.fork(begin, [member.theirs.fileno(), self._shared.counters.file])
            except OSError as error:  # its channel ends with this, and it is tried again
                member.trouble = f" ({error.strerror or error})"
        member.update(self._shared.latest, self._bindings, self._options.workers)

    def _lose(self, member: Member) -> None:
        """Its process is gone, and whatever it had under way."""
        del self._members[member.row]
        self._said.pop(member.row, None)
        self._shared.counters.clear(member.row)
        self._departed.add([family for family in member.families if family.kind != "gauge"])
        self._progress.set()
        if self._stopping:
            return
        short = self._short_lives.get(member.row, 0) + 1 if monotonic() - member.began < _STABLE_S else 0
        self._short_lives[member.row] = short
        self._replaced += 1
        if member.pid is not None:
            self._say(f"A worker (process {member.pid}) has ended; another one takes its place.")
        elif short == 1:
            self._say(f"A worker could not be started{member.trouble}. It is tried again.")
        pause = min(_BACK_OFF_S, 0.05 * 2.0**short) if short else 0.0
        asyncio.get_running_loop().call_later(pause, self._hire, member.row)

    # What they know.

    async def _ask(
        self,
        kind: type[T],
        what: Literal["explain", "latest", "page", "queues"],
        request_id: str = "",
        *,
        text: bool = False,
    ) -> dict[int, T]:
        """The answers, by row, of those that give one in time."""
        asked = {row: member.ask(what, request_id, text=text) for row, member in self._members.items()}
        if asked:
            await asyncio.wait(asked.values(), timeout=_ASK_S)
        found: dict[int, T] = {}
        for row, answer in asked.items():
            if not answer.done():
                answer.cancel()
            elif (raw := answer.result()) is not None:
                found[row] = msgspec.msgpack.decode(raw, type=kind)
        return found

    async def explain(self, request_id: str, *, text: bool) -> Story:
        stories = (await self._ask(Story, "explain", request_id, text=text)).values()
        known = next((story for story in stories if story.body is not None), None)
        return known or Story(sum(story.of for story in stories))

    async def latest(self) -> list[Line]:
        lines = [line for found in (await self._ask(list[Line], "latest")).values() for line in found]
        return sorted(lines, key=lambda line: line.time, reverse=True)[:LATEST]

    async def queues(self) -> list[QueueRow]:
        return joined((await self._ask(list[QueueRow], "queues")).values())

    async def page(self) -> Page:
        """The controller's, and the sum of the workers'. Of one that is slow counts what it told before."""
        for row, families in (await self._ask(list[Family], "page")).items():
            if row in self._members:
                self._members[row].families = families
        page = self.metrics.page()
        page.one("headgate_workers", "gauge", "Processes that serve.", len(self._members))
        page.one("headgate_worker_replacements_total", "counter", "Workers that ended unasked.", self._replaced)
        page.add(self._departed.families)
        for member in self._members.values():
            page.add(member.families)
        return page
