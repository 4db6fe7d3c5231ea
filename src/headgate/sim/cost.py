"""How long a step of the engine takes: `base + prefill·p + sequence·n + kv·k` seconds.

p is the prompt tokens computed in the step, n the sequences in it, k the tokens of KV cache that its attention reads.
"""

from msgspec import Struct


class Cost(Struct, frozen=True):
    """Seconds per step, per prompt token, per sequence, per token of KV cache read, and per adapter load.

    `request` is what a request takes outside of the engine, which is not held up by it: HTTP, the chat template, the
    tokenizer, the way to the engine and back. `transfer` is what a token's KV cache takes from another server.

    The default resembles an 8B model in bf16 on one NVIDIA L4. It is reckoned from the card's data sheet (300 GB/s, 121
    dense bf16 TFLOPS), not measured: a step reads 16 GB of weights (about 54 ms), a prompt token costs 16 GFLOP at
    half of the peak (0.27 ms, of which the reading of weights is already paid by the base), a token of KV cache is
    128 KiB to read (0.44 µs); sampling and scheduling cost some 50 µs per sequence. An adapter of rank 8 is some
    tens of MB: a copy over PCIe when the CPU has it, otherwise a read from disk and the building of its tensors. The
    network has 100 Gbit/s.
    """

    base: float = 0.054
    prefill: float = 0.00026
    sequence: float = 0.00005
    kv: float = 0.00000044
    adapter_copy: float = 0.02
    adapter_load: float = 0.4
    request: float = 0.0
    transfer: float = 0.0000105

    def step(self, prefill_tokens: int, sequences: int, kv_tokens: int) -> float:
        """The seconds that a step with this work takes, adapters aside."""
        return self.base + self.prefill * prefill_tokens + self.sequence * sequences + self.kv * kv_tokens

    def at_speed(self, factor: float) -> "Cost":
        """The same, `factor` times as fast; 0 means that nothing takes any time."""
        share = 1 / factor if factor else 0.0
        return Cost(*(getattr(self, name) * share for name in self.__struct_fields__))
