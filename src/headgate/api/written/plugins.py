"""The plugins of an EndpointPickerConfig: what each may be used as, and what parameters it takes.

Names, parameters and defaults are those that are published (llm-d router, Gateway API Inference Extension).
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import Duration, LabelKey

Role = Literal["filter", "scorer", "picker", "handler", "detector", "beside", "ordering", "fairness", "usage"]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Some = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Weight = Annotated[float, msgspec.Meta(ge=0.0)]


class Nothing(Struct, frozen=True):
    """It takes no parameters."""


class Anything(Struct, frozen=True):
    """Its parameters are about how another picker comes by what this one knows by itself."""


class Prefix(Struct, frozen=True, rename="camel", omit_defaults=True):
    match_length_weight: Share = 0.0
    match_length_scale_tokens: Some = 8192
    prefix_match_info_producer_name: str = ""


class LoadAware(Struct, frozen=True, rename="camel", omit_defaults=True):
    threshold: Some = 128


class Active(Struct, frozen=True, rename="camel", omit_defaults=True):
    idle_threshold: Count = 0
    max_busy_score: Share = 1.0
    request_timeout: str = ""
    in_flight_load_producer_name: str = ""


class ContextLength(Struct, frozen=True, rename="camel", omit_defaults=True):
    label: LabelKey = "llm-d.ai/context-length-range"
    enable_filtering: bool = False


class Requirement(Struct, frozen=True, rename="camel"):
    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class Selector(Struct, frozen=True, rename="camel", omit_defaults=True):
    match_labels: Mapping[LabelKey, str] = {}
    match_expressions: tuple[Requirement, ...] = ()


class ByLabel(Struct, frozen=True, rename="camel", omit_defaults=True):
    label: LabelKey
    valid_values: tuple[str, ...] = ()
    allows_no_label: bool = False


class Cap(Struct, frozen=True, rename="camel"):
    metric: Literal["active-requests", "running-requests", "waiting-queue", "kv-cache-utilization"]
    max_value: Annotated[float, msgspec.Meta(ge=0.0)]


class Caps(Struct, frozen=True, rename="camel", omit_defaults=True):
    conditions: Annotated[tuple[Cap, ...], msgspec.Meta(min_length=1)]
    fallback_on_empty: bool = False
    in_flight_load_producer_name: str = ""


class Utilization(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Without `metrics_staleness_threshold` it is 2 s, for loads are read less often here than each 50 ms."""

    queue_depth_threshold: Some = 5
    kv_cache_util_threshold: Share = 0.8
    metrics_staleness_threshold: Duration | None = None
    headroom: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0


class Concurrency(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Of the modes only the first is had here: the others need to know the tokens that are under way."""

    concurrency_mode: Literal["requests", "tokens", "hybrid"] = "requests"
    max_concurrency: Some = 100
    max_token_concurrency: Some = 1_000_000
    headroom: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    in_flight_load_producer_name: str = ""


class Picker(Struct, frozen=True, rename="camel", omit_defaults=True):
    max_num_of_endpoints: Some = 1


class ProgramAware(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Least attained service. State of who has had nothing for `eviction_ttl_seconds` is forgotten."""

    strategy: Literal["las"] = "las"
    las_weight_service: Weight = 0.8
    las_weight_head_wait: Weight = 0.2
    las_half_life_seconds: Weight = 60.0
    eviction_ttl_seconds: Weight = 3600.0
    eviction_sweep_seconds: Annotated[float, msgspec.Meta(gt=0.0)] = 300.0


class Static(Struct, frozen=True, rename="camel", omit_defaults=True):
    threshold: float = 1.0


class Holdback(Struct, frozen=True, rename="camel", omit_defaults=True):
    min_ceiling: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
    max_ceiling: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.0
    shape: Literal["linear"] = "linear"
    domain: Literal["rank", "value"] = "rank"


class Known(Struct, frozen=True):
    """`roles`: what a profile may use it as; `beside` it stands outside of profiles."""

    roles: tuple[Role, ...]
    shape: type[Struct] = Nothing
    called: str = ""  # by its newer name


KNOWN: Mapping[str, Known] = {
    "queue-scorer": Known(("scorer",)),
    "kv-cache-utilization-scorer": Known(("scorer",)),
    "running-requests-size-scorer": Known(("scorer",)),
    "lora-affinity-scorer": Known(("scorer",)),
    "prefix-cache-scorer": Known(("scorer",), Prefix),
    "load-aware-scorer": Known(("scorer",), LoadAware),
    "active-request-scorer": Known(("scorer",), Active),
    "context-length-aware": Known(("filter", "scorer"), ContextLength),
    "label-selector-filter": Known(("filter",), Selector),
    "by-label-selector": Known(("filter",), Selector, "label-selector-filter"),
    "by-label": Known(("filter",), ByLabel),
    "decode-filter": Known(("filter",)),
    "prefill-filter": Known(("filter",)),
    "encode-filter": Known(("filter",)),
    "utilization-filter": Known(("filter",), Caps),
    "utilization-detector": Known(("filter", "detector"), Utilization),
    "concurrency-detector": Known(("filter", "detector"), Concurrency),
    "max-score-picker": Known(("picker",), Picker),
    "random-picker": Known(("picker",), Picker),
    "weighted-random-picker": Known(("picker",), Picker),
    "single-profile-handler": Known(("handler",)),
    "fcfs-ordering-policy": Known(("ordering",)),
    "edf-ordering-policy": Known(("ordering",)),
    "slo-deadline-ordering-policy": Known(("ordering",)),
    "global-strict-fairness-policy": Known(("fairness",)),
    "round-robin-fairness-policy": Known(("fairness",)),
    "program-aware-fairness": Known(("fairness",), ProgramAware),
    "static-usage-limit-policy": Known(("usage",), Static),
    "priority-holdback-policy": Known(("usage",), Holdback),
    "soft-reflective-ceiling-policy": Known(("usage",)),
    # What another picker is told to do, and this one always does.
    "openai-parser": Known(("beside",)),
    "anthropic-parser": Known(("beside",)),
    "vllmhttp-parser": Known(("beside",)),
    "passthrough-parser": Known(("beside",)),
    "metrics-data-source": Known(("beside",), Anything),
    "models-data-source": Known(("beside",), Anything),
    "core-metrics-extractor": Known(("beside",), Anything),
    "models-data-extractor": Known(("beside",), Anything),
    "approx-prefix-cache-producer": Known(("beside",), Anything),
    "inflight-load-producer": Known(("beside",), Anything),
    "token-producer": Known(("beside",), Anything),
}

_SPLIT = "prefill and decode are not split here"
_PREDICTED = "there is no predicted latency here"
_PRECISE = "KV events are not read here; write prefix-cache-scorer, which works by what was sent where"
_ONE_CLUSTER = "there is one cluster here"

# Published ones that are not had, and why, or what to write instead.
UNSUPPORTED: Mapping[str, str] = {
    "disagg-profile-handler": _SPLIT,
    "pd-profile-handler": _SPLIT,
    "disagg-headers-handler": _SPLIT,
    "prefill-header-handler": _SPLIT,
    "prefix-based-pd-decider": _SPLIT,
    "always-disagg-pd-decider": _SPLIT,
    "always-disagg-multimodal-decider": _SPLIT,
    "data-parallel-profile-handler": "write all ports of the ranks in the pool's `targetPorts`; each is an endpoint",
    "header-profile-handler": "a pool has one profile here",
    "precise-prefix-cache-scorer": _PRECISE,
    "precise-prefix-cache-producer": _PRECISE,
    "burst-prefix-cache-producer": "what was sent counts at once here, so a burst finds its prefix by itself",
    "no-hit-lru-scorer": "write active-request-scorer, which spreads what is new by what is under way",
    "token-load-scorer": "write active-request-scorer, which counts requests",
    "session-affinity-scorer": "write `sessionPersistence:` in the HTTPRoute's rule",
    "session-affinity-filter": "write `sessionPersistence:` in the HTTPRoute's rule",
    "session-id-producer": "write `sessionPersistence:` in the HTTPRoute's rule",
    "prefix-cache-affinity-filter": "write prefix-cache-scorer with a larger weight",
    "latency-scorer": _PREDICTED,
    "predicted-latency-producer": _PREDICTED,
    "latency-slo-admitter": _PREDICTED,
    "slo-headroom-tier-filter": _PREDICTED,
    "probabilistic-admitter": "what may be shed is shed where the pool is saturated",
    "header-based-testing-filter": "it is for tests of other gateways",
    "mm-embeddings-cache-scorer": "images are not looked into here",
    "mm-embeddings-cache-producer": "images are not looked into here",
    "multicluster-queue-scorer": _ONE_CLUSTER,
    "multicluster-kv-cache-utilization-scorer": _ONE_CLUSTER,
    "multicluster-prefix-cache-scorer": _ONE_CLUSTER,
    "file-discovery": "write Pods with the annotation headgate.dev/address",
    **dict.fromkeys(
        (
            "agent-identity",
            "dcgm-data-source",
            "dcgm-extractor",
            "disaggregatedset-rollout-screener",
            "endpoint-attribute-filter",
            "endpoint-attribute-scorer",
            "endpoint-notification-source",
            "header-label-affinity-scorer",
            "k8s-notification-source",
            "p2p-source-producer",
            "request-attribute-reporter",
            "sglanghttp-parser",
            "topology-affinity-filter",
            "topology-affinity-scorer",
            "topology-extractor",
            "vertexai-parser",
            "vllmgrpc-parser",
        ),
        "",
    ),
}
