"""Brings the adapters of one vLLM server to what a configuration asks for, and keeps them there.

It asks through `Ask` and waits through asyncio, so that tests run it against a server of their own on virtual time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from headgate.lora.config import Desired
from headgate.lora.diff import Load, Step, Unload, diff, pause
from headgate.runtime.client import Answer, ClientError

_log = logging.getLogger("headgate.lora-syncer")

_ANSWER_S = 5.0  # health and the model list are cheap to answer
_STEP_S = 600.0  # a server downloads an adapter before it answers
_SOONEST_S = 0.1  # the first look for a server's health after one that found it starting
_AT_ONCE = 4  # downloads that share the server's network and disk


class Ask(Protocol):
    """Puts a question with a JSON body ("" for none) to the server. Raises ClientError when no answer comes."""

    def __call__(
        self, method: str, host: str, port: int, path: str, body: bytes, seconds: float
    ) -> Awaitable[Answer]: ...


class Timing(Struct, frozen=True):
    """Seconds: how long to wait for health before complaining, how often to look, how often to compare the lists."""

    health_timeout: float = 300.0
    health_interval: float = 2.0
    reconcile: float = 5.0


class _Failure(Struct, frozen=True):
    count: int
    retry_at: float


class Reconciler:
    """One server's adapters. `want` says what they should be, `run` makes it so until it is cancelled."""

    def __init__(self, ask: Ask, timing: Timing) -> None:
        self._ask = ask
        self._timing = timing
        self._desired: Desired | None = None
        self._wanted = asyncio.Event()  # there is a configuration
        self._wake = asyncio.Event()  # the configuration changed, or a step is done
        self._look_at = 0.0  # when to read the server's list again
        self._present: dict[str, str | None] = {}  # what the server has → the source, where we loaded it
        self._known = False  # `_present` is what the server said, not what we don't know yet
        self._failures: dict[Step, _Failure] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._complaint = ""

    def want(self, desired: Desired) -> None:
        """Take a new configuration. What failed before is tried again at once: it may be what was mended."""
        before, self._desired = self._desired, desired
        if before is not None and (before.host, before.port) != (desired.host, desired.port):
            self._present.clear()
            self._known = False
        self._failures.clear()
        self._look_at = 0.0
        self._wanted.set()
        self._wake.set()

    @property
    def status(self) -> Mapping[str, bool]:
        """Each adapter that the configuration names → whether the server has it."""
        if self._desired is None:
            return {}
        names = [adapter.id for adapter in self._desired.exist] + list(self._desired.absent)
        return {name: name in self._present for name in names}

    async def run(self) -> None:
        """Wait for a configuration and for the server's health, then reconcile: on change, on time, and on failure."""
        loop = asyncio.get_running_loop()
        try:
            await self._wanted.wait()
            await self._healthy()
            while True:
                self._wake.clear()
                if loop.time() >= self._look_at:
                    # Set first: an edit that comes while we look asks for another look.
                    self._look_at = loop.time() + self._timing.reconcile
                    if not await self._look():
                        self._look_at = 0.0
                        await self._healthy()
                        continue
                until = min(self._look_at, self._start())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await self._wake.wait()
        finally:
            for task in self._running.values():
                task.cancel()

    async def _healthy(self) -> None:
        """Return when the server answers GET /health with 200."""
        loop = asyncio.get_running_loop()
        since = complained = loop.time()
        announced = ""
        while True:
            place = self._place()
            if place != announced:
                announced = place
                _log.info("waiting for http://%s/health", place)
            try:
                answer = await self._send("GET", "/health", b"", _ANSWER_S)
                if answer.status == 200:
                    _log.info("the model server at %s is healthy", self._place())
                    return
                reason = f"it answers {answer.status}"
            except ClientError as error:
                reason = str(error)
            now = loop.time()
            if now - complained >= self._timing.health_timeout:
                complained = now
                _log.error("http://%s/health: not healthy for %.0f s: %s", self._place(), now - since, reason)
            # Often at first: a server that starts in a second should not be kept waiting for two.
            await asyncio.sleep(min(self._timing.health_interval, max(_SOONEST_S, (now - since) / 4)))

    async def _look(self) -> bool:
        """Read which adapters the server has. False: it does not answer any more."""
        busy = set(self._running)  # a step that ends before the answer comes makes it old news about its adapter
        try:
            answer = await self._send("GET", "/v1/models", b"", _ANSWER_S)
        except ClientError as error:
            _log.warning("the model server at %s is gone: %s", self._place(), error)
            self._lose(set(self._present))
            self._known = False
            return False
        adapters = _adapters(answer)
        if adapters is None:
            self._complain(f"GET /v1/models answered {answer.status}: {_message(answer)}; trying again")
            return True
        self._complaint = ""
        self._known = True
        lost = self._present.keys() - adapters - busy
        if lost:
            _log.warning("the server has no %s any more (it may have restarted)", ", ".join(sorted(lost)))
            self._lose(lost)
        for name in adapters - busy:
            self._present.setdefault(name, None)
        return True

    def _lose(self, names: set[str]) -> None:
        for name in names:
            del self._present[name]
        self._failures.clear()

    def _start(self) -> float:
        """Start the steps that are due; when the next one is."""
        assert self._desired is not None
        if not self._known:
            return self._look_at
        now, until = asyncio.get_running_loop().time(), float("inf")
        steps = diff(self._desired, self._present)
        self._failures = {step: failure for step, failure in self._failures.items() if step in steps}
        for step in steps:
            if step.name in self._running:
                continue
            failure = self._failures.get(step)
            if failure is None or failure.retry_at <= now:
                self._running[step.name] = asyncio.create_task(self._take(step))
            else:
                until = min(until, failure.retry_at)
        return until

    async def _take(self, step: Step) -> None:
        try:
            async with self._slots:
                refusal = await (self._unload(step.name) if isinstance(step, Unload) else self._load(step))
        except ClientError as error:
            refusal = str(error)
        finally:
            self._running.pop(step.name, None)
            self._wake.set()
        if not refusal:
            self._failures.pop(step, None)
            return
        count = self._failures[step].count + 1 if step in self._failures else 1
        delay = pause(count)
        self._failures[step] = _Failure(count, asyncio.get_running_loop().time() + delay)
        verb = "unload" if isinstance(step, Unload) else "load"
        _log.error("can't %s %s: %s; trying again in %g s", verb, step.name, refusal, delay)

    async def _load(self, step: Load) -> str:
        """Load an adapter; "" when the server has it, else why not."""
        body: dict[str, Any] = {"lora_name": step.name, "lora_path": step.source}
        if step.base:
            body["base_model_name"] = step.base  # the sidecar's field; vLLM 0.32 ignores it
        if step.replace:
            body["load_inplace"] = True
        answer = await self._send("POST", "/v1/load_lora_adapter", msgspec.json.encode(body), _STEP_S)
        if answer.status == 200:
            _log.info("%s %s from %s", "replaced" if step.replace else "loaded", step.name, step.source)
        elif answer.status == 400 and "already" in _message(answer):
            if step.replace:  # a server that does not know `load_inplace`: an older vLLM
                return await self._unload(step.name) or await self._load(Load(step.name, step.source, step.base))
            _log.info("%s was loaded already", step.name)
        else:
            return f"{step.source}: {_refusal(answer)}"
        self._present[step.name] = step.source
        return ""

    async def _unload(self, name: str) -> str:
        """Unload an adapter; "" when the server does not have it, else why it still does."""
        body = msgspec.json.encode({"lora_name": name})
        answer = await self._send("POST", "/v1/unload_lora_adapter", body, _STEP_S)
        if answer.status != 200 and not (answer.status == 404 and not _is_no_route(answer)):
            return _refusal(answer)
        _log.info("unloaded %s", name)
        self._present.pop(name, None)
        return ""

    def _place(self) -> str:
        assert self._desired is not None
        return f"{self._desired.host}:{self._desired.port}"

    async def _send(self, method: str, path: str, body: bytes, seconds: float) -> Answer:
        assert self._desired is not None
        return await self._ask(method, self._desired.host, self._desired.port, path, body, seconds)

    def _complain(self, text: str) -> None:
        """Say it once, until something goes well again."""
        if text != self._complaint:
            self._complaint = text
            _log.error("%s", text)


def _adapters(answer: Answer) -> set[str] | None:
    """The adapters in an answer of /v1/models: what has a parent. None when it is no such answer."""
    if answer.status != 200:
        return None
    try:
        entries = msgspec.json.decode(answer.body)["data"]
        return {entry["id"] for entry in entries if entry.get("parent")}
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return None


def _message(answer: Answer) -> str:
    """What the server says, in one line: of OpenAI's error form the message, else the text itself."""
    try:
        body = msgspec.json.decode(answer.body)
        error = body.get("error", body)
        text = error.get("message") or error.get("detail")
    except (msgspec.DecodeError, AttributeError):
        text = None
    text = text or answer.body.decode("utf-8", "replace")
    return " ".join(str(text).split())[:300]


def _is_no_route(answer: Answer) -> bool:
    """FastAPI's 404 for a path that it does not have, as against vLLM's for an adapter that it does not have."""
    return answer.status == 404 and _message(answer) == "Not Found"


def _refusal(answer: Answer) -> str:
    if _is_no_route(answer):
        return "the server has no such call; start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=true"
    return f"{answer.status} {_message(answer)}"
