"""Mooncake's traces: JSON lines of `timestamp` (milliseconds), `input_length`, `output_length` and `hash_ids`, the
prompt's blocks of 512 tokens, each hashed with all before it. Source: FAST25-release in kvcache-ai/Mooncake.
"""

from collections.abc import Iterable

from msgspec import Struct

from headgate.trial.recorded import Broken, Recorded, Told, by_line, tokens
from headgate.trial.request import Chains, Request

BLOCK = 512


class _Line(Struct, frozen=True):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int | str] = []


def read(lines: Iterable[bytes], told: Told) -> Recorded:
    chains = Chains(BLOCK)
    found = []
    for number, line in by_line(lines, _Line):
        where = f"line {number}"
        prompt, output = (
            tokens(line.input_length, "input_length", where),
            tokens(line.output_length, "output_length", where),
        )
        if not line.timestamp >= 0 or line.timestamp == float("inf"):
            raise Broken(f"{where}: timestamp is {line.timestamp}: write milliseconds from the beginning")
        if not prompt:
            told.left_out["without a prompt"] += 1
            continue
        blocks = -(-prompt // BLOCK)
        if len(line.hash_ids) > blocks:
            raise Broken(f"{where}: {len(line.hash_ids)} hash_ids, but {prompt} tokens have {blocks} blocks of {BLOCK}")
        last = chains.add(line.hash_ids, alone=len(line.hash_ids) < blocks)
        found.append(Request(line.timestamp / 1000, prompt, max(1, output), 0, chains=chains, last=last))
    chains.done()
    return Recorded(found)
