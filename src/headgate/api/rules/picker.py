"""Rules of an EndpointPickerConfig, and of one that stands in a ConfigMap."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from headgate.api.decode import decode
from headgate.api.fault import Fault, Path
from headgate.api.formats import seconds
from headgate.api.meta import Meta
from headgate.api.rules.flow import flow_rules
from headgate.api.rules.plugins import dangling, meant
from headgate.api.rules.sameness import repeated
from headgate.api.tree import planted
from headgate.api.written.flow import UNWRITTEN, DetectorRef, WrittenFlowControl
from headgate.api.written.picker import BESIDE, WrittenPickerConfig, WrittenPlugin, detector_ref, gated
from headgate.api.written.plugins import (
    KNOWN,
    PYTHON,
    UNSUPPORTED,
    Anything,
    Cap,
    Nothing,
    Precise,
    PredictedLatency,
    Python,
    TokenProcessor,
)

_GATES = ("flowControl", "populate-non-leader-datastore", "dataLayer", "enableLegacyMetrics")

_OF_FLOW = {"ordering", "fairness", "usage"}


def picker_config(_: Meta, written: WrittenPickerConfig) -> Iterator[Fault]:
    for i, gate in enumerate(written.feature_gates):
        name, _sign, value = gate.partition("=")
        if name not in _GATES:
            yield Fault(("featureGates", i), f'"{name}" is not known here: write {meant(name, _GATES)}')
        elif value not in ("", "true", "false"):
            yield Fault(("featureGates", i), f'"{value}" is neither: write `{name}=true` or `{name}=false`')
    flow = written.flow_control
    if not gated(written, "flowControl") and replace(flow, saturation_detector=DetectorRef()) != WrittenFlowControl():
        told = "without the feature gate it does nothing: remove it, or write `featureGates: [flowControl]`"
        yield Fault(("flowControl",), told, "warning")
    for i, plugin in enumerate(written.plugins):
        yield from _plugin(plugin, ("plugins", i))
    names = [plugin.name or plugin.type for plugin in written.plugins]
    yield from repeated(names, ("plugins",), (), '"{value}" is the name of {first} too: give each plugin its own')
    types = {plugin.name or plugin.type: plugin.type for plugin in written.plugins}
    yield from _profiles(written, {plugin.name or plugin.type: plugin for plugin in written.plugins})
    yield from _references(written, types)
    yield from flow_rules(flow, types)


def _plugin(plugin: WrittenPlugin, path: Path) -> Iterator[Fault]:
    if plugin.type in UNSUPPORTED:
        why = UNSUPPORTED[plugin.type] or "remove it"
        told = why if "write" in why or why == "remove it" else f"{why}; remove it"
        yield Fault((*path, "type"), f"{plugin.type} is not supported: {told}")
        return
    if plugin.type not in KNOWN:
        yield Fault((*path, "type"), f'there is no plugin "{plugin.type}" here: write {meant(plugin.type, KNOWN)}')
        return
    yield from _beside(plugin, path)
    shape = KNOWN[plugin.type].shape
    place = (*path, "parameters")
    given = plugin.given if plugin.type == PYTHON else {} if plugin.parameters is None else plugin.parameters
    if shape is Anything:
        if given:
            message = f"no effect: what {plugin.type} is for is done here without it"
            yield Fault(place, message, "warning")
        return
    if shape is Nothing:
        if given:
            yield Fault(place, f"{plugin.type} takes none: remove them")
        return
    value, faults = decode(planted(given), shape, place)
    yield from faults
    if not faults:
        yield from _values(value, place)


def _beside(plugin: WrittenPlugin, path: Path) -> Iterator[Fault]:
    for name in BESIDE:
        value = getattr(plugin, name)
        if value and plugin.type != PYTHON:
            yield Fault((*path, name), f"it is for the type python alone: remove it, or write `type: {PYTHON}`")
        elif value and isinstance(plugin.parameters, Mapping) and plugin.parameters.get(name, value) != value:
            yield Fault((*path, name), "among the parameters it is written otherwise: keep one of them")


def _values(value: Any, path: Path) -> Iterator[Fault]:
    """What no type can say."""
    if isinstance(value, Precise):
        yield from _events(value, path)
    caps: tuple[Cap, ...] = getattr(value, "conditions", ())
    for i, cap in enumerate(caps):
        if cap.metric == "kv-cache-utilization" and cap.max_value > 1:
            yield Fault((*path, "conditions", i, "maxValue"), f"{cap.max_value:g} is out of range: write a number "
                                                              "from 0 to 1")  # fmt: skip
    if isinstance(value, Python):
        if not seconds(value.time_budget):
            yield Fault((*path, "timeBudget"), f"{value.time_budget} is no time at all: write 1ms or more")
        if value.function and not value.function.isidentifier():
            yield Fault((*path, "function"), f'"{value.function}" can be no function: write the name of one')
    if getattr(value, "min_ceiling", 0.0) >= getattr(value, "max_ceiling", 1.0):
        yield Fault((*path, "minCeiling"), f"{value.min_ceiling:g} is not below maxCeiling ({value.max_ceiling:g}): "
                                           "write less")  # fmt: skip
    mode = getattr(value, "concurrency_mode", "requests")
    if mode != "requests":
        yield Fault((*path, "concurrencyMode"), f"{mode} is not supported: write requests, which counts those")
    if isinstance(value, PredictedLatency):
        yield from _predicted(value, path)
    valid = getattr(value, "valid_values", None)
    if valid == () and not value.allows_no_label:
        yield Fault((*path, "validValues"), "missing: write the values of the label that are let in")
    for i, one in enumerate(getattr(value, "match_expressions", ())):
        if (one.operator in ("In", "NotIn")) != bool(one.values):
            wanted = "write at least one" if one.operator in ("In", "NotIn") else "remove them"
            yield Fault((*path, "matchExpressions", i, "values"), f"with the operator {one.operator}: {wanted}")


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
        ("endpointRoleLabel", value.endpoint_role_label != "", "prefill and decode are not split here"),
        ("useEncoderCacheFeatures", value.use_encoder_cache_features, "images are not looked into here"),
    ):
        if given:
            yield Fault((*path, name), f"no effect: {why}", "warning")


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


def _profiles(written: WrittenPickerConfig, plugins: Mapping[str, WrittenPlugin]) -> Iterator[Fault]:
    for i, profile in enumerate(written.scheduling_profiles):
        path: Path = ("schedulingProfiles", i)
        if i:
            yield Fault(path, "a pool has one profile here: remove the others (prefill and decode are not split)")
            continue
        pickers = []
        for j, ref in enumerate(profile.plugins):
            place = (*path, "plugins", j)
            plugin = plugins.get(ref.plugin_ref)
            if plugin is None:
                yield dangling(ref.plugin_ref, plugins, (*place, "pluginRef"))
            elif roles := plugin.roles:
                if "picker" in roles:
                    pickers.append(place)
                if not {"filter", "scorer", "picker"}.intersection(roles):
                    where = "being named in `flowControl:`" if _OF_FLOW.intersection(roles) else "standing above"
                    message = f"{ref.plugin_ref} is none that a profile uses: remove it, it counts by {where}"
                    yield Fault((*place, "pluginRef"), message)
                if ref.weight is not None and "scorer" not in roles:
                    yield Fault((*place, "weight"), f"{ref.plugin_ref} scores nothing: remove it", "warning")
        for place in pickers[1:]:
            yield Fault((*place, "pluginRef"), "a profile has one picker: keep one of them")


def _references(written: WrittenPickerConfig, types: Mapping[str, str]) -> Iterator[Fault]:
    named: list[tuple[Path, str]] = []
    for i, source in enumerate(written.data_layer.sources):
        named.append((("dataLayer", "sources", i, "pluginRef"), source.plugin_ref))
        for j, extractor in enumerate(source.extractors):
            named.append((("dataLayer", "sources", i, "extractors", j, "pluginRef"), extractor.plugin_ref))
    for i, parser in enumerate(written.request_handler.parsers):
        named.append((("requestHandler", "parsers", i, "pluginRef"), parser.plugin_ref))
    if written.parser is not None:
        named.append((("parser", "pluginRef"), written.parser.plugin_ref))
    detector = detector_ref(written)
    where: Path = ("saturationDetector", "pluginRef")
    if written.saturation_detector is None:
        where = ("flowControl", "saturationDetector", "pluginRef")
    if detector:
        named.append((where, detector))
    for path, name in named:
        if name not in types and not (path is where and name in UNWRITTEN):
            yield dangling(name, types, path)
    kind = types.get(detector, detector)
    if kind in KNOWN and "detector" not in KNOWN[kind].roles:
        yield Fault(where, f"{detector} detects no saturation: write utilization-detector or concurrency-detector")
    layer = written.data_layer
    for field, value in (
        ("discovery", layer.discovery),
        ("peerDiscovery", layer.peer_discovery),
        ("crossReplicaSyncerPluginRef", layer.cross_replica_syncer_plugin_ref),
    ):
        if value:
            yield Fault(("dataLayer", field), "it is not supported: remove it")
