"""`headgate sim`: the model server simulator behind a socket. Here are its clock and its HTTP face."""

import argparse
import asyncio
import gc
import os
import platform
import resource
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import uvloop

from headgate.runtime import simulator_flags
from headgate.runtime.cards import Unusable, fitted
from headgate.runtime.handover import Clock, Peers, side_channel, splits
from headgate.runtime.kv_publisher import Publisher, Unpublishable
from headgate.runtime.server import Answer, Request, Server, Stream, serve
from headgate.sim import routes
from headgate.sim.handover import LOST, Connector, Source
from headgate.sim.job import Job, alone
from headgate.sim.meter import Process
from headgate.sim.refusals import Reply
from headgate.sim.service import Service, Settings, Told


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0 after a clean end, 2 for flags that can't be."""
    try:
        flags, unknown = simulator_flags.parse(argv)
        settings = simulator_flags.settings(flags)
        if isinstance(settings, str):
            return _complain(settings)
        if flags.fit:
            card = msgspec.json.encode(fitted(flags.fit, settings.config))
            sys.stdout.write(msgspec.json.format(card).decode() + "\n")
            return 0
    except Unusable as error:
        return _complain(str(error))
    if unknown:
        names = ", ".join(word for word in unknown if word.startswith("-")) or ", ".join(unknown)
        _say(f"headgate sim: warning: these flags change nothing here: {names}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, flags))


async def _run(settings: Settings, flags: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)  # asked twice: at once, whatever is under way
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if flags.startup_delay > 0:
        try:
            async with asyncio.timeout(flags.startup_delay):
                await stopping.wait()
            return 0
        except TimeoutError:
            pass
    publisher = None
    if settings.kv_events.publishes:
        try:
            publisher = Publisher(settings.kv_events, flags.host)
        except Unpublishable as error:
            return _complain(str(error))
    face = Face(settings, publisher.publish if publisher is not None else None)
    beside: Server | None = None
    if settings.connector is not None:
        at = settings.connector
        try:
            beside = await face.listen_beside(at)
        except OSError as error:
            return _complain(f"can't listen on {at.host}:{at.port} (VLLM_NIXL_SIDE_CHANNEL_PORT): {_why(error)}")
    where = flags.uds or f"{flags.host or '0.0.0.0'}:{flags.port}"
    try:
        server = await start(face, host=flags.host, port=flags.port, path=flags.uds)
    except OSError as error:
        return _complain(f"can't listen on {where}: {_why(error)}")
    if not flags.uds:
        where = f"http://{flags.host or '0.0.0.0'}:{server.port}"
    gc.collect()
    gc.freeze()  # what start-up made stays: no reason to look at it again and again
    _say(f"headgate sim: {settings.names[0]} on {where}")
    await stopping.wait()
    await server.close()
    if beside is not None:
        await beside.close()
    if publisher is not None:
        publisher.close()
    return 0


async def start(face: "Face", *, host: str = "", port: int = 0, path: str = "") -> Server:
    """Listen, and answer with `face`. Raises OSError when the address can't be had."""
    if path:
        return await serve(face, path=path)
    return await serve(face, host=host or None, port=port)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _complain(text: str) -> int:
    sys.stderr.write(f"headgate sim: {text}\n")
    return 2


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class _Listener:
    """Who waits for a job: parts that have come, and a way to be woken."""

    __slots__ = ("ended", "parts", "waiter")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.ended = False
        self.waiter: asyncio.Future[None] | None = None


class Face:
    """The handler of the HTTP server. Construct it inside a running loop."""

    def __init__(self, settings: Settings, publish: Callable[[bytes], None] | None = None) -> None:
        """`publish` takes KV events, batch by batch."""
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._now = Clock(time.time() - self._loop.time())
        self._peers = Peers() if settings.connector is not None else None
        self._at_once = settings.at_once
        started = self._now()
        self.service = Service(
            settings, started, lambda: secrets.token_hex(8), os.path.isdir, lambda: _process(started)
        )
        self._listeners: dict[int, _Listener] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    async def listen_beside(self, connector: Connector) -> Server:
        """Where other servers ask for KV cache. Raises OSError."""
        return await serve(side_channel(self.service, self._now, self._arm), host=connector.host, port=connector.port)

    def __call__(self, request: Request) -> Answer | Stream | Awaitable[Answer | Stream]:
        if self._peers is not None and splits(request):
            return self._split(self._peers, request)
        return self._take(request)

    async def _split(self, peers: Peers, request: Request) -> Answer | Stream:
        """As the routing sidecar: one that prefills first, then this one."""
        prefilled = await peers.prefilled(request)
        if isinstance(prefilled, Answer):
            return prefilled
        answer = self._take(prefilled)
        return answer if isinstance(answer, Answer | Stream) else await answer

    def _take(self, request: Request) -> Answer | Stream | Awaitable[Answer | Stream]:
        now = self._now()
        found = routes.answer(self.service, request, now)
        answered = found.answer
        if isinstance(answered, Reply):
            self._tell_events()
            if answered.after:
                return self._later(request, found.route, answered, now)
            return self._reply(request, found.route, answered, now)
        if answered.source is not None and self._peers is not None:
            return self._pull(self._peers, answered.source, answered, request, found.route, now)
        return self._work(answered, request, found.route, now)

    async def _pull(
        self, peers: Peers, source: Source, job: Job, request: Request, route: str, began: float
    ) -> Answer | Stream:
        """A job whose prompt another server has computed."""
        try:
            there = await peers.have(source)
        except asyncio.CancelledError:  # the client went away
            peers.pulled(source)
            raise
        if not there:
            connector = self.service.settings.connector
            if connector is None or not connector.recompute:
                return self._reply(request, route, LOST, began)
            job = alone(job)
        answer = self._work(job, request, route, began)
        return answer if isinstance(answer, Answer | Stream) else await answer

    def _work(self, answered: Job, request: Request, route: str, now: float) -> Answer | Stream | Awaitable[Answer]:
        if self._at_once:
            body = self.service.at_once(answered, now)
            self._tell_others()
            if answered.stream:
                return Stream(200, routes.stream_headers(), self._one(body, request, route, now))
            return self._whole(body, request, route, now)
        key = self.service.begin(answered, now)
        listener = self._listeners[key] = _Listener()
        self._arm()
        if answered.stream:
            return Stream(200, routes.stream_headers(), self._parts(key, listener, request, route, now))
        return self._wait(key, listener, request, route, now)

    # Answers.

    def _reply(self, request: Request, route: str, reply: Reply, began: float) -> Answer | Stream:
        self._count(request, route, reply.status, len(reply.body), began)
        if reply.chunked:
            return Stream(reply.status, reply.headers, _chunks(reply.body))
        return Answer(reply.status, reply.headers, reply.body)

    async def _later(self, request: Request, route: str, reply: Reply, began: float) -> Answer | Stream:
        await asyncio.sleep(reply.after)
        return self._reply(request, route, reply, began)

    def _whole(self, body: bytes, request: Request, route: str, began: float) -> Answer:
        self._count(request, route, 200, len(body), began)
        return Answer(200, routes.whole_headers(self.service, request), body)

    async def _wait(self, key: int, listener: _Listener, request: Request, route: str, began: float) -> Answer:
        try:
            while not listener.ended:
                await self._woken(listener)
        finally:
            self._leave(key, listener)
        return self._whole(listener.parts[0], request, route, began)

    async def _parts(
        self, key: int, listener: _Listener, request: Request, route: str, began: float
    ) -> AsyncIterator[bytes]:
        try:
            while True:
                parts, listener.parts = listener.parts, []
                for part in parts:
                    yield part
                if listener.ended and not listener.parts:
                    break
                if not listener.parts:
                    await self._woken(listener)
        finally:
            self._leave(key, listener)
            self._count(request, route, 200, 0, began)

    async def _one(self, body: bytes, request: Request, route: str, began: float) -> AsyncIterator[bytes]:
        yield body
        self._count(request, route, 200, 0, began)

    def _count(self, request: Request, route: str, status: int, sent: int, began: float) -> None:
        if route:
            now = self._now()
            asked = int(request.headers.get("content-length") or 0)
            self.service.meter.served(route, request.method, status, asked, sent, now - began, now)

    # The clock.

    def _arm(self) -> None:
        due = self.service.next_at
        if due is not None and (self._timer is None or due < self._due):
            if self._timer is not None:  # it was for a lease
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_at(due - self._now.offset, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._now() + 0.001  # timers fire up to a millisecond early
        while (due := self.service.next_at) is not None and due <= now:
            # A step begins when the one before it was due: a late timer does not slow the engine down for good.
            for told in self.service.step(max(due, now - 0.02)):
                self._hand_over(told)
            self._tell_others()
        self._arm()

    def _tell_others(self) -> None:
        """Who follows the KV cache, and whoever had a part of it."""
        if self._peers is not None:
            for source in self.service.pulled():
                self._peers.pulled(source)
        self._tell_events()

    def _tell_events(self) -> None:
        if self._publish is not None and (batch := self.service.happened(self._now())) is not None:
            self._publish(batch)

    def _hand_over(self, told: Told) -> None:
        listener = self._listeners.get(told.key)
        if listener is None:
            return
        listener.parts.append(told.data)
        if told.last:
            listener.ended = True
            del self._listeners[told.key]
        if listener.waiter is not None and not listener.waiter.done():
            listener.waiter.set_result(None)

    async def _woken(self, listener: _Listener) -> None:
        listener.waiter = self._loop.create_future()
        await listener.waiter
        listener.waiter = None

    def _leave(self, key: int, listener: _Listener) -> None:
        if not listener.ended:
            del self._listeners[key]
            self.service.abort(key)
            self._tell_others()


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


_PYTHON = dict(zip(("major", "minor", "patchlevel"), platform.python_version_tuple(), strict=True)) | {
    "implementation": platform.python_implementation(),
    "version": platform.python_version(),
}
_PAGE = resource.getpagesize()


def _process(started: float) -> Process:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    virtual = resident = fds = 0.0
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = file.read().split()
        virtual, resident = float(pages[0]) * _PAGE, float(pages[1]) * _PAGE
        fds = float(len(os.listdir("/proc/self/fd")))
    except OSError:
        resident = usage.ru_maxrss * 1024.0  # no /proc: the most it ever had
    return Process(
        virtual,
        resident,
        started,
        usage.ru_utime + usage.ru_stime,
        fds,
        float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        tuple((entry["collected"], entry["uncollectable"], entry["collections"]) for entry in gc.get_stats()),
        _PYTHON,
    )
