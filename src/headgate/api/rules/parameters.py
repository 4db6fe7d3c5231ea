"""Rules of plugins' parameters, as far as no type can say them."""

from collections.abc import Iterator
from typing import Any

from headgate.api.fault import Fault, Path
from headgate.api.formats import seconds
from headgate.api.rules.sessions import sessions
from headgate.api.written.plugins import (
    Burst,
    Cap,
    DataParallel,
    PredictedLatency,
    PrefixAffinity,
    Probabilistic,
    Python,
)
from headgate.api.written.precise import Precise, TokenProcessor


def values(value: Any, path: Path) -> Iterator[Fault]:
    """`value` is of a plugin's shape."""
    if isinstance(value, Precise):
        yield from _events(value, path)
    caps: tuple[Cap, ...] = getattr(value, "conditions", ())
    for i, cap in enumerate(caps):
        if cap.metric == "kv-cache-utilization" and cap.max_value > 1:
            yield Fault((*path, "conditions", i, "maxValue"), f"{cap.max_value:g} is out of range: write a number "
                                                              "from 0 to 1")  # fmt: skip
    if isinstance(value, Python):
        yield from _python(value, path)
    yield from sessions(value, path)
    if isinstance(value, Probabilistic):
        given = {"kvCacheUtilThreshold": value.kv_cache_util_threshold, "power": value.power, "k": value.k}
        for name in [name for name, number in given.items() if not number]:
            yield Fault((*path, name), "0 is out of range: write a number above 0")
    if isinstance(value, PrefixAffinity):
        yield from _prefix_affinity(value, path)
    if isinstance(value, PredictedLatency):
        yield from _predicted(value, path)
    yield from _elsewhere(value, path)
    if getattr(value, "min_ceiling", 0.0) >= getattr(value, "max_ceiling", 1.0):
        yield Fault((*path, "minCeiling"), f"{value.min_ceiling:g} is not below maxCeiling ({value.max_ceiling:g}): "
                                           "write less")  # fmt: skip
    valid = getattr(value, "valid_values", None)
    if valid == () and not value.allows_no_label:
        yield Fault((*path, "validValues"), "missing: write the values of the label that are let in")
    for i, one in enumerate(getattr(value, "match_expressions", ())):
        if (one.operator in ("In", "NotIn")) != bool(one.values):
            wanted = "write at least one" if one.operator in ("In", "NotIn") else "remove them"
            yield Fault((*path, "matchExpressions", i, "values"), f"with the operator {one.operator}: {wanted}")


def _python(value: Python, path: Path) -> Iterator[Fault]:
    if not seconds(value.time_budget):
        yield Fault((*path, "timeBudget"), f"{value.time_budget} is no time at all: write 1ms or more")
    if value.function and not value.function.isidentifier():
        yield Fault((*path, "function"), f'"{value.function}" can be no function: write the name of one')


def _prefix_affinity(shape: PrefixAffinity, path: Path) -> Iterator[Fault]:
    by_throughput = shape.ttft_source == "prefillThroughput"
    if by_throughput and shape.max_ttft_penalty_ms and not shape.peak_prefill_throughput:
        told = "0 is out of range: write a number above 0, or `maxTTFTPenaltyMs: 0`, with which it does not count"
        yield Fault((*path, "peakPrefillThroughput"), told)


def _predicted(value: PredictedLatency, path: Path) -> Iterator[Fault]:
    if not value.slo_buffer_factor > 0.0:
        message = f"{value.slo_buffer_factor:g} is out of range: write a number above 0"
        yield Fault((*path, "sloBufferFactor"), message)
    usual = PredictedLatency()
    sidecars = "latencies are learned in the gateway, not beside it"
    for name, given, why in (
        ("samplingMean", value.sampling_mean != usual.sampling_mean, sidecars),
        ("maxDecodeTokenSamplesForPrediction", value.max_decode_token_samples_for_prediction != 0, sidecars),
        ("contextTTL", value.context_ttl is not None, sidecars),
        ("endpointRoleLabel", value.endpoint_role_label != "", "what is predicted does not go by roles"),
        ("useEncoderCacheFeatures", value.use_encoder_cache_features, "images are not looked into here"),
    ):
        if given:
            yield Fault((*path, name), f"no effect: {why}", "warning")


def _elsewhere(value: Any, path: Path) -> Iterator[Fault]:
    """Of plugins whose work is done here in another way."""
    if isinstance(value, DataParallel) and value.primary_port:
        told = "no effect: requests go to the ranks' own ports, so write all of them in the pool's `targetPorts`"
        yield Fault((*path, "primaryPort"), told, "warning")
    if isinstance(value, Burst):
        yield from _burst(value, path)


def _burst(value: Burst, path: Path) -> Iterator[Fault]:
    if value.max_per_replica > 0:
        told = "it is not supported: what shares a prompt stays together as long as queues allow; write -1"
        yield Fault((*path, "maxPerReplica"), told)
    usual = Burst()
    for name, given in (
        ("windowDurationMs", value.window_duration_ms != usual.window_duration_ms),
        ("blockSizeTokens", value.block_size_tokens != usual.block_size_tokens),
        ("maxPrefixTokensToMatch", value.max_prefix_tokens_to_match != usual.max_prefix_tokens_to_match),
        ("minColocateBlocks", value.min_colocate_blocks != usual.min_colocate_blocks),
    ):
        if given:
            told = "no effect: nobody waits for a burst here, what was sent counts for the very next request"
            yield Fault((*path, name), told, "warning")


def _events(value: Precise, path: Path) -> Iterator[Fault]:
    """Much of what is published is about how another picker keeps its index."""
    events, pods = value.kv_events_config, value.kv_events_config.pod_discovery_config
    place = (*path, "kvEventsConfig")
    if not events.discover_pods:
        message = "without it nobody's events are read here: write true, and podDiscoveryConfig.socketPort"
        yield Fault((*place, "discoverPods"), message)
    without = (
        (
            (*path, "tokenProcessorConfig"),
            value.token_processor_config != TokenProcessor(),
            "servers say how large their blocks are",
        ),
        ((*path, "indexerConfig"), value.indexer_config is not None, "the index is kept in memory, and is bounded"),
        ((*path, "speculativeIndexing"), value.speculative_indexing, "what was sent always counts, for 2 to 4 s"),
        ((*path, "speculativeTTL"), bool(value.speculative_ttl), "what was sent always counts, for 2 to 4 s"),
        ((*place, "zmqEndpoint"), bool(events.zmq_endpoint), "each server is asked at its own socketPort"),
        ((*place, "concurrency"), events.concurrency != 4, "there is one process"),
        (
            (*place, "podDiscoveryConfig"),
            bool(pods.pod_label_selector or pods.pod_namespace),
            "the pool's selector says whose events are read, podLabelSelector and podNamespace nothing",
        ),
    )
    for where, there, why in without:
        if there:
            yield Fault(where, f"no effect: {why}", "warning")
