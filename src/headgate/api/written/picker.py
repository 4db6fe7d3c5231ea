"""EndpointPickerConfig, in both of its groups."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.api.meta import Meta
from headgate.api.picker import PRECISE, PRECISE_SCORER, PREDICTOR, PickerConfig, Picking, Plugin, goes_by_events
from headgate.api.tree import Tree
from headgate.api.written.flow import WrittenFlowControl, flow_control
from headgate.api.written.plugins import KNOWN, PYTHON, HeaderProfile, Role
from headgate.api.written.stages import Disaggregation, staged

BESIDE = ("module", "function")

Weight = Annotated[float, msgspec.Meta(ge=0.0)]


class WrittenPlugin(Struct, frozen=True):
    """`module` and `function` are for `type: python` alone, and as good as the parameters of these names."""

    type: Annotated[str, msgspec.Meta(min_length=1)]
    name: str = ""
    parameters: Any = None
    module: str = ""
    function: str = ""

    @property
    def given(self) -> Any:
        """Its parameters, wherever they are written."""
        beside = {name: value for name in BESIDE if (value := getattr(self, name))}
        if not beside or not isinstance(self.parameters, Mapping | None):
            return {} if self.parameters is None else self.parameters
        return {**(self.parameters or {}), **beside}

    @property
    def roles(self) -> tuple[Role, ...]:
        """What a profile may use it as, none where nobody knows it."""
        if self.type not in KNOWN:
            return ()
        kind = self.given.get("kind", "scorer") if self.type == PYTHON and isinstance(self.given, Mapping) else None
        return tuple([role for role in KNOWN[self.type].roles if kind not in ("scorer", "filter") or role == kind])


class PluginRef(Struct, frozen=True, rename="camel"):
    plugin_ref: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Weight | None = None


class WrittenProfile(Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    plugins: tuple[PluginRef, ...] = ()


class Ref(Struct, frozen=True, rename="camel"):
    plugin_ref: Annotated[str, msgspec.Meta(min_length=1)]


class Source(Struct, frozen=True, rename="camel"):
    plugin_ref: Annotated[str, msgspec.Meta(min_length=1)]
    extractors: tuple[Ref, ...] = ()


class DataLayer(Struct, frozen=True, rename="camel"):
    inject_defaults: bool = True
    sources: tuple[Source, ...] = ()
    discovery: Ref | None = None
    peer_discovery: Ref | None = None
    cross_replica_syncer_plugin_ref: str = ""
    cross_replica_sync_interval: str = ""


class RequestHandler(Struct, frozen=True):
    parsers: tuple[Ref, ...] = ()


class WrittenPickerConfig(Struct, frozen=True, rename="camel"):
    feature_gates: tuple[str, ...] = ()
    plugins: tuple[WrittenPlugin, ...] = ()
    scheduling_profiles: tuple[WrittenProfile, ...] = ()
    data_layer: DataLayer = DataLayer()
    flow_control: WrittenFlowControl = WrittenFlowControl()
    request_handler: RequestHandler = RequestHandler()
    saturation_detector: Ref | None = None  # before it moved into flowControl
    parser: Ref | None = None  # before there were several


def picker_config(meta: Meta, written: WrittenPickerConfig, _: Tree) -> PickerConfig:
    return PickerConfig(meta, picking(written))


def picking(written: WrittenPickerConfig) -> Picking:
    """What it comes to, where the rules have found nothing wrong with it. Defaults are those that are published."""
    plugins = {plugin.name or plugin.type: plugin for plugin in written.plugins}
    implied = WrittenProfile("default", tuple([PluginRef(name) for name in plugins]))
    profiles = {one.name: _profile(one, plugins) for one in written.scheduling_profiles or (implied,)}
    handler = handler_of(written) if len(profiles) > 1 else None
    named = main_profile(handler) if handler is not None else ""
    main = profiles.pop(named) if named in profiles else profiles.pop(next(iter(profiles)))
    detector = detector_ref(written)
    if detector and detector not in plugins:
        plugins[detector] = WrittenPlugin(detector)  # the rules let through the one that goes without saying
    made = {name: _plugin(plugin) for name, plugin in plugins.items()}
    scorers = [one for profile in (main, *profiles.values()) for one in profile.scorers]
    return replace(
        main,
        detector=made.get(detector),
        producers=tuple([one for one in _beside(written, "producer") if one.parameters or one.type == PREDICTOR]),
        admitters=_beside(written, "admitter"),
        handler=None if handler is None else _plugin(handler),
        deciders=() if handler is None else _beside(written, "decider"),
        others=tuple(profiles.values()),
        precise=_precise(written, scorers),
        flow=flow_control(written.flow_control, made) if gated(written, "flowControl") else None,
    )


_OF_ONE = ("single-profile-handler", "data-parallel-profile-handler")


def handler_of(written: WrittenPickerConfig) -> WrittenPlugin | None:
    """What chooses among several profiles; None where nothing of the sort is written."""
    handlers = [one for one in written.plugins if one.type in KNOWN and "handler" in KNOWN[one.type].roles]
    return next((one for one in handlers if one.type not in _OF_ONE), None)


def main_profile(handler: WrittenPlugin) -> str:
    """The name of the profile that counts where the handler does not choose another one."""
    shape = msgspec.convert(handler.parameters or {}, KNOWN[handler.type].shape)
    if isinstance(shape, HeaderProfile):
        return shape.default_profile
    return staged(shape).profiles.decode if isinstance(shape, Disaggregation) else ""


def _profile(profile: WrittenProfile, plugins: Mapping[str, WrittenPlugin]) -> Picking:
    used = [(plugins[ref.plugin_ref], 1.0 if ref.weight is None else ref.weight) for ref in profile.plugins]
    roles: dict[Role, list[Plugin]] = {}
    for plugin, weight in used:
        for role in plugin.roles:
            roles.setdefault(role, []).append(_plugin(plugin, weight if role == "scorer" else 1.0))
    return Picking(
        profile=profile.name,
        filters=tuple(roles.get("filter", ())),
        scorers=tuple(roles.get("scorer", ())),
        picker=next(iter(roles.get("picker", ())), None),
    )


def _beside(written: WrittenPickerConfig, role: Role) -> tuple[Plugin, ...]:
    """Those that count by standing there."""
    return tuple([_plugin(one) for one in written.plugins if role in KNOWN[one.type].roles])


def _precise(written: WrittenPickerConfig, scorers: Iterable[Plugin]) -> Plugin | None:
    """What some of the scorers go by; the older scorer brings its own, unless there is one beside it."""
    beside = next((_plugin(one) for one in written.plugins if one.type == PRECISE), None)
    for scorer in scorers:
        if scorer.type == PRECISE_SCORER:
            return beside or scorer
        if beside is not None and goes_by_events(scorer, beside):
            return beside
    return None


def gated(written: WrittenPickerConfig, name: str) -> bool:
    """Whether a feature gate is on; of several that are written, the last counts."""
    values = [value for gate, _, value in (one.partition("=") for one in written.feature_gates) if gate == name]
    return bool(values) and values[-1] != "false"


def detector_ref(written: WrittenPickerConfig) -> str:
    """The detector of saturation by name, wherever it is written; "" for none."""
    if written.saturation_detector is not None:
        return written.saturation_detector.plugin_ref
    return written.flow_control.saturation_detector.plugin_ref


def _plugin(plugin: WrittenPlugin, weight: float = 1.0) -> Plugin:
    name = plugin.name if plugin.name != plugin.type else ""
    return Plugin(KNOWN[plugin.type].called or plugin.type, name, weight, plugin.given)
