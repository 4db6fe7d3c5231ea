"""Model servers to rehearse on: a model on a card, as a cost of its steps and a size of its KV cache.

All are reckoned from data sheets as `sim.cost` says, none is measured: a step reads the weights once, a prompt token
costs 2 FLOP for each parameter at half of the dense bf16 peak, a token of KV cache is read in full, and goes to another
server at the network's bandwidth. 90 % of the memory is used, of which the weights and 2 GB go off.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from headgate.sim.cost import Cost
from headgate.sim.engine import Config

_BLOCK = 16  # tokens
_KEPT_FREE = 2e9


class Accelerator(Struct, frozen=True):
    """bytes/s, FLOP/s and bytes of one accelerator, its share of the network in bytes/s, and how many of them serve one
    model (tensor parallel).
    """

    bandwidth: float
    flops: float
    memory: float
    network: float
    count: int = 1


class Model(Struct, frozen=True):
    """Parameters, and bytes of KV cache per token (2 × layers × KV heads × head size × 2 bytes)."""

    parameters: float
    kv_bytes: int


_L4 = Accelerator(300e9, 121e12, 24e9, 12.5e9)  # 100 Gbit/s
_A100 = Accelerator(1555e9, 312e12, 40e9, 25e9)  # 200 Gbit/s each, as in a DGX A100
_H100 = Accelerator(3350e9, 989e12, 80e9, 50e9)  # 400 Gbit/s each, as in a DGX H100
_LLAMA_8B = Model(8.03e9, 2 * 32 * 8 * 128 * 2)
_QWEN_32B = Model(32.8e9, 2 * 64 * 8 * 128 * 2)


def server(on: Accelerator, model: Model, *, max_loras: int = 1, max_num_seqs: int = 256) -> Config:
    bandwidth, flops = on.bandwidth * on.count, on.flops * on.count * 0.5
    weights = model.parameters * 2
    cache = on.memory * on.count * 0.9 - weights - _KEPT_FREE * on.count
    cost = Cost(
        base=weights / bandwidth,
        prefill=2 * model.parameters / flops,
        sequence=0.00005,
        kv=model.kv_bytes / bandwidth,
        transfer=model.kv_bytes / (on.network * on.count),
    )
    return Config(
        block_size=_BLOCK,
        num_blocks=int(cache / model.kv_bytes / _BLOCK),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=8192,
        max_model_len=32_768,
        max_loras=max_loras,
        max_cpu_loras=64,
        cost=cost,
    )


# Which accelerators one server takes, and how many.
ACCELERATORS: Mapping[str, tuple[str, int]] = {
    "l4-llama-3.1-8b": ("l4", 1),
    "a100-40g-llama-3.1-8b": ("a100-40g", 1),
    "h100-llama-3.1-8b": ("h100", 1),
    "2xh100-qwen3-32b": ("h100", 2),
}

SERVERS: Mapping[str, Config] = {
    "l4-llama-3.1-8b": server(_L4, _LLAMA_8B, max_loras=4),
    "a100-40g-llama-3.1-8b": server(_A100, _LLAMA_8B, max_loras=4),
    "h100-llama-3.1-8b": server(_H100, _LLAMA_8B, max_loras=4),
    "2xh100-qwen3-32b": server(replace(_H100, count=2), _QWEN_32B),
}
