"""The plugins of an EndpointPickerConfig: what each may be used as, and what parameters it takes.

Names, parameters and defaults are those that are published (llm-d router, Gateway API Inference Extension).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import Duration, HeaderName, LabelKey
from headgate.api.written.precise import Precise
from headgate.api.written.stages import Disaggregation, PrefillDecode, PrefixDecider

Role = Literal[
    "filter",
    "scorer",
    "picker",
    "handler",
    "decider",
    "detector",
    "admitter",
    "producer",
    "beside",
    "ordering",
    "fairness",
    "usage",
]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(ge=0.0)]  # or 0
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


class TokenLoad(Struct, frozen=True, rename="camel", omit_defaults=True):
    queue_threshold_tokens: Some = 4_194_304
    in_flight_load_producer_name: str = ""


class NoHitLru(Struct, frozen=True, rename="camel", omit_defaults=True):
    lru_size: Some = 1024
    prefix_plugin_type: str = ""  # the first two of these names were never used
    prefix_plugin_name: str = ""
    prefix_match_info_producer_name: str = ""


class PrefixAffinity(Struct, frozen=True, rename="camel", omit_defaults=True):
    affinity_threshold: Annotated[float, msgspec.Meta(le=1.0)] = 0.8
    exploration_probability: Share = 0.0
    max_ttft_penalty_ms: Positive = msgspec.field(default=18_000.0, name="maxTTFTPenaltyMs")
    ttft_source: Literal["prefillThroughput", "latencyPredictor"] = msgspec.field(
        default="prefillThroughput", name="ttftSource"
    )
    peak_prefill_throughput: Positive = 15_928.0  # tokens per second
    prefix_match_info_producer_name: str = ""
    latency_prediction_info_producer_name: str = ""
    in_flight_load_producer_name: str = ""


class EncodedEndpoint(Struct, frozen=True, omit_defaults=True):
    header: HeaderName = "x-session-token"


class SessionSource(Struct, frozen=True, omit_defaults=True):
    """A header, or an attribute that another plugin has made."""

    header: HeaderName | None = None
    attribute: str = ""
    producer: str = ""


class SessionId(Struct, frozen=True, rename="camel", omit_defaults=True):
    sources: tuple[SessionSource, ...] = ()  # () the header x-session-id
    eviction_ttl_seconds: Positive = 300.0  # also with 0
    eviction_sweep_seconds: Positive = 10.0


class SessionAffinity(Struct, frozen=True, rename="camel", omit_defaults=True):
    strategy: Literal["encoded_endpoint_header", "session_id"] = "encoded_endpoint_header"
    encoded_endpoint_header_config: EncodedEndpoint = EncodedEndpoint()
    session_id_config: SessionId = SessionId()
    profile_name: str = ""


class SessionIdProducer(Struct, frozen=True, rename="camel", omit_defaults=True):
    header_name: HeaderName | None = None
    cookie_name: str = ""


class AgentIdentity(Struct, frozen=True, rename="camel", omit_defaults=True):
    additional_session_headers: tuple[HeaderName, ...] = ()


class HeaderLabel(Struct, frozen=True, rename="camel", omit_defaults=True):
    header_name: HeaderName
    label_key: LabelKey


class Probabilistic(Struct, frozen=True, rename="camel", omit_defaults=True):
    queue_depth_threshold: Some = 5
    kv_cache_util_threshold: Positive = 0.8  # above 0, as what follows
    power: Positive = 5.0
    k: Positive = 300.0


class HeaderProfile(Struct, frozen=True, rename="camel", omit_defaults=True):
    header_name: HeaderName = "EPP-Profile"
    default_profile: str = "decode"


class Topology(Struct, frozen=True, omit_defaults=True):
    """Labels of endpoints that say where they are, the nearest first."""

    hostname: LabelKey = "kubernetes.io/hostname"
    rack: LabelKey = "topology.kubernetes.io/rack"
    zone: LabelKey = "topology.kubernetes.io/zone"
    region: LabelKey = "topology.kubernetes.io/region"


class Near(Struct, frozen=True, rename="camel", omit_defaults=True):
    min_affinity: Literal["host", "rack", "zone", "region"] = "host"
    topology_producer_name: str = ""


class NearScorer(Struct, frozen=True, rename="camel", omit_defaults=True):
    topology_producer_name: str = ""


class InFlight(Struct, frozen=True, rename="camel", omit_defaults=True):
    """How many tokens of its answer a request counts for, beside those of its prompt."""

    add_estimated_output_tokens: bool = False
    output_ratio: Positive = 1.5
    max_estimated_output_tokens: Count | None = None


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
    concurrency_mode: Literal["requests", "tokens", "hybrid"] = "requests"
    max_concurrency: Some = 100
    max_token_concurrency: Some = 1_000_000
    headroom: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    in_flight_load_producer_name: str = ""


class Picker(Struct, frozen=True, rename="camel", omit_defaults=True):
    max_num_of_endpoints: Some = 1


class Python(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A function of the user's. `function` "" is the one that is called as its `kind` is. The budget is for one choice,
    all endpoints together.
    """

    module: Annotated[str, msgspec.Meta(min_length=1)]
    function: str = ""
    kind: Literal["scorer", "filter"] = "scorer"
    time_budget: Duration = "1ms"

    @property
    def called(self) -> str:
        return self.function or self.kind


PYTHON = "python"


class LatencyScore(Struct, frozen=True, rename="camel", omit_defaults=True):
    ttft_weight: Weight = 0.8
    tpot_weight: Weight = 0.2
    headroom_selection_strategy: Literal["least", "most"] = "least"
    composite_kv_weight: Weight = msgspec.field(default=1.0, name="compositeKVWeight")
    composite_queue_weight: Weight = 1.0
    composite_prefix_weight: Weight = 1.0
    latency_prediction_info_producer_name: str = ""
    prefix_match_info_producer_name: str = ""


class HeadroomTier(Struct, frozen=True, rename="camel", omit_defaults=True):
    epsilon_explore_neg: Share = 0.01
    latency_prediction_info_producer_name: str = ""


class LatencyAdmission(Struct, frozen=True, rename="camel", omit_defaults=True):
    latency_prediction_info_producer_name: str = ""


class PredictedLatency(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Without `streaming_mode` what streams is learned as streams; elsewhere it is false then.

    `sampling_mean`, `max_decode_token_samples_for_prediction` and `context_ttl` are about sidecars, the role is about
    models for each role, and the encoder's cache about images: they have no effect here.
    """

    sampling_mean: float = 1000.0
    max_decode_token_samples_for_prediction: int = 0
    slo_buffer_factor: float = msgspec.field(default=1.0, name="sloBufferFactor")
    context_ttl: Any = msgspec.field(default=None, name="contextTTL")
    streaming_mode: bool | None = None
    endpoint_role_label: str = ""
    predict_in_produce: bool = True
    prefix_match_info_producer_name: str = ""
    in_flight_load_producer_name: str = ""
    use_encoder_cache_features: bool = False
    encoder_cache_match_info_producer_name: str = ""


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


class DataParallel(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One profile. Elsewhere the ranks are reached through this port."""

    primary_port: int = 0


class Burst(Struct, frozen=True, rename="camel", omit_defaults=True):
    """How requests that come together are put together elsewhere, after they have waited for each other."""

    window_duration_ms: Annotated[int, msgspec.Meta(ge=0)] = 100
    max_per_replica: int = -1
    block_size_tokens: Annotated[int, msgspec.Meta(ge=0)] = 64
    max_prefix_tokens_to_match: Annotated[int, msgspec.Meta(ge=0)] = 0
    min_colocate_blocks: Annotated[int, msgspec.Meta(ge=0)] = 0


class Known(Struct, frozen=True):
    """`roles`: what a profile may use it as; producers, detectors and what is `beside` them stand outside of it."""

    roles: tuple[Role, ...]
    shape: type[Struct] = Nothing
    called: str = ""  # by its newer name


KNOWN: Mapping[str, Known] = {
    "queue-scorer": Known(("scorer",)),
    "kv-cache-utilization-scorer": Known(("scorer",)),
    "running-requests-size-scorer": Known(("scorer",)),
    "lora-affinity-scorer": Known(("scorer",)),
    "prefix-cache-scorer": Known(("scorer",), Prefix),
    "precise-prefix-cache-scorer": Known(("scorer",), Precise),
    "load-aware-scorer": Known(("scorer",), LoadAware),
    "active-request-scorer": Known(("scorer",), Active),
    "token-load-scorer": Known(("scorer",), TokenLoad),
    "no-hit-lru-scorer": Known(("scorer",), NoHitLru),
    "session-affinity-scorer": Known(("scorer",), SessionAffinity),
    "topology-affinity-scorer": Known(("scorer",), NearScorer),
    "header-label-affinity-scorer": Known(("scorer",), HeaderLabel),
    "context-length-aware": Known(("filter", "scorer"), ContextLength),
    "label-selector-filter": Known(("filter",), Selector),
    "by-label-selector": Known(("filter",), Selector, "label-selector-filter"),
    "by-label": Known(("filter",), ByLabel),
    "decode-filter": Known(("filter",)),
    "prefill-filter": Known(("filter",)),
    "encode-filter": Known(("filter",)),
    "prefix-cache-affinity-filter": Known(("filter",), PrefixAffinity),
    "session-affinity-filter": Known(("filter",), SessionAffinity),
    "topology-affinity-filter": Known(("filter",), Near),
    "header-based-testing-filter": Known(("filter",)),
    "utilization-filter": Known(("filter",), Caps),
    "utilization-detector": Known(("filter", "detector"), Utilization),
    "concurrency-detector": Known(("filter", "detector"), Concurrency),
    PYTHON: Known(("filter", "scorer"), Python),
    "max-score-picker": Known(("picker",), Picker),
    "random-picker": Known(("picker",), Picker),
    "weighted-random-picker": Known(("picker",), Picker),
    "single-profile-handler": Known(("handler",)),
    "data-parallel-profile-handler": Known(("handler",), DataParallel),
    "disagg-profile-handler": Known(("handler",), Disaggregation),
    "pd-profile-handler": Known(("handler",), PrefillDecode),
    "prefix-based-pd-decider": Known(("decider",), PrefixDecider),
    "always-disagg-pd-decider": Known(("decider",)),
    "always-disagg-multimodal-decider": Known(("decider",)),
    "topology-extractor": Known(("producer",), Topology),
    "header-profile-handler": Known(("handler",), HeaderProfile),
    "probabilistic-admitter": Known(("admitter",), Probabilistic),
    "session-id-producer": Known(("producer",), SessionIdProducer),
    "agent-identity": Known(("producer",), AgentIdentity),
    "inflight-load-producer": Known(("producer",), InFlight),
    "latency-scorer": Known(("scorer",), LatencyScore),
    "slo-headroom-tier-filter": Known(("filter",), HeadroomTier),
    "latency-slo-admitter": Known(("admitter",), LatencyAdmission),
    "predicted-latency-producer": Known(("producer",), PredictedLatency),
    "precise-prefix-cache-producer": Known(("beside",), Precise),
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
    "burst-prefix-cache-producer": Known(("beside",), Burst),
    "disagg-headers-handler": Known(("beside",), Anything),
    "prefill-header-handler": Known(("beside",), Anything),
    "token-producer": Known(("beside",), Anything),
    "endpoint-notification-source": Known(("beside",), Anything),
}
