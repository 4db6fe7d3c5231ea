"""Steps in which nothing happens but one more token for each sequence of the batch, all at once.

Most steps of a server are such: a batch of 20 answers of 200 tokens ends a sequence each tenth step. What they leave
behind is reckoned here, bit by bit what `Engine.step` would have left, times and the order of blocks included; a law in
the tests compares.
"""

from collections.abc import Sequence
from operator import sub
from typing import TYPE_CHECKING

from headgate.sim.blocks import Blocks
from headgate.sim.cost import Cost

if TYPE_CHECKING:
    from headgate.sim.sequence import Queued

    Batch = Sequence[tuple[Queued, int]]

_FURTHEST = 512  # steps; whoever looks again sees further


def uneventful(batch: "Batch", blocks: Blocks, size: int, known_matters: bool) -> int:
    """How many ends of steps, from the one under way on, are uneventful: all sequences of the batch (those that run)
    decode, none ends or has its first token, and none has to give way for want of blocks.

    `known_matters`: a sequence waits for blocks, and would need fewer of them if content became known that it has.
    """
    steps = _FURTHEST
    for sequence, wanted in batch:
        work, generated = sequence.work, sequence.generated
        decodes = generated and wanted == 1 and sequence.computed + 1 == work.prompt + generated
        if not decodes or (known_matters and len(work.keys) * size > sequence.computed):
            return 0
        if work.output - generated <= steps:
            steps = work.output - generated - 1
    low = 0
    if steps and _needed(batch, size, steps) > blocks.free:
        while steps - low > 1:  # the most for which there is room
            middle = (low + steps) // 2
            if _needed(batch, size, middle) > blocks.free:
                steps = middle
            else:
                low = middle
        return low
    return steps


def _needed(batch: "Batch", size: int, steps: int) -> int:
    """The blocks that the batch takes until it has begun the step after so many."""
    return sum([(sequence.computed + steps) // size + 1 - len(sequence.blocks) for sequence, _ in batch])


def ends(at: float, steps: int, batch: "Batch", cost: Cost) -> list[float]:
    """When the step under way ends, which is `at`, and so many after it. The arithmetic is that of `Cost.step`, in its
    order: floating point numbers must come out the same.
    """
    found = [at]
    sequences = len(batch)
    kv = sum([sequence.computed for sequence, _ in batch]) + sequences
    base = cost.base + cost.prefill * 0 + cost.sequence * sequences
    per_token = cost.kv
    for _ in range(steps):
        kv += sequences
        at += base + per_token * kv
        found.append(at)
    return found


def pass_over(batch: "Batch", blocks: Blocks, size: int, ends: Sequence[float]) -> None:
    """Leave behind what uneventful steps do that end at these times."""
    steps, first, at = len(ends), ends[0], ends[-1]
    longest = max(map(sub, ends[1:], ends), default=0.0)
    events: list[tuple[int, int, int]] = []  # the step; 0 a block is full, 1 one is taken; whose
    for place, (sequence, _) in enumerate(batch):
        before = sequence.computed
        sequence.computed = after = before + steps
        sequence.generated += steps
        gap = first - sequence.last_token
        if longest > gap:
            gap = longest
        if gap > sequence.longest_gap:
            sequence.longest_gap = gap
        sequence.last_token = at
        if before // size != after // size:
            keys = len(sequence.work.keys) * size
            for full in range((before // size + 1) * size, min(after, keys) + 1, size):
                events.append((full - before, 0, place))
        for held in range(len(sequence.blocks) * size, after + 1, size):
            events.append((held - before, 1, place))
    if len(events) > 1:
        events.sort()
    for step, taken, place in events:
        sequence = batch[place][0]
        if taken:
            fresh = blocks.take((), 1)
            assert fresh is not None, "there is room for these steps"
            sequence.blocks += fresh
        else:
            number = (sequence.computed - steps + step) // size - 1
            blocks.know(sequence.blocks[number], sequence.work.keys[number])
