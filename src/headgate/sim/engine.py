"""The engine of a model server, step by step on virtual time: continuous batching as vLLM v1 schedules it.

A step takes the running sequences in the order in which they came, then waiting ones, first come first served, until
the token budget, the sequence limit, the KV blocks or the adapter slots are used up. Long prompts are computed in
chunks. When blocks run out, the sequence that came last gives all of its blocks back and starts over later
(preemption by recompute). Source: vllm/v1/core/sched/scheduler.py and vllm/v1/core/kv_cache_manager.py of 0.32,
whose policies these are.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from math import inf

from msgspec import Struct

from headgate.sim.adapters import Adapters
from headgate.sim.blocks import Block, Blocks
from headgate.sim.coasting import ends, pass_over, uneventful
from headgate.sim.cost import Cost
from headgate.sim.sequence import Counts, Output, Queued, Stored, Timeline, Work
from headgate.sim.transfers import Kept, Transfers


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


class Engine:
    """One server's engine. Whoever has the clock adds work and calls `step` when `next_at` has come."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.counts = Counts()
        self.blocks = Blocks(config.num_blocks, config.prefix_caching)
        self.adapters = Adapters(config.max_loras, config.max_cpu_loras)
        self.transfers = Transfers(config.cost.transfer)
        self.next_at: float | None = None  # when the step under way ends; None when there is nothing to do
        self.step_tokens = 0  # tokens that the last ended step computed
        self._waiting: deque[Queued] = deque()
        self._ready: deque[Queued] = deque()  # what they pulled is here
        self._running: list[Queued] = []
        self._batch: list[tuple[Queued, int]] = []
        self._deferred = 0
        self._idle = True  # no step is under way: what is next is a transfer's end, if anything
        self._tried = False  # whether waiting sequences were looked at when the step under way began
        self._closed = False  # whoever comes now is not admitted as long as nobody ends
        self._ahead: list[float] = []  # when steps end: uneventful ones, and the first that may be more; once asked for

    # What others may know.

    @property
    def running(self) -> int:
        """Sequences in the batch (`vllm:num_requests_running`)."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences that wait, for whatever reason (`vllm:num_requests_waiting`)."""
        return len(self._waiting) + len(self._ready) + self.transfers.coming

    @property
    def deferred(self) -> int:
        """Those that wait for what they pull, or because no adapter slot was left for them in the last step."""
        return min(self._deferred, len(self._waiting) + len(self._ready)) + self.transfers.coming

    def busy_adapters(self) -> tuple[str, ...]:
        """The adapters that running or waiting sequences use."""
        groups = (self._running, self._ready, self._waiting)
        names = (sequence.work.adapter for group in groups for sequence in group)
        return tuple(dict.fromkeys(name for name in names if name))

    def held(self) -> dict[str, tuple[Block, ...]]:
        """The blocks that each running sequence holds."""
        return {sequence.work.id: tuple(sequence.blocks) for sequence in self._running}

    def held_apart(self) -> dict[str, tuple[Block, ...]]:
        """The blocks that others hold: who pulls or has, and what is kept for other servers."""
        return self.transfers.blocks() | {sequence.work.id: tuple(sequence.blocks) for sequence in self._ready}

    # What may be asked of it.

    def add(self, work: Work, now: float) -> None:
        """Queue a sequence. Raises ValueError for one that would not fit into the KV cache even alone."""
        if work.prompt + work.output - 1 > self.config.num_blocks * self.config.block_size:
            raise ValueError(f"{work.prompt} + {work.output} tokens do not fit into the KV cache")
        self._waiting.append(Queued(work, now))
        if not self._closed:
            self._ahead, self._tried = [], False
        if self._idle:
            self._begin(now)

    def let_go(self, identity: str, now: float) -> None:
        """Another server has what was kept of a sequence for it."""
        blocks = self.transfers.let_go(identity)
        if blocks:
            self.blocks.give_back(blocks)
            self._ahead, self._closed, self._tried = [], False, False
        if self._idle:
            self._begin(now)

    def abort(self, identity: str) -> bool:
        """Drop a sequence, wherever it is. False when there is none of that id."""
        self._ahead, self._closed, self._tried = [], False, False
        for sequence in self._running:
            if sequence.work.id == identity:
                self._running.remove(sequence)
                self._batch = [entry for entry in self._batch if entry[0] is not sequence]
                self._release(sequence)
                return True
        others = [(queue, one) for queue in (self._waiting, self._ready) for one in queue if one.work.id == identity]
        for queue, sequence in others:
            queue.remove(sequence)
        found = others[0][1] if others else self.transfers.abandon(identity)
        if found is not None:
            self._release(found)
        return found is not None

    def step(self, now: float, all_tokens: bool = True) -> list[Output]:
        """End the step that was due by `now`, begin the next one, and tell what came out. Nothing when none was due.

        Of each sequence only the first and the last token are told unless `all_tokens` are.
        """
        if self.next_at is None or now < self.next_at:
            return []
        outputs = [] if self._idle else self._finish(self.next_at, all_tokens)
        self._begin(now)
        return outputs

    def foresee(self) -> float | None:
        """When a step ends in which more may happen than one further token for each sequence of the batch, if nothing
        is asked of the engine until then; None when there is nothing to do.
        """
        if self.next_at is None:
            return None
        if not self._ahead:
            steps = 0
            waits = bool(self._waiting or self._ready)
            if self._batch and len(self._batch) == len(self._running) and (self._tried or not waits):
                crowded = waits and len(self._running) < self.config.max_num_seqs
                steps = uneventful(self._batch, self.blocks, self.config.block_size, crowded)
            self._ahead = ends(self.next_at, steps, self._batch, self.config.cost)
            while len(self._ahead) > 1 and self._ahead[-2] >= self.transfers.next_at:
                self._ahead.pop()
        return self._ahead[-1]

    def coast(self, until: float) -> None:
        """End all steps that are due before `until` and before what `foresee` tells, as `step` would have at their
        times: what comes out of them is one more token for each sequence of the batch, and nobody hears of it.
        """
        if self.next_at is not None and self.next_at < until:
            self.foresee()
            steps = bisect_left(self._ahead, until, 0, len(self._ahead) - 1)
            if not steps:
                return
            pass_over(self._batch, self.blocks, self.config.block_size, self._ahead[:steps])
            self.next_at = self._ahead[steps]
            del self._ahead[:steps]
            self.step_tokens = len(self._batch)
            self.counts.generation_tokens += steps * len(self._batch)
            self.counts.steps += steps
            if not self._waiting and not self._ready:
                self._deferred = 0
            names = [sequence.work.adapter for sequence, _ in self._batch if sequence.work.adapter]
            if names:  # all are there; but which was used last depends on the order of the batch
                self.adapters.use(names)

    def at_once(self, work: Work, now: float) -> Timeline:
        """Do all of it in no time, as an engine without cost would that has nothing else to do: the same accounts,
        no steps.
        """
        if self.transfers.next_at <= now:
            self._take_over(now)
        size = self.config.block_size
        total = work.prompt + work.output - 1
        shared = self.blocks.find(work.keys, (work.prompt - 1) // size) if work.cached else []
        taken = self.blocks.take(shared, -(-total // size) - len(shared))
        if taken is None:
            raise ValueError(f"{total} tokens do not fit into {self.config.num_blocks} blocks of {size}")
        if work.adapter:
            self.adapters.use((work.adapter,))
        self._know(work, taken, len(shared), total // size)
        if work.keeps:
            self.transfers.keep(work.id, Kept(now + work.keeps, taken, total, len(shared) * size))
        else:
            self.blocks.give_back(taken)
        hit = len(shared) * size
        pulled = work.prompt - hit if work.pulls else 0
        self.counts.prompt(work, hit, pulled)
        if work.pulls:
            self.transfers.pulled.append(work.id)
        counts = self.counts
        counts.generation_tokens += work.output
        counts.steps += work.output
        self.step_tokens = 1
        return Timeline(now, now, now, now, 0, hit, pulled)

    # Scheduling.

    def _begin(self, now: float) -> None:
        if self.transfers.next_at <= now:
            self._take_over(now)
        batch: list[tuple[Queued, int]] = []
        running = self._running
        self._batch, self._ahead, self._closed = batch, [], False
        size, budget = self.config.block_size, self.config.max_num_batched_tokens
        preempted = False
        place = 0
        while place < len(running) and budget > 0:
            sequence = running[place]
            computed = sequence.computed
            wanted = sequence.work.prompt + sequence.generated - computed
            if wanted > budget:
                wanted = budget
            while computed + wanted > len(sequence.blocks) * size and not self._grow(sequence, wanted):
                preempted = True
                victim = running.pop()
                self._preempt(victim)
                if victim is sequence:
                    break
            else:
                batch.append((sequence, wanted))
                budget -= wanted
                place += 1
        self._tried = not preempted
        if not preempted or not batch:
            self._admit(budget, now)
        self._idle = not self._batch
        if self._batch:
            self.next_at = now + self._duration()
        else:
            self.next_at = self.transfers.next_at if self.transfers.next_at < inf else None

    def _take_over(self, now: float) -> None:
        """What other servers sent is here, what was kept for them too long is free."""
        for sequence in self.transfers.arrived(now):
            work, had = sequence.work, sequence.computed
            sequence.computed = work.prompt - 1  # the last token is computed in any case
            size = self.config.block_size
            self._know(work, sequence.blocks, had // size, sequence.computed // size)
            self._ready.append(sequence)
        for blocks in self.transfers.expired(now):
            self.blocks.give_back(blocks)

    def _admit(self, budget: int, now: float) -> None:
        config = self.config
        if not self._waiting and not self._ready:
            self._deferred = 0
            self._closed = budget <= 0 or len(self._running) >= config.max_num_seqs
            return
        adapters = {sequence.work.adapter for sequence in self._running if sequence.work.adapter}
        passed: tuple[list[Queued], list[Queued]] = [], []
        while (self._ready or self._waiting) and budget > 0 and len(self._running) < config.max_num_seqs:
            ready = bool(self._ready)
            sequence = (self._ready or self._waiting).popleft()
            work = sequence.work
            adapter = work.adapter
            if adapter and adapter not in adapters and len(adapters) >= config.max_loras:
                passed[ready].append(sequence)
                continue
            pulls = work.pulls and sequence.cached < 0
            wanted = 1 if ready else self._start(sequence, work.prompt if pulls else budget)
            if not wanted:
                self._waiting.appendleft(sequence)
                self._closed = True
                break
            if pulls:
                sequence.cached, sequence.pulled = sequence.computed, wanted
                self.counts.prompt(work, sequence.cached, wanted)
                self.transfers.pull(sequence, wanted, now)
                continue
            if adapter:
                adapters.add(adapter)
            if ready or sequence.cached < 0:
                sequence.scheduled = max(now, sequence.arrived)
            if sequence.cached < 0:
                sequence.cached = sequence.computed
                self.counts.prompt(work, sequence.cached)
            self._running.append(sequence)
            self._batch.append((sequence, wanted))
            budget -= wanted
        self._deferred = len(passed[0]) + len(passed[1])
        self._waiting.extendleft(reversed(passed[0]))
        self._ready.extendleft(reversed(passed[1]))
        self._closed = self._closed or budget <= 0 or len(self._running) >= config.max_num_seqs

    def _start(self, sequence: Queued, budget: int) -> int:
        """Take blocks for the first chunk of a waiting sequence, for all of the prompt where it pulls; its tokens, or 0
        when blocks are short.
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

    def _grow(self, sequence: Queued, wanted: int) -> bool:
        missing = -(-(sequence.computed + wanted) // self.config.block_size) - len(sequence.blocks)
        if missing > 0:
            taken = self.blocks.take((), missing)
            if taken is None:
                return False
            sequence.blocks += taken
        return True

    def _preempt(self, sequence: Queued) -> None:
        self._release(sequence)
        self._batch[:] = [entry for entry in self._batch if entry[0] is not sequence]
        sequence.computed = 0
        sequence.preemptions += 1
        self.counts.preemptions += 1
        self._waiting.appendleft(sequence)

    def _release(self, sequence: Queued) -> None:
        self.blocks.give_back(sequence.blocks)
        sequence.blocks = []

    def _duration(self) -> float:
        prefill = kv = 0
        names = []
        for sequence, wanted in self._batch:
            work = sequence.work
            kv += sequence.computed + wanted
            if sequence.computed < work.prompt:
                prefill += wanted
            if work.adapter:
                names.append(work.adapter)
        cost = self.config.cost
        copied, read = self.adapters.use(names) if names else (0, 0)
        return cost.step(prefill, len(self._batch), kv) + copied * cost.adapter_copy + read * cost.adapter_load

    # What a step leaves behind.

    def _finish(self, at: float, all_tokens: bool) -> list[Output]:
        outputs = []
        size = self.config.block_size
        tokens = generated = 0
        for sequence, computed in self._batch:
            work = sequence.work
            full = sequence.computed // size
            after = sequence.computed = sequence.computed + computed
            tokens += computed
            if after // size > full:
                self._know(work, sequence.blocks, full, after // size)
            if after < work.prompt + sequence.generated:
                continue
            generated += 1
            number = sequence.generated = sequence.generated + 1
            gap = at - sequence.last_token
            if number == 1:
                sequence.first_token = at
            elif gap > sequence.longest_gap:
                sequence.longest_gap = gap
            if number == work.output:
                timeline = self._end(sequence, at)
            elif all_tokens or number == 1:
                timeline = None
            else:
                sequence.last_token = at
                continue
            outputs.append(Output(work.id, number, gap, sequence.cached, timeline))
            sequence.last_token = at
        self.step_tokens = tokens
        self.counts.steps += 1
        self.counts.generation_tokens += generated
        return outputs

    def _know(self, work: Work, blocks: Sequence[Block], first: int, full: int) -> None:
        past = min(full, len(work.keys))
        for place in range(first, past):
            self.blocks.know(blocks[place], work.keys[place])
        if past > first and self.blocks.notes is not None and self.config.prefix_caching:
            self.blocks.notes.append(Stored(work, first, past))

    def _end(self, sequence: Queued, at: float) -> Timeline:
        self._running.remove(sequence)
        if sequence.work.keeps:
            kept = Kept(at + sequence.work.keeps, sequence.blocks, sequence.computed, sequence.cached)
            self.transfers.keep(sequence.work.id, kept)
        else:
            self._release(sequence)
        return sequence.timeline(at)
