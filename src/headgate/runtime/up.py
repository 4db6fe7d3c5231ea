"""`headgate up` and `headgate gateway`: everything wired together, until a signal ends it."""

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import IO, Any

from msgspec import Struct

from headgate.fleet.endpoint import Server
from headgate.runtime import gateway as gateways
from headgate.runtime import pods
from headgate.runtime.accesslog import AccessLog, try_out
from headgate.runtime.admin import Admin
from headgate.runtime.config import News, Reading
from headgate.runtime.expected import expected_adapters
from headgate.runtime.files import Files
from headgate.runtime.gateway import Gateway
from headgate.runtime.kubernetes.cluster import Cluster
from headgate.runtime.kubernetes.cluster import Options as ClusterOptions
from headgate.runtime.local import Local
from headgate.runtime.mistakes import Mistakes
from headgate.runtime.policies import Policies
from headgate.runtime.presence import Presence
from headgate.runtime.process import settle_memory
from headgate.runtime.rows import ROWS, Row, Seen
from headgate.runtime.table import table, terminal_width
from headgate.runtime.takeover import Inherited
from headgate.runtime.voice import Voice
from headgate.runtime.world import Made, World, first_reading

_RETRY_S = 1.0
_LOOK_S = 0.05
_ADAPTERS_S = 10.0
_TAKE_OVER_S = 10.0  # that the one before goes on for, until this one is ready
_LEFT_GRACE_S = 3600.0  # what is left to the one before
_LEFT_IDLE_S = 10.0
_PARTING_S = 0.5  # for a connection's last request, when it ends: one may be on its way just then
_PATIENCE_S = 60.0  # after which is shown what is not ready yet
_FILES = 65_536  # open files and sockets, where the system lets us: each request may need two
_IN_TABLE = ("gateways", "routes", "pools", "endpoints", "models", "adapters")


class Options(Struct, frozen=True):
    paths: tuple[str, ...]
    recursive: bool
    directory: Path  # of this instance: admin socket, logs, volumes
    gateway: gateways.Options
    pods: pods.Options
    metrics: tuple[str, int] | None = ("127.0.0.1", 9090)
    config: str = ""  # a file with an EndpointPickerConfig
    config_text: str = ""  # the same as a text
    shadow: str = ""  # a file with the shadow policy
    cluster: ClusterOptions | None = None  # where objects and Pods are, None: files, and this machine
    grace_s: float = 10.0


class System:
    """One running headgate."""

    def __init__(
        self,
        options: Options,
        world: Made,
        policies: Policies,
        voice: Voice,
        log: AccessLog | None,
        lock: IO[str],
        inherited: Inherited | None,
    ) -> None:
        """`lock` is what makes the instance ours, `inherited` what another one had that goes on until we serve."""
        self._options = options
        self._inherited = inherited
        self._voice = voice
        self._say = voice.say
        self._reading = Reading()
        self._news = News()
        listeners = inherited.listeners if inherited else {}
        self._gateway = Gateway(options.gateway, self._say, log, listeners, policies)
        self._changed = asyncio.Event()
        self._world: World = world(self._say, self._changed.set, self._servers_changed)
        admin = Admin(self._seen, self._is_ready, policies)
        self._presence = Presence(options.directory, lock, admin, self._say, self._leave)
        self._applied = False  # something is served
        self._stopping = asyncio.Event()
        self._announcing: asyncio.Task[None] | None = None
        self._signals = 0
        self._mistakes = Mistakes(options.directory, self._say)

    async def run(self) -> int:
        """Exit status: 0 after a signal, 1 when there was nothing to run or nowhere to serve it."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._mistakes)
        for number in signals():
            loop.add_signal_handler(number, self._signalled)
        following: list[asyncio.Task[Any]] = []
        try:
            if self._inherited is None and not await self._enter():
                return 1
            await self._gateway.start()
            if not await self._first():
                return 0 if self._signals else 1
            if self._inherited is not None:
                await self._ready_within(_TAKE_OVER_S)
                if not await self._enter():
                    return 1
            works = (*self._world.works(), self._apply_changes)
            following = [loop.create_task(self._mistakes.for_ever(work)) for work in works]
            await self._until_ready()
            await self._stopping.wait()
            return 0
        finally:
            await self._shut_down(following)
            await self._presence.exit()

    async def _enter(self) -> bool:
        """From now on other commands find this process. Whether they can."""
        # Pods are processes of ours, and who listens may be Envoy: they can't be given away.
        ours = self._options.pods.launch or self._options.gateway.envoy
        sockets = None if ours else self._gateway.sockets.values
        return await self._presence.enter(self._options.metrics, sockets, self._inherited)

    def _leave(self) -> None:
        """Another one serves now."""
        self._signals = 1
        self._stopping.set()

    # What the user wrote.

    async def _first(self) -> bool:
        """Whether there is anything to run."""
        reading = await first_reading(self._world, self._stopping)
        if reading is None:
            return False
        self._take(reading)
        try:
            await self._apply(reading)
        except OSError as error:
            self._say(f"{error.filename or self._options.directory} can't be used: {error.strerror or error}")
            return False
        self._applied = True
        if self._gateway.sockets:
            return True
        if self._world.waits:
            self._say("There is no Gateway of ours with a listener that can be served; it is waited for.")
            return True
        if reading.plan.listeners:
            self._say("None of the gateways' addresses can be had, so nothing is served.")
            return False
        if not self._world.rows():
            self._say("There is nothing to run.")
            return False
        self._say("There is no Gateway with a listener that can be served, so no request will be taken.")
        return True

    async def _apply_changes(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S):
                    await self._changed.wait()
            if not self._changed.is_set():
                await self._gateway.listen_again()
                continue
            self._changed.clear()
            before = self._reading
            reading = await self._world.read(before)
            self._take(reading)
            if (reading.snapshot, reading.shadow) != (before.snapshot, before.shadow):
                awaited = self._awaited()
                await self._apply(reading)
                self._applied = True
                if self._announcing is not None:
                    self._announcing.cancel()
                announce = self._announce(bool(reading.errors), awaited)
                self._announcing = asyncio.get_running_loop().create_task(announce)
                continue
            self._world.applied(reading, self._gateway)
            if before.errors and not reading.errors:
                self._say("The mistakes are mended, and nothing has changed.")

    def _take(self, reading: Reading) -> None:
        """It is the newest. Say what is new in it; what was said before is not said again."""
        self._reading = reading
        self._gateway.serving.metrics.reloaded(len(reading.errors), time())
        for text in self._news.of(reading):
            self._say(text)

    async def _apply(self, reading: Reading) -> None:
        await self._world.apply(reading)
        await self._gateway.apply(reading.plan, expected_adapters(reading.snapshot, reading.plan))
        self._world.applied(reading, self._gateway)
        await asyncio.sleep(0)  # servers that run already are told of one turn of the loop later

    # What runs.

    def _servers_changed(self, servers: Sequence[Server]) -> None:
        self._gateway.servers(servers)

    def _seen(self) -> Seen:
        return Seen(self._gateway, self._reading.statuses, self._world.rows())

    def _is_ready(self) -> bool:
        """Whether requests may be sent to us: in a cluster also while some of the endpoints are on their way."""
        serving = self._applied and not self._stopping.is_set()
        return serving and (self._world.waits or not self._awaited())

    def _awaited(self) -> set[str]:
        """Pods that are not up and still may be, and endpoints that are up and not let serve."""
        up = self._gateway.fleet.endpoints()
        endpoints = {
            endpoint.name
            for view in self._gateway.fleet.views.values()
            for endpoint in view.standing.endpoints
            if not endpoint.ready and endpoint.name in up and up[endpoint.name].ready
        }
        return endpoints | {row.name for row in self._world.rows() if row.pending}

    async def _until_ready(self) -> None:
        """Show the system when all of it is ready, or after a while what there is of it, and again when it is ready."""
        began = monotonic()
        waiting = [row.name for row in self._world.rows() if row.pending]
        if waiting:
            self._say(f"Starting {len(waiting)} pod{'s' if len(waiting) > 1 else ''}.")
        if not await self._ready_within(_PATIENCE_S):
            if self._stopping.is_set():
                return
            self._show()
            self._say(f"Not all is ready after {_PATIENCE_S:.0f} s. What is ready is served; the rest is waited for.")
            while not await self._ready_within(_PATIENCE_S):
                if self._stopping.is_set():
                    return
        # An adapter that can't be loaded must not hold up the rest for long: requests for it wait by themselves.
        adapters_began = monotonic()
        while self._gateway.fleet.missing_adapters() and monotonic() - adapters_began < _ADAPTERS_S:
            if await self._stopped_within(_LOOK_S):
                return
        self._show()
        but = ", but for what is listed as not ready" if self._unready() else ""
        self._say(f"Ready after {monotonic() - began:.1f} s{but}. {self._world.followed} Ctrl-C stops it.")

    async def _announce(self, partly: bool, before: set[str]) -> None:
        """Say when a change has come to its end: Pods may have to start first. Those awaited `before` don't count."""
        began = monotonic()
        what = "What is right in the change" if partly else "The change"
        if await self._ready_within(_PATIENCE_S, before):
            took = monotonic() - began
            self._say(f"{what} is in force{f' after {took:.1f} s' if took > 1 else ''}.")
        elif not self._stopping.is_set():
            names = ", ".join(sorted(self._awaited() - before))
            self._say(f"{what} is in force, but not ready after {_PATIENCE_S:.0f} s: {names}")

    async def _ready_within(self, seconds: float, but: Collection[str] = ()) -> bool:
        """Whether all is ready in time, `but` for these."""
        began = monotonic()
        while self._awaited().difference(but):
            if monotonic() - began > seconds or await self._stopped_within(_LOOK_S):
                return False
        return True

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _unready(self) -> list[Row]:
        rows = ROWS["pods"](self._seen())
        return [row for row in rows if row["ready"] == "no"]

    def _show(self) -> None:
        width = terminal_width()
        seen = self._seen()
        parts = {name.upper(): (name, ROWS[name](seen)) for name in _IN_TABLE}
        parts["NOT READY"] = ("pods", self._unready())
        texts = [
            f"{head}\n{table(kind, rows, indent='  ', width=width)}" for head, (kind, rows) in parts.items() if rows
        ]
        self._voice.show("\n" + "\n\n".join(texts) + "\n\n")

    # The end.

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._say("Stopping: what runs may finish. Ctrl-C again stops at once.")
            self._stopping.set()
            return
        self._world.kill()
        self._presence.vanish()
        self._voice.close()
        # The event loop may be stuck in whatever made the first signal too slow.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)

    async def _shut_down(self, following: list[asyncio.Task[Any]]) -> None:
        if self._announcing is not None:
            following = [*following, self._announcing]
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        if self._presence.left:  # it holds up nobody
            await self._gateway.stop(_LEFT_GRACE_S, _LEFT_IDLE_S, left=True)
        else:
            await self._gateway.stop(self._options.grace_s, min(_PARTING_S, self._options.grace_s))
        await self._world.stop(self._options.grace_s)


def signals() -> list[signal.Signals]:
    """Those that end it: the last when the terminal is closed, unless nohup said not to care."""
    found = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


def _files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)


def connections(workers: int = 1) -> int:
    """Of clients, as many as there may be files for, each with one to an endpoint, and some for the rest.

    Each worker has files of its own. The kernel shares connections out evenly only by and large, so what all of them
    may have must be more than what one could.
    """
    return max(16, (_files() - 256) // 2) * workers


def _access_log(options: gateways.Options, say: Callable[[str], None]) -> AccessLog | None:
    """This process' own: workers write theirs. Raises OSError where it can't be written."""
    if options.workers > 1:
        try_out(options.access_log or "-")
        return None
    return AccessLog(options.access_log, say) if options.access_log else None


def run(options: Options, lock: IO[str], inherited: Inherited | None = None) -> int:
    """The exit status. Raises KeyboardInterrupt when it is interrupted before anything runs."""
    import uvloop

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _files()
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    # Where the access log goes to standard output, that is for programs to read.
    voice = Voice(aside=options.gateway.access_log == "-")
    policies = Policies(voice.say)
    files = Files(
        options.paths,
        policies,
        config=options.config,
        text=options.config_text,
        shadow=options.shadow,
        recursive=options.recursive,
    )
    # Before the event loop: standard input may be slow to come, and a signal must be able to end that.
    reading = files.read(None)
    if options.cluster is not None:
        world: Made = partial(Cluster, options.cluster, files)
    else:
        world = partial(Local, options.pods, files, reading)

    async def main() -> int:
        settle_memory()
        return await System(options, world, policies, voice, log, lock, inherited).run()

    try:
        if unusable := files.unusable(reading):
            for line in unusable:
                voice.say(line)
            return 1
        log = _access_log(options.gateway, voice.say)
    except OSError as error:
        voice.say(f"--access-log {options.gateway.access_log}: {error.strerror or error}")
        return 1
    else:
        return uvloop.run(main())
    finally:
        voice.close()
