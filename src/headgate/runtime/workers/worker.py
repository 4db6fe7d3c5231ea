"""A worker: it serves as the controller says, and answers what the controller asks."""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from headgate.fleet.shared import SharedLedger
from headgate.pick.published import PROFILES
from headgate.pick.room import Room
from headgate.runtime.accesslog import AccessLog
from headgate.runtime.exposition import Family
from headgate.runtime.front import Front, Place
from headgate.runtime.mistakes import Mistakes
from headgate.runtime.policies import Policies
from headgate.runtime.sockets import Binding
from headgate.runtime.workers.channel import Channel
from headgate.runtime.workers.counters import Counters
from headgate.runtime.workers.messages import (
    Applied,
    Ask,
    Begin,
    Hello,
    Last,
    News,
    Question,
    Said,
    Sockets,
    Stop,
    Told,
    ToWorker,
    Wanted,
    encode,
)
from headgate.runtime.workers.picture import Changes, Picture, read

_ORPHANED_GRACE_S = 10.0
_FAREWELL_S = 1.0


def run(begin: Begin, channel: int, counters: int) -> int:
    """In a process of its own, until the controller ends it or is gone. The exit status."""
    import uvloop

    async def main() -> None:
        with socket.socket(fileno=channel) as end:
            end.setblocking(False)
            await Worker(begin, end, counters).run()

    try:
        uvloop.run(main())
    except Exception as error:
        Mistakes(Path(begin.options.directory), lambda text: None).note("a worker ended", error)
        return 1
    return 0


class Worker:
    def __init__(self, begin: Begin, end: socket.socket, counters: int) -> None:
        options = begin.options
        self._ending = asyncio.Event()
        self._stop_as = Stop(_ORPHANED_GRACE_S, 0.0)
        self._orphaned = asyncio.Event()
        self._sockets: defaultdict[int, list[socket.socket]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel = Channel(end, self._hear, self._lose)
        self._mistakes = Mistakes(Path(options.directory), self._say)
        policies = Policies(self._say)
        table = Counters(counters, begin.rows)
        self._picture = Picture(
            SharedLedger(table.rows, begin.row, table.tokens),
            self._changed,
            self._send,
            asyncio.get_running_loop().call_later,
            options.slow_start_s,
            options.room if options.room != Room() else None,
            PROFILES[options.profile],
            options.flow_control,
            options.workers,
            self._loads_changed,
            options.shadow_share,
            policies.functions(),
        )
        log = AccessLog(options.access_log, self._say, table.file) if options.access_log else None
        # What is wrong with certificates the controller finds out too, and says.
        self._front = Front(
            options, self._picture, tuple, tuple, log, self._want, lambda text: None, begin.started, self._say, policies
        )
        self._told: dict[str, Callable[[Question], Awaitable[object]]] = {
            "explain": lambda ask: self._front.explain(ask.request_id, text=ask.text, other=ask.other),
            "latest": lambda ask: self._front.latest(),
            "shadow": lambda ask: self._front.shadow(),
            "page": lambda ask: self._families(),
            "queues": lambda ask: self._front.queues(),
        }

    async def run(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._mistakes)
        await self._front.start()
        self._send(Hello(os.getpid()))
        await self._ending.wait()
        stopping = asyncio.create_task(self._front.stop(self._stop_as.grace, self._stop_as.idle))
        gone = asyncio.create_task(self._orphaned.wait())
        await asyncio.wait((stopping, gone), return_when=asyncio.FIRST_COMPLETED)
        self._send(Last(await self._families()))
        await self._channel.drain(_FAREWELL_S)
        self._channel.close()

    def _send(self, message: object) -> None:
        self._channel.send(encode(message))

    def _say(self, text: str) -> None:
        self._send(Said(text))

    def _want(self, pools: Collection[str]) -> None:
        self._send(Wanted(list(pools)))

    def _changed(self, pool: str) -> None:
        self._front.pool_changed(pool)

    def _loads_changed(self, pool: str) -> None:
        self._front.loads_changed(pool)

    async def _families(self) -> list[Family]:
        return (await self._front.page()).families

    # From the controller.

    def _lose(self) -> None:
        """The controller is gone. What runs may finish, unless it was told to end: then nobody waits for that now."""
        (self._orphaned if self._ending.is_set() else self._ending).set()

    def _hear(self, message: bytes) -> None:
        heard: Any = msgspec.msgpack.decode(message, type=ToWorker)
        _HEARD[type(heard)](self, heard)

    def _take_sockets(self, sockets: Sockets) -> None:
        for number in sockets.numbers:
            self._sockets[number].append(socket.socket(fileno=self._channel.files.popleft()))

    def _take_news(self, news: News) -> None:
        changes = read(news)
        if changes.planned:
            self._begin(self._follow(changes, news.version))
        else:
            self._picture.take(changes)
            self._send(Applied(news.version))

    async def _follow(self, changes: Changes, version: int) -> None:
        """A new plan. The controller sends no news before it hears that these are applied."""
        use_contexts = await self._front.contexts.ready(self._picture.plan(changes))
        use_contexts()
        self._picture.take(changes)
        places = [
            Place(
                Binding(fact.number, fact.address, fact.port, (tuple(self._sockets[fact.number]),)),
                fact.listeners,
                fact.served,
            )
            for fact in self._picture.places.values()
        ]
        await self._front.serve(places)
        for place in places:
            place.binding.close()  # who serves has its own
        self._sockets.clear()
        self._send(Applied(version))

    def _answer(self, ask: Ask) -> None:
        self._begin(self._tell(ask))

    async def _tell(self, ask: Ask) -> None:
        value = await self._told[ask.question.what](ask.question)
        self._send(Told(ask.number, msgspec.Raw(encode(value))))

    def _stop(self, stop: Stop) -> None:
        self._stop_as = stop
        self._ending.set()

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_HEARD: dict[type, Callable[[Worker, Any], None]] = {
    Sockets: Worker._take_sockets,
    News: Worker._take_news,
    Ask: Worker._answer,
    Stop: Worker._stop,
}
