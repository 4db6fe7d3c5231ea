"""`headgate up` and `headgate gateway`: everything wired together, until a signal ends it."""

import asyncio
import contextlib
import gc
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from msgspec import Struct

from headgate.fleet import endpoint
from headgate.runtime import gateway as gateways
from headgate.runtime import pods
from headgate.runtime.admin import Admin
from headgate.runtime.config import Reading, read, remarks
from headgate.runtime.expected import expected_adapters
from headgate.runtime.gateway import Gateway
from headgate.runtime.instance import admin_socket
from headgate.runtime.rows import ROWS
from headgate.runtime.server import Server, serve
from headgate.runtime.sources import Sources
from headgate.runtime.table import table

_RETRY_S = 1.0
_LOOK_S = 0.05
_ADAPTERS_S = 10.0
_COLLECT = (20_000, 20, 100)
_PATIENCE_S = 60.0  # after which the table is shown with what is not ready yet, and again when it is


class Options(Struct, frozen=True):
    paths: tuple[str, ...]
    recursive: bool
    directory: Path  # of this instance: admin socket, logs, volumes
    gateway: gateways.Options
    pods: pods.Options
    metrics: str = "127.0.0.1:9090"  # HOST:PORT, "" for none
    grace_s: float = 10.0


class System:
    """One running headgate."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._reading = Reading()
        self._said: set[str] = set()
        self._gateway = Gateway(options.gateway, say)
        self._pods = pods.Pods(options.pods, say, self._servers_changed)
        self._admin = Admin(self._gateway, lambda: self._reading.statuses, self._ready)
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._signals = 0

    async def run(self) -> int:
        """Exit status: 0 after a signal, 1 when there was nothing to run or nowhere to serve it."""
        options = self._options
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        socket = admin_socket(options.directory)
        socket.unlink(missing_ok=True)
        admin = await serve(self._admin.handle, path=str(socket), server_name="headgate")
        metrics = await self._serve_metrics()
        await self._gateway.start()
        following = [loop.create_task(self._follow()), loop.create_task(self._apply_changes())]
        try:
            started = await self._first()
            if started:
                await self._until_ready()
                await self._stopping.wait()
            return 0 if started or self._signals else 1
        finally:
            for task in following:
                task.cancel()
            await self._shut_down()
            for server in (admin, metrics):
                if server is not None:
                    await server.close(0)
            socket.unlink(missing_ok=True)

    async def _serve_metrics(self) -> Server | None:
        host, _, port = self._options.metrics.rpartition(":")
        if not port:
            return None
        try:
            return await serve(
                self._admin.handle_metrics, host=host.strip("[]"), port=int(port), server_name="headgate"
            )
        except OSError as error:
            self._say(f"no metrics at {self._options.metrics}: {error.strerror or error} (another place: --metrics)")
            return None

    # What the user wrote.

    async def _first(self) -> bool:
        self._reading = read(self._options.paths, recursive=self._options.recursive)
        self._tell(self._reading)
        await self._apply(self._reading)
        if self._gateway.sockets:
            return True
        if self._reading.plan.listeners:
            self._say("None of the gateways' addresses can be had, so nothing is served.")
            return False
        self._say("There is no Gateway with a listener that can be served, so no request will be taken.")
        return bool(self._pods.rows())

    async def _follow(self) -> None:
        sources = Sources(self._options.paths, recursive=self._options.recursive)
        await sources.follow(sources.fingerprint(), self._changed.set)

    async def _apply_changes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _RETRY_S)
            if not self._changed.is_set():
                await self._gateway.listen_again()
                continue
            self._changed.clear()
            before = self._reading
            reading = read(self._options.paths, recursive=self._options.recursive, before=before.snapshot)
            self._reading = reading
            self._tell(reading)
            if reading.snapshot != before.snapshot:
                await self._apply(reading)
                self._say(
                    "The change is in force." if not reading.errors else "What is right in the change is in force."
                )

    async def _apply(self, reading: Reading) -> None:
        self._pods.apply(reading.snapshot)
        await self._gateway.apply(reading.plan, expected_adapters(reading.snapshot, reading.plan))

    def _tell(self, reading: Reading) -> None:
        """Say what is new; what was said before is not said again."""
        lines = remarks(reading)
        for text in lines:
            if text not in self._said:
                self._say(text)
        self._said = set(lines)

    # What runs.

    def _servers_changed(self, servers: Sequence[endpoint.Server]) -> None:
        self._gateway.servers(servers)

    def _ready(self) -> bool:
        """Every pod is up, or never will be; every endpoint that is up is let serve."""
        if any(row.pending for row in self._pods.rows()):
            return False
        views = self._gateway.fleet.views.values()
        up = self._gateway.fleet.endpoints()
        return all(
            endpoint.ready or not up[endpoint.name].ready
            for view in views
            for endpoint in view.standing.endpoints
            if endpoint.name in up
        )

    async def _until_ready(self) -> None:
        began = monotonic()
        waiting = {row.name for row in self._pods.rows() if row.pending}
        if waiting:
            self._say(f"Starting {len(waiting)} pods.")
        shown = False
        while not self._ready():
            if await self._stopped_within(_LOOK_S):
                return
            if not shown and monotonic() - began >= _PATIENCE_S:
                shown = True
                self._show()
                self._say(
                    f"Not everything is ready after {_PATIENCE_S:g} s; what is ready serves. Large models take longer."
                )
        # An adapter that can't be loaded must not hold up the rest for long: requests for it wait by themselves.
        began_adapters = monotonic()
        while self._gateway.fleet.missing_adapters() and monotonic() - began_adapters < _ADAPTERS_S:
            if await self._stopped_within(_LOOK_S):
                return
        self._show()
        took = monotonic() - began
        self._say(f"Ready after {took:.1f} s. Changes of the files are followed. Ctrl-C stops it.")

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _show(self) -> None:
        parts = []
        for name, rows in ROWS.items():
            found = rows(self._gateway, self._reading.statuses)
            if found:
                parts.append(f"{name.upper()}\n{table(found, indent='  ')}")
        unready = [row for row in self._pods.rows() if not row.ready]
        if unready:
            told: list[dict[str, object]] = [
                {"pod": row.name, "phase": row.phase, "message": row.message, "log": row.log} for row in unready
            ]
            parts.append(f"NOT READY\n{table(told, indent='  ')}")
        sys.stdout.write("\n" + "\n\n".join(parts) + "\n\n")
        sys.stdout.flush()

    # The end.

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._say("Stopping: what runs may finish. Ctrl-C again stops at once.")
            self._stopping.set()
            return
        self._pods.kill()
        self._clean()
        sys.stdout.flush()
        sys.stderr.flush()
        # The event loop may be stuck in whatever made the first signal too slow.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)

    async def _shut_down(self) -> None:
        await self._gateway.stop(self._options.grace_s)
        await self._pods.stop(self._options.grace_s)
        self._clean()

    def _clean(self) -> None:
        admin_socket(self._options.directory).unlink(missing_ok=True)
        shutil.rmtree(self._options.directory / "volumes", ignore_errors=True)


def run(options: Options) -> int:
    import uvloop

    def say(text: str) -> None:
        sys.stderr.write(f"headgate: {text}\n")
        sys.stderr.flush()

    async def main() -> int:
        # What is there now stays: the collector need not look at it again, nor look as often as small programs want.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT)
        return await System(options, say).run()

    return uvloop.run(main())
