"""The engine of a model server, step by step on virtual time: continuous batching as vLLM v1 schedules it.

A step takes the running sequences in the order in which they came, then waiting ones, first come first served, until
the token budget, the sequence limit, the KV blocks or the adapter slots are used up. Long prompts are computed in
chunks. When blocks run out, the sequence that came last gives all of its blocks back and starts over later
(preemption by recompute). Source: vllm/v1/core/sched/scheduler.py and vllm/v1/core/kv_cache_manager.py of 0.32,
whose policies these are.
"""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from headgate.sim.adapters import Adapters
from headgate.sim.blocks import Block, Blocks, Note
from headgate.sim.cost import Cost


class Config(Struct, frozen=True):
    """The limits of one server, by their vLLM flags."""

    block_size: int = 16
    num_blocks: int = 4096
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_model_len: int = 8192
    prefix_caching: bool = True
    max_loras: int = 1
    max_cpu_loras: int = 1
    cost: Cost = Cost()


class Work(Struct, frozen=True, gc=False):
    """One sequence to generate: `prompt` tokens are there, `output` tokens (at least 1) are to come.

    `keys` name the content of the sequence's full blocks, each chained to the one before it and to the adapter, so
    that equal keys mean equal prefixes. `cached` False: compute the whole prompt (it is asked for its log
    probabilities).
    """

    id: str
    prompt: int
    output: int
    keys: Sequence[int] = ()
    adapter: str = ""
    cached: bool = True
    content: bytes = b""  # the tokens, and
    salt: str = ""  # of the cache: for who hears of blocks


class Stored(Note, frozen=True):
    """A sequence's blocks from the `first` to before the `past` are full, and cached."""

    work: Work
    first: int
    past: int


class Timeline(Struct, frozen=True, gc=False):
    """What happened to a sequence, in seconds of the clock that the engine was given."""

    arrived: float
    scheduled: float
    first_token: float
    ended: float
    preemptions: int
    cached_tokens: int


class Output(Struct, frozen=True, gc=False):
    """One more token for a sequence: the `tokens`-th. `timeline` comes with the last one."""

    id: str
    tokens: int
    since: float  # seconds since the token before it, or since it arrived
    cached_tokens: int
    timeline: Timeline | None = None


class Counts(Struct):
    """What the engine has counted since it started."""

    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    prompt_tokens_cached: int = 0
    generation_tokens: int = 0
    steps: int = 0


class _Sequence:
    __slots__ = (
        "arrived", "blocks", "cached", "computed", "first_token", "generated", "last_token", "preemptions",
        "scheduled", "work",
    )  # fmt: skip

    def __init__(self, work: Work, now: float) -> None:
        self.work = work
        self.blocks: list[Block] = []
        self.computed = 0  # tokens whose KV is there
        self.generated = 0
        self.cached = -1  # tokens that came from the prefix cache at first; -1 before it was scheduled
        self.preemptions = 0
        self.arrived = self.last_token = now
        self.scheduled = self.first_token = 0.0


class Engine:
    """One server's engine. Whoever has the clock adds work and calls `step` when `next_at` has come."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.counts = Counts()
        self.blocks = Blocks(config.num_blocks, config.prefix_caching)
        self.adapters = Adapters(config.max_loras, config.max_cpu_loras)
        self.next_at: float | None = None  # when the step under way ends; None when there is nothing to do
        self.step_tokens = 0  # tokens that the last ended step computed
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._batch: list[tuple[_Sequence, int]] = []
        self._deferred = 0

    # What others may know.

    @property
    def running(self) -> int:
        """Sequences in the batch (`vllm:num_requests_running`)."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences that wait, for whatever reason (`vllm:num_requests_waiting`)."""
        return len(self._waiting)

    @property
    def deferred(self) -> int:
        """Those that wait because no adapter slot was left for them in the last step."""
        return min(self._deferred, len(self._waiting))

    def busy_adapters(self) -> tuple[str, ...]:
        """The adapters that running or waiting sequences use."""
        names = (sequence.work.adapter for group in (self._running, self._waiting) for sequence in group)
        return tuple(dict.fromkeys(name for name in names if name))

    def held(self) -> dict[str, tuple[Block, ...]]:
        """The blocks that each running sequence holds."""
        return {sequence.work.id: tuple(sequence.blocks) for sequence in self._running}

    # What may be asked of it.

    def add(self, work: Work, now: float) -> None:
        """Queue a sequence. Raises ValueError for one that would not fit into the KV cache even alone."""
        if work.prompt + work.output - 1 > self.config.num_blocks * self.config.block_size:
            raise ValueError(f"{work.prompt} + {work.output} tokens do not fit into the KV cache")
        self._waiting.append(_Sequence(work, now))
        if self.next_at is None:
            self._begin(now)

    def abort(self, identity: str) -> bool:
        """Drop a sequence, wherever it is. False when there is none of that id."""
        for sequence in self._running:
            if sequence.work.id == identity:
                self._running.remove(sequence)
                self._batch = [entry for entry in self._batch if entry[0] is not sequence]
                self._release(sequence)
                return True
        for sequence in self._waiting:
            if sequence.work.id == identity:
                self._waiting.remove(sequence)
                return True
        return False

    def step(self, now: float) -> list[Output]:
        """End the step that was due by `now`, begin the next one, and tell what came out. Nothing when none was due."""
        if self.next_at is None or now < self.next_at:
            return []
        outputs = self._finish(self.next_at)
        self._begin(now)
        return outputs

    def at_once(self, work: Work, now: float) -> Timeline:
        """Do all of it in no time, as an engine without cost would that has nothing else to do: the same accounts,
        no steps.
        """
        size = self.config.block_size
        total = work.prompt + work.output - 1
        shared = self.blocks.find(work.keys, (work.prompt - 1) // size) if work.cached else []
        taken = self.blocks.take(shared, -(-total // size) - len(shared))
        if taken is None:
            raise ValueError(f"{total} tokens do not fit into {self.config.num_blocks} blocks of {size}")
        if work.adapter:
            self.adapters.use((work.adapter,))
        self._know(work, taken, len(shared), total // size)
        self.blocks.give_back(taken)
        hit = len(shared) * size
        self._count_prompt(work, hit)
        counts = self.counts
        counts.generation_tokens += work.output
        counts.steps += work.output
        self.step_tokens = 1
        return Timeline(now, now, now, now, 0, hit)

    # Scheduling.

    def _begin(self, now: float) -> None:
        self._batch = []
        config = self.config
        budget = config.max_num_batched_tokens
        preempted = False
        place = 0
        while place < len(self._running) and budget > 0:
            sequence = self._running[place]
            wanted = min(sequence.work.prompt + sequence.generated - sequence.computed, budget)
            while not self._grow(sequence, wanted):
                preempted = True
                victim = self._running.pop()
                self._preempt(victim)
                if victim is sequence:
                    break
            else:
                self._batch.append((sequence, wanted))
                budget -= wanted
                place += 1
        if not preempted:
            self._admit(budget, now)
        self.next_at = now + self._duration() if self._batch else None

    def _admit(self, budget: int, now: float) -> None:
        config = self.config
        adapters = {sequence.work.adapter for sequence in self._running if sequence.work.adapter}
        passed: list[_Sequence] = []
        while self._waiting and budget > 0 and len(self._running) < config.max_num_seqs:
            sequence = self._waiting.popleft()
            adapter = sequence.work.adapter
            if adapter and adapter not in adapters and len(adapters) >= config.max_loras:
                passed.append(sequence)
                continue
            wanted = self._start(sequence, budget)
            if not wanted:
                self._waiting.appendleft(sequence)
                break
            if adapter:
                adapters.add(adapter)
            if sequence.cached < 0:
                sequence.cached = sequence.computed
                sequence.scheduled = max(now, sequence.arrived)
                self._count_prompt(sequence.work, sequence.cached)
            self._running.append(sequence)
            self._batch.append((sequence, wanted))
            budget -= wanted
        self._deferred = len(passed)
        self._waiting.extendleft(reversed(passed))

    def _start(self, sequence: _Sequence, budget: int) -> int:
        """Take blocks for the first chunk of a waiting sequence; its tokens in this step, or 0 when blocks are
        short.
        """
        size = self.config.block_size
        length = sequence.work.prompt + sequence.generated
        # The last token is computed in any case: its logits are what is sampled from.
        shared = self.blocks.find(sequence.work.keys, (length - 1) // size) if sequence.work.cached else []
        computed = len(shared) * size
        wanted = min(length - computed, budget)
        taken = self.blocks.take(shared, -(-(computed + wanted) // size) - len(shared))
        if taken is None:
            return 0
        sequence.blocks = taken
        sequence.computed = computed
        return wanted

    def _grow(self, sequence: _Sequence, wanted: int) -> bool:
        missing = -(-(sequence.computed + wanted) // self.config.block_size) - len(sequence.blocks)
        if missing > 0:
            taken = self.blocks.take((), missing)
            if taken is None:
                return False
            sequence.blocks += taken
        return True

    def _preempt(self, sequence: _Sequence) -> None:
        self._release(sequence)
        self._batch = [entry for entry in self._batch if entry[0] is not sequence]
        sequence.computed = 0
        sequence.preemptions += 1
        self.counts.preemptions += 1
        self._waiting.appendleft(sequence)

    def _release(self, sequence: _Sequence) -> None:
        self.blocks.give_back(sequence.blocks)
        sequence.blocks = []

    def _duration(self) -> float:
        prefill = kv = 0
        for sequence, wanted in self._batch:
            kv += sequence.computed + wanted
            if sequence.computed < sequence.work.prompt:
                prefill += wanted
        cost = self.config.cost
        names = [sequence.work.adapter for sequence, _ in self._batch if sequence.work.adapter]
        copied, read = self.adapters.use(names) if names else (0, 0)
        return cost.step(prefill, len(self._batch), kv) + copied * cost.adapter_copy + read * cost.adapter_load

    # What a step leaves behind.

    def _finish(self, at: float) -> list[Output]:
        outputs = []
        size = self.config.block_size
        self.step_tokens = 0
        self.counts.steps += 1
        for sequence, computed in self._batch:
            work = sequence.work
            full = sequence.computed // size
            sequence.computed += computed
            self.step_tokens += computed
            self._know(work, sequence.blocks, full, sequence.computed // size)
            if sequence.computed < work.prompt + sequence.generated:
                continue
            sequence.generated += 1
            self.counts.generation_tokens += 1
            if sequence.generated == 1:
                sequence.first_token = at
            timeline = None
            if sequence.generated == work.output:
                timeline = Timeline(
                    sequence.arrived,
                    sequence.scheduled,
                    sequence.first_token,
                    at,
                    sequence.preemptions,
                    sequence.cached,
                )
                self._running.remove(sequence)
                self._release(sequence)
            outputs.append(
                Output(work.id, sequence.generated, at - sequence.last_token, max(sequence.cached, 0), timeline)
            )
            sequence.last_token = at
        return outputs

    def _know(self, work: Work, blocks: Sequence[Block], first: int, full: int) -> None:
        past = min(full, len(work.keys))
        for place in range(first, past):
            self.blocks.know(blocks[place], work.keys[place])
        if past > first and self.blocks.notes is not None and self.config.prefix_caching:
            self.blocks.notes.append(Stored(work, first, past))

    def _count_prompt(self, work: Work, hit: int) -> None:
        counts = self.counts
        if work.cached:
            counts.prefix_queries += work.prompt
            counts.prefix_hits += hit
        counts.prompt_tokens += work.prompt
        counts.prompt_tokens_cached += hit
