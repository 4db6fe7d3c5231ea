"""How much memory does the prefix index need, and what does a rung cost?  `python -m bench.prefix --prompts 1000000`

Distinct prompts of 100k tokens (400 KB), each sent to one of the endpoints in turn, through the gateway's own ladder
and index. Without --tokens the KV caches are as large as can be, so that only the index's own bound holds.
"""

import argparse
import gc
from collections.abc import Sequence
from time import process_time

from headgate.fleet.endpoint import BYTES_PER_TOKEN
from headgate.fleet.prefix import PrefixIndex, ladder

_SIZE = 100_000 * BYTES_PER_TOKEN
_ENDLESS = 1 << 40


def main(argv: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(prog="python -m bench.prefix", description=__doc__.split("\n\n")[0])
    made.add_argument("--prompts", type=int, default=100_000, metavar="N")
    made.add_argument("--endpoints", type=int, default=100, metavar="N")
    made.add_argument("--tokens", type=int, default=0, metavar="N", help="that each endpoint's KV cache holds")
    asked = made.parse_args(argv)
    capacity = asked.tokens * BYTES_PER_TOKEN or _ENDLESS
    index = PrefixIndex()
    names = [f"default/pod-{place}-rank-0" for place in range(asked.endpoints)]
    for name in names:
        index.fit(name, capacity)
    prompt = bytearray(_SIZE)
    gc.collect()
    before, most, spent, rungs = resident(), 0, 0.0, 0
    for number in range(asked.prompts):
        prompt[:8] = number.to_bytes(8, "little")
        found = ladder("model", bytes(prompt))
        began = process_time()
        index.record(found, names[number % len(names)])
        spent += process_time() - began
        rungs += len(found)
        if number % 1000 == 999:
            most = max(most, resident())
    most = max(most, resident()) - before
    print(
        f"{asked.prompts:,} distinct prompts of 100,000 tokens to {len(names)} endpoints: {most / 1e6:.0f} MB at most"
    )
    print(f"{index.size:,} rungs known at the end; {spent / rungs * 1e6:.2f} µs to record one")


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
