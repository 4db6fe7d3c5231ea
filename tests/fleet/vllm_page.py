"""A metrics page of the shape and size of vLLM 0.32's: about 680 lines."""

HISTOGRAMS = [
    "iteration_tokens_total",
    "request_prompt_tokens",
    "request_generation_tokens",
    "request_max_num_generation_tokens",
    "request_params_n",
    "request_params_max_tokens",
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_inference_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_prefill_kv_computed_tokens",
    "kv_block_lifetime_seconds",
    "kv_block_idle_before_evict_seconds",
]
COUNTERS = ["prefix_cache_queries", "prefix_cache_hits", "num_preemptions", "prompt_tokens", "generation_tokens"]
LORA = "vllm:lora_requests_info"


def vllm_page(waiting: str = "0.0", running: str = "0.0", kv: str = "0.0") -> bytes:
    base = 'engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"'
    lines = [
        "# HELP python_info Python platform information",
        "# TYPE python_info gauge",
        'python_info{implementation="CPython",major="3",minor="11"} 1.0',
    ]

    def gauge(name: str, value: str, *more: str) -> None:
        lines.extend([f"# HELP vllm:{name} What vllm:{name} says.", f"# TYPE vllm:{name} gauge"])
        lines.extend(f"vllm:{name}{{{base}{extra}}} {value}" for extra in more or ("",))

    gauge("num_requests_running", running)
    gauge("num_requests_waiting", waiting)
    gauge("num_requests_waiting_by_reason", "99.0", ',reason="capacity"', ',reason="deferred"')
    gauge("engine_sleep_state", "0.0", ',sleep_state="awake"', ',sleep_state="weights_offloaded"')
    gauge("kv_cache_usage_perc", kv)
    for name in COUNTERS:
        gauge(f"{name}_total", "1234.0")
        gauge(f"{name}_created", "1.7872e+09")
    for name in HISTOGRAMS:
        lines.extend([f"# HELP vllm:{name} Histogram of {name}.", f"# TYPE vllm:{name} histogram"])
        lines.extend(f'vllm:{name}_bucket{{le="{n * 1.5}",{base}}} 17.0' for n in range(32))
        lines.extend([f"vllm:{name}_count{{{base}}} 17.0", f"vllm:{name}_sum{{{base}}} 1.5"])
    lines += [
        "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig",
        "# TYPE vllm:cache_config_info gauge",
        'vllm:cache_config_info{block_size="16",cache_dtype="auto",enable_prefix_caching="True",engine="0",'
        'gpu_memory_utilization="0.9",num_cpu_blocks="None",num_gpu_blocks="27767",num_gpu_blocks_override="None",'
        'sliding_window="None",swap_space="4"} 1.0',
        f"# HELP {LORA} Running stats on lora requests.",
        f"# TYPE {LORA} gauge",
        f'{LORA}{{max_lora="2",running_lora_adapters="",waiting_lora_adapters=""}} 1.78729e+09',
        f'{LORA}{{max_lora="2",running_lora_adapters="food-review",waiting_lora_adapters="cad-fabricator"}} 1.7873e+09',
        f'{LORA}{{max_lora="2",running_lora_adapters="food-review",waiting_lora_adapters=""}} 1.7872e+09',
    ]
    return ("\n".join(lines) + "\n").encode()
