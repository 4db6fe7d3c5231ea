"""Body-based routing that runs: base models from files or a cluster, and a proxy that asks about its bodies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from msgspec import Struct

from headgate import __version__
from headgate.envoy.bbr import BodyTurn, Shared, Tally
from headgate.envoy.fields import Plugin
from headgate.envoy.service import Processor
from headgate.exchange.events import Respond
from headgate.proxy.held import Held
from headgate.runtime.config import Reading, remarks
from headgate.runtime.epp.face import Face, Handler, Ports
from headgate.runtime.epp.families import SCHEDULING
from headgate.runtime.epp.identity import Identity
from headgate.runtime.exposition import Page
from headgate.runtime.histogram import Histogram
from headgate.runtime.mistakes import Mistakes
from headgate.runtime.process import describe
from headgate.runtime.server import Answer, Request
from headgate.runtime.world import Made, World

_RETRY_S = 1.0
_MORE = 1 << 20  # bytes of a message besides the body
_PROMETHEUS = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)
_TEXT = (("content-type", "text/plain; charset=utf-8"),)


class _Bounds(Struct, frozen=True):
    body: int


class _Budget(Struct, frozen=True, eq=False):
    held: Held
    bounds: _Bounds


class BodyRouter:
    """`body`, `held`: bytes that one body may have, and all together. `written` puts refusals into their form."""

    def __init__(
        self,
        plugins: Sequence[Plugin],
        ports: Ports,
        body: int,
        held: int,
        written: Callable[[Respond], Respond],
        world: Made,
        directory: Path,
        say: Callable[[str], None],
        identity: Identity | None,
        guarded: Callable[[Handler], Handler] | None,
    ) -> None:
        self._say = say
        self._reading = Reading()
        self._said: set[str] = set()
        self._synced = False
        self._tally = Tally()
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._mistakes = Mistakes(directory, say)
        self._changed = asyncio.Event()
        self._world: World = world(say, self._changed.set, lambda servers: None)
        budget = _Budget(Held(held), _Bounds(body))
        shared = Shared(tuple(plugins), self._bases, self._tally, budget, perf_counter, self._took, written)
        processor = Processor(lambda site: BodyTurn(shared), self._mistakes.note)
        self._face = Face(
            ports,
            processor.methods,
            body + _MORE,
            budget.held,
            lambda: self._synced,
            self._page if guarded is None else guarded(self._page),
            identity,
            say,
            self._mistakes.note,
        )

    def _bases(self) -> Mapping[str, str]:
        return self._reading.plan.base_models

    def _took(self, kind: str, name: str, seconds: float) -> None:
        histogram = self._durations.get((kind, name))
        if histogram is None:
            histogram = self._durations[kind, name] = Histogram(SCHEDULING)
        histogram.observe(seconds)

    async def run(self) -> int:
        """Exit status: 0 after a signal, 1 where it could not serve."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._mistakes)
        works: list[asyncio.Task[Any]] = []
        try:
            if not await self._face.open():
                return 1
            works = [loop.create_task(self._for_ever(self._read))]
            await self._face.stopping.wait()
            await self._face.drain()
            return 0
        finally:
            for task in works:
                task.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await self._face.close()
            await self._world.stop(0.0)

    async def _read(self) -> None:
        self._take(await self._world.first())
        self._synced = True
        self._face.health.changed()
        self._say(f"Ready: bodies are read at {self._face.where}. {self._world.followed} Ctrl-C stops it.")
        loop = asyncio.get_running_loop()
        works = [loop.create_task(self._for_ever(work)) for work in self._world.works()]
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._take(await self._world.read(self._reading))
        finally:
            for task in works:
                task.cancel()

    def _take(self, reading: Reading) -> None:
        self._reading = reading
        lines = remarks(reading)
        for text in dict.fromkeys(lines):
            if text not in self._said:
                self._say(text)
        self._said = set(lines)

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        """What runs goes on, whatever is wrong with us."""
        while True:
            try:
                await work()
            except Exception as error:
                self._mistakes.note("while changes were followed", error)
                await asyncio.sleep(_RETRY_S)

    def _page(self, request: Request) -> Answer:
        if request.path == "/healthz":
            return Answer(200, _TEXT, b"ok\n")
        if request.path == "/readyz":
            return Answer(200, _TEXT, b"ready\n") if self._face.ready() else Answer(503, _TEXT, b"not ready\n")
        if request.path != "/metrics":
            return Answer(404, _TEXT, b"here are /metrics, /healthz and /readyz\n")
        page, tally = Page(), self._tally
        labels = (("commit", __version__), ("build_ref", "headgate"))
        page.one("bbr_info", "gauge", "The version that runs.", 1, labels)
        page.one("bbr_success_total", "counter", "Requests whose body was read.", tally.success)
        for name, text, counts in (
            ("bbr_body_field_not_found_total", "Bodies without a field that was wanted.", tally.not_found),
            ("bbr_body_field_empty_total", "Bodies where it was empty.", tally.empty),
        ):
            page.family(name, "counter", text)
            for field, count in sorted(counts.items()):
                page.sample(name, (("field", field),), count)
        name = "bbr_plugin_duration_seconds"
        page.family(name, "histogram", "How long a plugin took for one request.")
        for (kind, called), histogram in sorted(self._durations.items()):
            histogram.write(page, name, (("plugin_type", kind), ("plugin_name", called)))
        describe(page)
        return Answer(200, _PROMETHEUS, page.text().encode())
