"""The simulated server as a whole, without its socket and its clock: requests in, replies and parts of streams out."""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from headgate.sim import handover
from headgate.sim.bodies import Ask
from headgate.sim.catalog import Catalog
from headgate.sim.draft import Prompt, Sampling, draft, keys
from headgate.sim.engine import Config, Engine
from headgate.sim.handover import Connector, Source
from headgate.sim.job import VERSION, Choice, Heading, Job
from headgate.sim.kv_events import KvEventsConfig, batch
from headgate.sim.meter import Meter, Process
from headgate.sim.refusals import Reply
from headgate.sim.sequence import Output, Work

_PROMISED_S = 480.0  # a pull that takes longer is none
_NUMBER = re.compile("[0-9a-f]{8,16}")


class Settings(Struct, frozen=True):
    """One server, by its flags. `adapters`: (name, path, base or "") loaded from the start."""

    names: tuple[str, ...]
    root: str
    config: Config = Config()
    lora: bool = False
    updating: bool = False  # VLLM_ALLOW_RUNTIME_LORA_UPDATING: the adapter calls exist
    adapters: tuple[tuple[str, str, str], ...] = ()
    at_once: bool = False  # nothing takes any time
    kv_events: KvEventsConfig = KvEventsConfig()
    developed: bool = False  # VLLM_SERVER_DEV_MODE: the calls for development exist
    connector: Connector | None = None  # KV cache may come from other servers, and go there


class Told(Struct, frozen=True, gc=False):
    """A part of a job's answer: the next bytes of a stream, or a whole body. `last`: there is no more."""

    key: int
    data: bytes
    last: bool


class _Open:
    """A job that the engine works on."""

    __slots__ = ("begun", "job", "key", "left")

    def __init__(self, key: int, job: Job) -> None:
        self.key = key
        self.job = job
        self.left = len(job.choices)
        self.begun = False


class Service:
    """Times are unix seconds. The edge gives what only it can know: ids, whether a directory exists, the process."""

    def __init__(
        self,
        settings: Settings,
        now: float,
        new_id: Callable[[], str],
        exists: Callable[[str], bool],
        process: Callable[[], Process],
    ) -> None:
        self.settings = settings
        self.new_id = new_id
        self.exists = exists
        self.process = process
        self.catalog = Catalog(settings.names, settings.root, settings.config.max_model_len)
        self.engine = Engine(settings.config)
        if settings.kv_events.publishes:
            self.engine.blocks.notes = []
        self.meter = Meter(settings.names[0], settings.config, settings.lora, now)
        self.fingerprint = f"vllm-{VERSION}-{_short(settings.root)}"
        self._serial = 0
        self._open: dict[str, tuple[_Open, int]] = {}
        self._keys: dict[int, _Open] = {}
        self._sources: dict[str, Source] = {}  # of sequences that pull
        for name, path, base in settings.adapters:
            self.catalog.load(name, path, base)
            self.engine.adapters.load(name)

    # What handlers make jobs with.

    def choices(self, model: str, prompts: list[tuple[Prompt, Sampling]], fields: dict[str, Any]) -> tuple[Choice, ...]:
        """`n` choices for each prompt, each of them a sequence for the engine."""
        adapter = model if model in self.catalog.adapters else ""
        salt = fields.get("cache_salt") or ""
        fresh = fields.get("prompt_logprobs") is not None or bool(fields.get("echo"))
        size = self.settings.config.block_size
        made = []
        connector, params = self.settings.connector, fields.get("kv_transfer_params")
        pulls = connector is not None and handover.source(params) is not None
        keeps = connector.lease if connector is not None and handover.keeps(params) else 0.0
        for prompt, sampling in prompts:
            for number in range(sampling.n):
                spoken = draft(model, prompt, sampling, number)
                self._serial += 1
                said = prompt.tokens + spoken.tokens
                content = keys(said, size, f"{adapter}\0{salt}" if adapter or salt else "")
                work = Work(
                    str(self._serial), prompt.count, spoken.count, content, adapter, not fresh, said, salt, pulls, keeps
                )
                made.append(Choice(work, prompt, spoken))
        return tuple(made)

    def heading(self, prefix: str, ask: Ask, fields: dict[str, Any], model: str, now: float) -> Heading:
        """The id is `prefix` and what the client gave for one, if it gave one."""
        given = ask.headers.get("x-request-id") or fields.get("request_id") or self.new_id()
        identity = f"{prefix}{given}"
        inside = f"{identity}-0" if prefix == "cmpl-" else identity
        return Heading(identity, int(now), model, self.fingerprint, lambda work: self._kept_as(inside, work))

    # What the edge drives it with.

    @property
    def next_at(self) -> float | None:
        """When `step` is due; None while nothing is going on."""
        return self.engine.next_at

    def begin(self, job: Job, now: float) -> int:
        """Hand a job to the engine; its key, by which `step` tells of it."""
        self._serial += 1
        opened = _Open(self._serial, job)
        self._keys[opened.key] = opened
        self.meter.asked(job.n, max(choice.draft.count for choice in job.choices))
        for index, choice in enumerate(job.choices):
            if job.source is not None:
                self._sources[choice.work.id] = job.source
            self._open[choice.work.id] = (opened, index)
            self.engine.add(choice.work, now)
        self._note_adapters(now)
        return opened.key

    def step(self, now: float) -> list[Told]:
        """What came out of the engine by now."""
        outputs = self.engine.step(now)
        if not outputs:
            return []
        self.meter.stepped(self.engine.step_tokens, [output.since for output in outputs if output.tokens > 1])
        told = []
        for output in outputs:
            part = self._tell(output)
            if part is not None:
                told.append(part)
        self._note_adapters(now)
        return told

    def abort(self, key: int) -> None:
        """The job's client went away."""
        opened = self._keys.pop(key, None)
        if opened is None:
            return
        for choice in opened.job.choices:
            self._open.pop(choice.work.id, None)
            if self.engine.abort(choice.work.id):
                self.meter.aborted()

    def at_once(self, job: Job, now: float) -> bytes:
        """All of a job's answer, now: what a server without any cost would do."""
        meter = self.meter
        meter.asked(job.n, max(choice.draft.count for choice in job.choices))
        for choice in job.choices:
            if job.source is not None:
                self._sources[choice.work.id] = job.source
            timeline = self.engine.at_once(choice.work, now)
            spoken = choice.draft
            meter.at_once(spoken.finish, choice.prompt.count, spoken.count, job.limit, timeline.cached_tokens)
            if choice.work.adapter:
                meter.adapters((choice.work.adapter,), now)
        if not job.stream:
            return job.whole()
        parts = [job.opening()]
        for index, choice in enumerate(job.choices):
            parts += [job.piece(index, before, before + 1) for before in range(choice.draft.count)]
        parts.append(job.closing())
        return b"".join(parts)

    def happened(self, now: float) -> bytes | None:
        """What happened to the KV cache since this was asked last, as one message; None where nothing did."""
        notes = self.engine.blocks.notes
        if not notes:
            return None
        told = batch(notes, self.settings.config.block_size, self.catalog.number, now)
        notes.clear()
        return told

    # Between servers.

    def promise(self, engine: str, request: str, now: float) -> int | None:
        """Somebody is about to pull what was prefilled for it: it stays. How many tokens, None where none are left."""
        work, transfers = self._work(engine, request), self.engine.transfers
        kept = transfers.kept(work)
        if kept is None or kept.until <= now:
            return None
        transfers.extend(work, now + _PROMISED_S)
        return kept.tokens

    def give_up(self, engine: str, request: str, now: float) -> None:
        """Nobody needs it any more."""
        self.engine.let_go(self._work(engine, request), now)

    def pulled(self) -> list[Source]:
        """Where everything was pulled, or is not wanted any more, since this was asked last."""
        ended, self.engine.transfers.pulled = self.engine.transfers.pulled, []
        sources = [self._sources.pop(work) for work in ended if work in self._sources]
        return [one for one in sources if one not in self._sources.values()]

    def _kept_as(self, name: str, work: str) -> dict[str, Any] | None:
        """What to tell of a sequence that is kept."""
        connector, kept = self.settings.connector, self.engine.transfers.kept(work)
        if connector is None or kept is None:
            return None
        return handover.told(connector, f"{name}-{int(work):08x}", kept.blocks, kept.tokens, kept.cached)

    def _work(self, engine: str, request: str) -> str:
        """The sequence that was told so; "" for what is not of this process."""
        mine = self.settings.connector is not None and engine == self.settings.connector.engine
        number = request.rpartition("-")[2]
        return str(int(number, 16)) if mine and _NUMBER.fullmatch(number) else ""

    def load(self) -> tuple[float, float]:
        """Requests that wait and the share of the KV cache in use: what the ORCA header reports."""
        return float(self.engine.waiting), self.engine.blocks.usage

    def page(self, now: float) -> bytes:
        """The metrics page."""
        self._note_adapters(now)
        return self.meter.page(self.engine, self.process(), now).encode()

    def _tell(self, output: Output) -> Told | None:
        opened, index = self._open[output.id]
        job = opened.job
        choice = job.choices[index]
        if output.tokens == 1:
            self.meter.began(output.since)
        if output.timeline is not None:
            del self._open[output.id]
            opened.left -= 1
            self.meter.ended(choice.draft.finish, choice.prompt.count, choice.draft.count, job.limit, output.timeline)
        last = not opened.left
        if last:
            del self._keys[opened.key]
        if not job.stream:
            return Told(opened.key, job.whole(), True) if last else None
        data = job.piece(index, output.tokens - 1, output.tokens)
        if not opened.begun:
            opened.begun = True
            data = job.opening() + data
        if last:
            data += job.closing()
        return Told(opened.key, data, last)

    def _note_adapters(self, now: float) -> None:
        if self.settings.lora:
            self.meter.adapters(self.engine.busy_adapters(), now)


def _short(text: str) -> str:
    """Eight hexadecimal digits that follow from a text (FNV-1a)."""
    state = 0x811C9DC5
    for byte in text.encode():
        state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{state:08x}"


Answered = Reply | Job
