"""The metrics page of a vLLM 0.32 server: its names, labels, order of size and number of lines."""

from collections.abc import Iterator, Sequence

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
ENGINE = f'engine="0",model_name="{MODEL}"'

_FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
_BETWEEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_WHOLE = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
_TOKENS = tuple(float(n * 10**power) for power in range(5) for n in (1, 2, 5))
_STEP = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_SMALL = (1.0, 2.0, 5.0, 10.0, 20.0)
_HTTP = (0.1, 0.5, 1.0)
_HTTP_FINE = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip

_HISTOGRAMS: tuple[tuple[str, str, Sequence[float]], ...] = (
    ("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", _FIRST_TOKEN),
    ("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", _BETWEEN),
    ("vllm:request_time_per_output_token_seconds", "Histogram of time per output token of a request.", _BETWEEN),
    ("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", _WHOLE),
    ("vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", _WHOLE),
    ("vllm:request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.", _WHOLE),
    ("vllm:request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", _WHOLE),
    ("vllm:request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", _WHOLE),
    ("vllm:request_prompt_tokens", "Number of prefill tokens processed.", _TOKENS),
    ("vllm:request_generation_tokens", "Number of generation tokens processed.", _TOKENS),
    ("vllm:request_max_num_generation_tokens", "Histogram of maximum number of requested tokens.", _TOKENS),
    ("vllm:request_params_max_tokens", "Histogram of the max_tokens request parameter.", _TOKENS),
    ("vllm:request_params_n", "Histogram of the n request parameter.", _SMALL),
    ("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", _STEP),
)
_COUNTERS = (
    ("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.", 0.0),
    ("vllm:prefix_cache_queries_total", "Prefix cache queries, in terms of number of queried tokens.", 812_331.0),
    ("vllm:prefix_cache_hits_total", "Prefix cache hits, in terms of number of cached tokens.", 544_208.0),
    ("vllm:prompt_tokens_total", "Number of prefill tokens processed.", 812_331.0),
    ("vllm:generation_tokens_total", "Number of generation tokens processed.", 96_114.0),
)
_REASONS = ("stop", "length", "abort", "error", "repetition")
_HANDLERS = (
    ("/health", "GET"), ("/v1/models", "GET"), ("/v1/chat/completions", "POST"), ("/v1/completions", "POST"),
    ("/v1/load_lora_adapter", "POST"), ("/v1/unload_lora_adapter", "POST"), ("/tokenize", "POST"), ("/metrics", "GET"),
    ("/v1/responses", "POST"), ("/v1/messages", "POST"), ("/version", "GET"), ("none", "GET"),
)  # fmt: skip


def metrics_page(waiting: int, kv_usage: float, adapters: Sequence[str]) -> str:
    """One server's page. The number of running requests is the text `@RUNNING@`: the canned server fills it in."""
    return "\n".join((*_runtime(), *_state(waiting, kv_usage, adapters), *_history(), *_http())) + "\n"


def _runtime() -> Iterator[str]:
    for generation in range(3):
        yield f'python_gc_objects_collected_total{{generation="{generation}"}} {9000 - 2000 * generation}.0'
        yield f'python_gc_collections_total{{generation="{generation}"}} {1200 // 10**generation}.0'
    yield 'python_info{implementation="CPython",major="3",minor="12",patchlevel="11",version="3.12.11"} 1.0'
    for name, value in (("virtual_memory_bytes", "1.4217e+010"), ("resident_memory_bytes", "6.31808e+08")):
        yield from _heading(f"process_{name}", f"The process' {name.replace('_', ' ')}.", "gauge")
        yield f"process_{name} {value}"
    yield "process_cpu_seconds_total 51.72"
    yield "process_open_fds 61.0"


def _state(waiting: int, kv_usage: float, adapters: Sequence[str]) -> Iterator[str]:
    gauges = (
        ("vllm:num_requests_running", "Number of requests in model execution batches.", "@RUNNING@"),
        ("vllm:num_requests_waiting", "Number of requests waiting to be processed.", f"{waiting}.0"),
        ("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", str(kv_usage)),
    )
    for name, text, value in gauges:
        yield from _heading(name, text, "gauge")
        yield f"{name}{{{ENGINE}}} {value}"
    yield from _heading("vllm:num_requests_waiting_by_reason", "Number of requests waiting, by reason.", "gauge")
    for reason in ("capacity", "deferred"):
        yield f'vllm:num_requests_waiting_by_reason{{{ENGINE},reason="{reason}"}} 0.0'
    yield from _heading("vllm:engine_sleep_state", "Engine sleep state.", "gauge")
    for state in ("awake", "weights_offloaded", "discard_all"):
        yield f'vllm:engine_sleep_state{{{ENGINE},sleep_state="{state}"}} {float(state == "awake")}'
    yield from _heading("vllm:lora_requests_info", "Running stats on lora requests.", "gauge")
    loads = [",".join(adapters[: count + 1]) for count in range(len(adapters))]
    for at, running in enumerate(loads):
        labels = f'max_lora="4",running_lora_adapters="{running}",waiting_lora_adapters=""'
        yield f"vllm:lora_requests_info{{{labels}}} {1_767_225_600 + at}.5"
    yield from _heading("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", "gauge")
    settings = 'block_size="16",cache_dtype="auto",enable_prefix_caching="True",gpu_memory_utilization="0.9"'
    yield f'vllm:cache_config_info{{{settings},num_gpu_blocks="27849",engine="0"}} 1.0'


def _history() -> Iterator[str]:
    for name, text, value in _COUNTERS:
        yield from _heading(name.removesuffix("_total"), text, "counter")
        yield f"{name}{{{ENGINE}}} {value}"
        yield f"{name.removesuffix('_total')}_created{{{ENGINE}}} 1.7672256001e+09"
    yield from _heading("vllm:request_success", "Count of successfully processed requests.", "counter")
    for reason in _REASONS:
        yield f'vllm:request_success_total{{{ENGINE},finished_reason="{reason}"}} 0.0'
    for name, text, buckets in _HISTOGRAMS:
        yield from _heading(name, text, "histogram")
        yield from _histogram(name, ENGINE, buckets)


def _http() -> Iterator[str]:
    yield from _heading("http_requests", "Total number of requests by method, status and handler.", "counter")
    for handler, method in _HANDLERS:
        yield f'http_requests_total{{handler="{handler}",method="{method}",status="2xx"}} 2.0'
    yield from _heading("http_request_duration_highr_seconds", "Latency with many buckets.", "histogram")
    yield from _histogram("http_request_duration_highr_seconds", "", _HTTP_FINE)
    for name in ("http_request_duration_seconds", "http_response_duration_seconds"):
        yield from _heading(name, "Latency with only few buckets by handler.", "histogram")
        for handler, method in _HANDLERS:
            yield from _histogram(name, f'handler="{handler}",method="{method}"', _HTTP)
    for name in ("http_request_size_bytes", "http_response_size_bytes"):
        yield from _heading(name, "Content length by handler.", "summary")
        for handler, _ in _HANDLERS:
            yield f'{name}_count{{handler="{handler}"}} 2.0'
            yield f'{name}_sum{{handler="{handler}"}} 912.0'


def _heading(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, labels: str, buckets: Sequence[float]) -> Iterator[str]:
    before = f"{labels}," if labels else ""
    for bound in buckets:
        yield f'{name}_bucket{{le="{bound}",{before}}} 211.0'.replace(",}", "}")
    yield f'{name}_bucket{{le="+Inf",{before}}} 211.0'.replace(",}", "}")
    after = f"{{{labels}}}" if labels else ""
    yield f"{name}_count{after} 211.0"
    yield f"{name}_sum{after} 96.40112"
    yield f"{name}_created{after} 1.7672256001e+09"
