"""Rules of an EndpointPickerConfig, and of one that stands in a ConfigMap."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from headgate.api.decode import decode
from headgate.api.fault import Fault, Path
from headgate.api.meta import Meta
from headgate.api.rules.flow import flow_rules
from headgate.api.rules.handlers import handled
from headgate.api.rules.parameters import values
from headgate.api.rules.plugins import dangling, meant
from headgate.api.rules.sameness import repeated
from headgate.api.rules.sessions import sources
from headgate.api.tree import planted
from headgate.api.written.flow import UNWRITTEN, DetectorRef, WrittenFlowControl
from headgate.api.written.picker import (
    BESIDE,
    WrittenPickerConfig,
    WrittenPlugin,
    WrittenProfile,
    detector_ref,
    gated,
    handler_of,
)
from headgate.api.written.plugins import KNOWN, PYTHON, Anything, Nothing
from headgate.api.written.unsupported import UNSUPPORTED

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
    yield from sources(written)
    names = [plugin.name or plugin.type for plugin in written.plugins]
    counting = [i for i, plugin in enumerate(written.plugins) if plugin.type == "inflight-load-producer"]
    for i in counting[1:]:
        yield Fault(("plugins", i), f"tokens are counted in one way here: keep plugins[{counting[0]}] or this one")
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
        yield from values(value, place)


def _beside(plugin: WrittenPlugin, path: Path) -> Iterator[Fault]:
    for name in BESIDE:
        value = getattr(plugin, name)
        if value and plugin.type != PYTHON:
            yield Fault((*path, name), f"it is for the type python alone: remove it, or write `type: {PYTHON}`")
        elif value and isinstance(plugin.parameters, Mapping) and plugin.parameters.get(name, value) != value:
            yield Fault((*path, name), "among the parameters it is written otherwise: keep one of them")


def _profiles(written: WrittenPickerConfig, plugins: Mapping[str, WrittenPlugin]) -> Iterator[Fault]:
    for i, profile in enumerate(written.scheduling_profiles):
        yield from _refs(profile, plugins, ("schedulingProfiles", i))
    names = [profile.name for profile in written.scheduling_profiles]
    told = '"{value}" is the name of {first} too: write another'
    yield from repeated(names, ("schedulingProfiles",), ("name",), told)
    handlers = [i for i, plugin in enumerate(written.plugins) if "handler" in plugin.roles]
    for i in handlers[1:]:
        yield Fault(("plugins", i), f"there is one handler of profiles: keep plugins[{handlers[0]}] or this one")
    if any(plugin.type in UNSUPPORTED and plugin.type.endswith("-profile-handler") for plugin in written.plugins):
        return  # that is told
    handler = handler_of(written)
    if handler is None:
        for i in range(1, len(names)):
            told = "what chooses among several profiles is missing: write header-profile-handler, or keep one of them"
            yield Fault(("schedulingProfiles", i), told)
    elif len(names) > 1:
        yield from handled(handler, written)


def _refs(profile: WrittenProfile, plugins: Mapping[str, WrittenPlugin], path: Path) -> Iterator[Fault]:
    pickers = []
    for j, ref in enumerate(profile.plugins):
        place = (*path, "plugins", j)
        plugin = plugins.get(ref.plugin_ref)
        if plugin is None:
            yield dangling(ref.plugin_ref, plugins, (*place, "pluginRef"))
            continue
        roles = plugin.roles
        if "picker" in roles:
            pickers.append(place)
        if roles and not {"filter", "scorer", "picker"}.intersection(roles):
            where = "being named in `flowControl:`" if _OF_FLOW.intersection(roles) else "standing above"
            message = f"{ref.plugin_ref} is none that a profile uses: remove it, it counts by {where}"
            yield Fault((*place, "pluginRef"), message)
        if ref.weight is not None and roles and "scorer" not in roles:
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
