"""What the simulated server tells of itself on /metrics, by the names of vLLM 0.32."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from headgate.sim import families
from headgate.sim.engine import Config, Engine
from headgate.sim.exposition import Histogram, Metric, Sample, label_text, number
from headgate.sim.sequence import Counts, Timeline

_FINISHED = ("stop", "length", "abort", "error", "repetition")
_LABELS = {
    "vllm:num_requests_waiting_by_reason": ("reason", ("capacity", "deferred")),
    "vllm:engine_sleep_state": ("sleep_state", ("awake", "weights_offloaded", "discard_all")),
    "vllm:prompt_tokens_by_source_total": ("source", ("local_compute", "local_cache_hit", "external_kv_transfer")),
    "vllm:prompt_tokens_cached_by_source_total": (
        "source",
        ("device", "host", "p2p", "disk", "external_unspecified"),
    ),
    "vllm:request_success_total": ("finished_reason", _FINISHED),
    "vllm:admission_rejections_total": ("reason", ("max_num_queued_reqs", "max_num_queued_tokens")),
}
# What takes no time, and happens no times, when a sequence comes out at once.
_INSTANT = (
    "vllm:time_to_first_token_seconds",
    "vllm:request_time_per_output_token_seconds",
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_inference_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:request_decode_time_seconds",
    "vllm:request_num_preemptions",
)
_TALLIED = 4096
_OWN_LABELS = ("vllm:lora_requests_info", "vllm:cache_config_info")


class Process(Struct, frozen=True):
    """What only the edge knows of the process, for the families `process_*` and `python_*`; 0 where it can't be had."""

    virtual_bytes: float = 0.0
    resident_bytes: float = 0.0
    started: float = 0.0  # unix time
    cpu_seconds: float = 0.0
    open_fds: float = 0.0
    max_fds: float = 0.0
    gc: tuple[tuple[int, int, int], ...] = ()  # per generation: collected, uncollectable, collections
    python: Mapping[str, str] = {}  # the labels of python_info


class Meter:
    """Counts requests and steps, and writes the page. Times are unix seconds."""

    def __init__(self, model: str, config: Config, lora: bool, now: float) -> None:
        self._max_loras = str(config.max_loras) if lora else ""
        self._config = config
        self._metrics: dict[str, Metric] = {}
        for family in families.ENGINE:
            if family.kind == "histogram" and not family.buckets:
                family = replace(family, buckets=families.decades(config.max_model_len))
            common = {"engine": "0", "model_name": model}
            if family.name == "vllm:admission_rejections_total":
                del common["engine"]
            metric = Metric(family, **common)
            self._metrics[family.name] = metric
            if family.name in _OWN_LABELS:
                continue
            label, values = _LABELS.get(family.name, ("", ("",)))
            for value in values:
                labels = {label: value} if label else {}
                if family.kind == "histogram":
                    metric.histogram(now, **labels)
                else:
                    metric.sample(now, **labels)
        self._metrics["vllm:engine_sleep_state"].sample(now, sleep_state="awake").value = 1.0
        self._lora_seen: dict[str, float] = {}
        self._cache_info = label_text(_cache_config(config))
        self._finished = {
            reason: self._metrics["vllm:request_success_total"].sample(now, finished_reason=reason)
            for reason in _FINISHED
        }
        self._seen = {
            name: metric.histogram(now) for name, metric in self._metrics.items() if metric.family.kind == "histogram"
        }
        self._tally: dict[tuple[str, int, int, int, int], int] = {}
        self._served: dict[tuple[str, str, int], tuple[Sample, Histogram, Histogram, Histogram]] = {}
        self._http = {family.name: Metric(family) for family in families.HTTP}
        self._highr = self._http["http_request_duration_highr_seconds"].histogram(now)

    # What is told to it.

    def asked(self, choices: int, limit: int) -> None:
        """A request was accepted: its `n`, and the largest number of tokens that it may generate."""
        self._seen["vllm:request_params_n"].observe(choices)
        self._seen["vllm:request_max_num_generation_tokens"].observe(limit)

    def stepped(self, tokens: int, gaps: Iterable[float]) -> None:
        """A step ended: how many tokens it processed, and the gap before each token that was not a sequence's first."""
        self._seen["vllm:iteration_tokens_total"].observe(tokens)
        latency = self._seen["vllm:inter_token_latency_seconds"]
        for gap in gaps:
            latency.observe(gap)

    def began(self, seconds: float) -> None:
        """A sequence's first token came so long after the request."""
        self._seen["vllm:time_to_first_token_seconds"].observe(seconds)

    def ended(self, reason: str, prompt: int, output: int, limit: int, timeline: Timeline) -> None:
        """A sequence ended."""
        seen = self._seen
        self._finished[reason].value += 1
        seen["vllm:request_prompt_tokens"].observe(prompt)
        seen["vllm:request_generation_tokens"].observe(output)
        seen["vllm:request_params_max_tokens"].observe(limit)
        decode = timeline.ended - timeline.first_token
        seen["vllm:request_time_per_output_token_seconds"].observe(decode / max(output - 1, 1))
        seen["vllm:e2e_request_latency_seconds"].observe(timeline.ended - timeline.arrived)
        seen["vllm:request_queue_time_seconds"].observe(timeline.scheduled - timeline.arrived)
        seen["vllm:request_inference_time_seconds"].observe(timeline.ended - timeline.scheduled)
        seen["vllm:request_prefill_time_seconds"].observe(timeline.first_token - timeline.scheduled)
        seen["vllm:request_decode_time_seconds"].observe(decode)
        seen["vllm:request_num_preemptions"].observe(timeline.preemptions)
        seen["vllm:request_prefill_kv_computed_tokens"].observe(
            prompt - timeline.cached_tokens - timeline.pulled_tokens
        )

    def at_once(self, reason: str, prompt: int, output: int, limit: int, cached: int) -> None:
        """A whole sequence came out in no time: steps of one token without gaps. Only tallied until somebody looks."""
        key = (reason, prompt, output, limit, cached)
        self._tally[key] = self._tally.get(key, 0) + 1
        if len(self._tally) > _TALLIED:
            self._fold()

    def _fold(self) -> None:
        seen = self._seen
        for (reason, prompt, output, limit, cached), times in self._tally.items():
            self._finished[reason].value += times
            for name in _INSTANT:
                seen[name].observe(0.0, times)
            seen["vllm:request_prompt_tokens"].observe(prompt, times)
            seen["vllm:request_generation_tokens"].observe(output, times)
            seen["vllm:request_params_max_tokens"].observe(limit, times)
            seen["vllm:request_prefill_kv_computed_tokens"].observe(prompt - cached, times)
            seen["vllm:iteration_tokens_total"].observe(1.0, output * times)
            seen["vllm:inter_token_latency_seconds"].observe(0.0, (output - 1) * times)
        self._tally.clear()

    def aborted(self) -> None:
        """A sequence's client went away."""
        self._finished["abort"].value += 1

    def adapters(self, names: Iterable[str], now: float) -> None:
        """Which adapters are in use. vLLM 0.32 writes the same names into both labels, whoever of them runs or
        waits.
        """
        if self._max_loras:
            self._lora_seen[",".join(names)] = now

    def served(self, handler: str, method: str, status: int, asked: int, sent: int, seconds: float, now: float) -> None:
        """An HTTP answer: its route (`none` for no route), bytes of both bodies (0 for a stream's), its duration."""
        served = self._served.get((handler, method, status))
        if served is None:
            http = self._http
            served = self._served[handler, method, status] = (
                http["http_requests_total"].sample(now, handler=handler, method=method, status=f"{status // 100}xx"),
                http["http_request_size_bytes"].histogram(now, handler=handler),
                http["http_response_size_bytes"].histogram(now, handler=handler),
                http["http_request_duration_seconds"].histogram(now, handler=handler, method=method),
            )
        total, size_asked, size_sent, duration = served
        total.value += 1
        size_asked.observe(asked)
        size_sent.observe(sent)
        duration.observe(seconds)
        self._highr.observe(seconds)

    # What it tells.

    def page(self, engine: Engine, process: Process, now: float) -> str:
        """The whole page in the Prometheus text format."""
        self._fold()
        self._take(engine, engine.counts, now)
        lines = _process_lines(process)
        for name, metric in self._metrics.items():
            if name == "vllm:lora_requests_info":
                lines += self._lora_lines(metric)
            elif name == "vllm:cache_config_info":
                lines += [
                    f"# HELP {name} {metric.family.help}",
                    f"# TYPE {name} gauge",
                    f"{name}{self._cache_info} 1.0",
                ]
            else:
                lines += metric.lines()
        for metric in self._http.values():
            lines += metric.lines()
        lines.append("")
        return "\n".join(lines)

    def _take(self, engine: Engine, counts: Counts, now: float) -> None:
        def put(name: str, value: float, **labels: str) -> None:
            self._metrics[name].sample(now, **labels).value = value

        put("vllm:num_requests_running", engine.running)
        put("vllm:num_requests_waiting", engine.waiting)
        put("vllm:num_requests_waiting_by_reason", engine.waiting - engine.deferred, reason="capacity")
        put("vllm:num_requests_waiting_by_reason", engine.deferred, reason="deferred")
        put("vllm:kv_cache_usage_perc", engine.blocks.usage)
        put("vllm:prefix_cache_queries_total", counts.prefix_queries)
        put("vllm:prefix_cache_hits_total", counts.prefix_hits)
        put("vllm:num_preemptions_total", counts.preemptions)
        put("vllm:prompt_tokens_total", counts.prompt_tokens)
        here, pulled = counts.prompt_tokens_cached, counts.prompt_tokens_pulled
        put("vllm:prompt_tokens_by_source_total", counts.prompt_tokens - here - pulled, source="local_compute")
        put("vllm:prompt_tokens_by_source_total", here, source="local_cache_hit")
        put("vllm:prompt_tokens_by_source_total", pulled, source="external_kv_transfer")
        put("vllm:prompt_tokens_cached_total", here + pulled)
        put("vllm:prompt_tokens_cached_by_source_total", here, source="device")
        put("vllm:prompt_tokens_cached_by_source_total", pulled, source="external_unspecified")
        put("vllm:external_prefix_cache_queries_total", pulled)
        put("vllm:external_prefix_cache_hits_total", pulled)
        put("vllm:generation_tokens_total", counts.generation_tokens)

    def _lora_lines(self, metric: Metric) -> list[str]:
        if not self._lora_seen:
            return []
        name = metric.family.name
        lines = [f"# HELP {name} {metric.family.help}", f"# TYPE {name} gauge"]
        for names, at in self._lora_seen.items():
            labels = {"max_lora": self._max_loras, "running_lora_adapters": names, "waiting_lora_adapters": names}
            lines.append(f"{name}{label_text(labels)} {number(at)}")
        return lines


def _cache_config(config: Config) -> dict[str, str]:
    tokens = config.num_blocks * config.block_size
    return families.CACHE_CONFIG | {
        "block_size": str(config.block_size),
        "effective_attention_block_size": str(config.block_size),
        "enable_prefix_caching": str(config.prefix_caching),
        "kv_cache_max_concurrency": str(tokens / config.max_model_len),
        "kv_cache_size_tokens": str(tokens),
        "num_gpu_blocks": str(config.num_blocks),
    }


def _process_lines(process: Process) -> list[str]:
    values: dict[str, list[tuple[dict[str, str], float]]] = {
        "process_virtual_memory_bytes": [({}, process.virtual_bytes)],
        "process_resident_memory_bytes": [({}, process.resident_bytes)],
        "process_start_time_seconds": [({}, process.started)],
        "process_cpu_seconds_total": [({}, process.cpu_seconds)],
        "process_open_fds": [({}, process.open_fds)],
        "process_max_fds": [({}, process.max_fds)],
        "python_info": [(dict(process.python), 1.0)],
    }
    for place, name in enumerate(("objects_collected", "objects_uncollectable", "collections")):
        values[f"python_gc_{name}_total"] = [
            ({"generation": str(generation)}, float(counts[place])) for generation, counts in enumerate(process.gc)
        ]
    lines = []
    for family in families.PROCESS:
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        for labels, value in values[family.name]:
            sample = Sample(family, labels, 0.0)
            sample.value = value
            lines += sample.lines()
    return lines
