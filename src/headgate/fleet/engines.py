"""What each engine calls the few metrics that picking needs (Model Server Protocol, proposal 003)."""

from msgspec import Struct


class Family(Struct, frozen=True):
    """A metric by name, and the label values that single out its series; `labels` empty takes all of them."""

    name: bytes
    labels: tuple[tuple[str, str], ...] = ()


class Engine(Struct, frozen=True):
    """One engine's names. None where it has no such metric.

    `shard` is the label that tells apart what one address serves side by side (data-parallel engines, models): each
    of its values is counted by itself. `block_size` and `blocks` are metrics of their own, or, where `cache_info` is
    set, labels of that one.
    """

    waiting: Family
    running: Family | None
    kv_usage: tuple[Family, ...] = ()  # the first that the page has
    lora: bytes | None = None
    cache_info: tuple[bytes, str, str] | None = None  # the metric; its label with tokens per block; with blocks
    block_size: Family | None = None
    blocks: Family | None = None
    shard: str = ""


def _trt(name: bytes, label: str, value: str) -> Family:
    return Family(name, ((label, value),))


ENGINES = {
    "vllm": Engine(
        waiting=Family(b"vllm:num_requests_waiting"),
        running=Family(b"vllm:num_requests_running"),
        kv_usage=(Family(b"vllm:kv_cache_usage_perc"), Family(b"vllm:gpu_cache_usage_perc")),  # then: before 0.10
        lora=b"vllm:lora_requests_info",
        cache_info=(b"vllm:cache_config_info", "block_size", "num_gpu_blocks"),
        shard="engine",
    ),
    "sglang": Engine(
        waiting=Family(b"sglang:num_queue_reqs"),
        running=Family(b"sglang:num_running_reqs"),
        kv_usage=(Family(b"sglang:token_usage"),),
        cache_info=(b"sglang:cache_config_info", "page_size", "num_pages"),
        shard="dp_rank",
    ),
    "trtllm-serve": Engine(
        waiting=Family(b"trtllm_num_requests_waiting"),
        running=Family(b"trtllm_num_requests_running"),
        kv_usage=(Family(b"trtllm_kv_cache_utilization"),),
        block_size=Family(b"trtllm_kv_cache_tokens_per_block"),
        blocks=Family(b"trtllm_kv_cache_max_blocks"),
    ),
    "triton-tensorrt-llm": Engine(
        waiting=_trt(b"nv_trt_llm_request_metrics", "request_type", "waiting"),
        running=_trt(b"nv_trt_llm_request_metrics", "request_type", "scheduled"),
        kv_usage=(_trt(b"nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "fraction"),),
        block_size=_trt(b"nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "tokens_per"),
        blocks=_trt(b"nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "max"),
        shard="model",
    ),
    "triton": Engine(
        waiting=Family(b"nv_inference_pending_request_count"),
        # The protocol names nv_inference_exec_count, but that counts every batch since the start: it is no load.
        running=None,
        shard="model",
    ),
}
DEFAULT_ENGINE = "vllm"


def named(engine: str) -> tuple[str, ...]:
    """The names of all metrics that are read of this engine."""
    one = ENGINES.get(engine, ENGINES[DEFAULT_ENGINE])
    families = (one.waiting, one.running, *one.kv_usage, one.block_size, one.blocks)
    names = [family.name for family in families if family is not None]
    names += [name for name in (one.lora, one.cache_info and one.cache_info[0]) if name]
    return tuple(dict.fromkeys(name.decode() for name in names))
