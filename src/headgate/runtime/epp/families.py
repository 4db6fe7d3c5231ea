"""Buckets and names of published metrics, as they are published."""

from collections.abc import Mapping

_LATENCY = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 180),
    *(240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600),
)
_POWERS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_TOKENS_IN = (1, *_POWERS, 16384, 32778, 65536, 131072, 262144, 524288, 1048576)

# Of requests, by the newer names, without their prefix.
OF_REQUESTS: Mapping[str, tuple[float, ...]] = {
    "request_duration_seconds": _LATENCY,
    "request_size_bytes": tuple(64 << power for power in range(25)),
    "response_size_bytes": (1, *_POWERS, 16384, 32778, 65536),
    "request_input_tokens": _TOKENS_IN,
    "request_cached_tokens": _TOKENS_IN,
    "request_output_tokens": (1, *_POWERS),
    "request_ntpot_seconds": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    "request_streaming_tpot_seconds": (
        *(0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 2),
    ),
}
HISTOGRAMS: Mapping[str, tuple[float, ...]] = {
    "request_ttft_seconds": (
        *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120),
    ),
}
SCHEDULING = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
STREAMS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)

# Newer name → older name, behind `inference_objective_` and `inference_pool_`.
LEGACY: Mapping[str, str] = {
    "request_duration_seconds": "request_duration_seconds",
    "request_size_bytes": "request_sizes",
    "response_size_bytes": "response_sizes",
    "request_input_tokens": "input_tokens",
    "request_output_tokens": "output_tokens",
    "request_cached_tokens": "prompt_cached_tokens",
    "request_ntpot_seconds": "normalized_time_per_output_token_seconds",
    "request_streaming_tpot_seconds": "request_tpot_seconds",
}
LEGACY_POOL: Mapping[str, str] = {
    "average_kv_cache_utilization": "average_kv_cache_utilization",
    "average_queue_size": "average_queue_size",
    "average_running_requests": "average_running_requests",
    "ready_endpoints": "ready_pods",
}
# Of flow control, those that have an older name behind `inference_extension_` too.
FLOW_CONTROL = frozenset(
    {
        "flow_control_request_queue_duration_seconds",
        "flow_control_queue_size",
        "flow_control_queue_bytes",
        "flow_control_pool_saturation",
    }
)
