"""`configure`: a Picking, as an EndpointPickerConfig says it → the Profile that does so.

Names, parameters and arithmetic are those that are published; docs/picking.md has them all. A plugin may have a name of
its own, under which decisions tell of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import replace

from headgate.api.formats import seconds
from headgate.api.picker import PRECISE_SCORER, Picking, Plugin, goes_by_events
from headgate.api.written import plugins as written
from headgate.api.written.plugins import HeaderProfile
from headgate.api.written.stages import Disaggregation, PrefixDecider, staged
from headgate.fleet.latency import Foresight
from headgate.pick.admit import ADMITTERS
from headgate.pick.detector import Detector
from headgate.pick.draws import DRAWS
from headgate.pick.filters import Sieve
from headgate.pick.handler import ByHeader, Handler
from headgate.pick.parameters import FILTERS_WITH, PREDICTING, ROLES, SCORERS_WITH, in_role, narrow_of, prefix_with
from headgate.pick.parts import part_of
from headgate.pick.profile import Profile
from headgate.pick.python import Functions, none_here, scorer_by, sieve_by
from headgate.pick.scorers import SCORERS, STEADY_SCORERS, Scorer, precise
from headgate.pick.stages import Decider, Stages
from headgate.pick.wants import Estimate, Part, Wants


def configure(picking: Picking, functions: Functions = none_here) -> Profile:
    """Raises nothing for what `headgate.api` lets through. `functions` has those that users have written."""
    detector = Detector() if picking.detector is None else _detector(picking.detector)
    every = (picking, *picking.others)
    parts = _parts(picking, every)
    foresight = _foresight(picking, every)
    apart = len(every) > 1
    main, *others = [_profile(one, parts, picking.precise, foresight, functions, apart=apart) for one in every]
    handler = _handler(picking, others)
    return replace(
        main,
        detector=detector,
        admitters=tuple([(one.called, ADMITTERS[one.type](_shape(one))) for one in picking.admitters]),
        wants=_wants(picking, parts, detector, handler),
        handler=handler,
    )


def _profile(
    picking: Picking,
    parts: Mapping[str, Part],
    by_events: Plugin | None,
    foresight: Foresight | None,
    functions: Functions,
    *,
    apart: bool,
) -> Profile:
    narrows = [(one.called, narrow_of(one.type, _shape(one))) for one in picking.filters]
    return Profile(
        name=picking.profile,
        scorers=tuple([(one.called, one.weight) for one in picking.scorers]),
        sieves=tuple([sieve for one in picking.filters for sieve in _sieves(one, parts, functions)]),
        made={one.called: _scorer(one, parts, by_events, functions) for one in picking.scorers},
        foresight=foresight,
        narrows=tuple([(name, narrow) for name, narrow in narrows if narrow is not None]),
        draw=None if picking.picker is None else DRAWS.get(picking.picker.type),
        destinations=1 if picking.picker is None else _shape(picking.picker).max_num_of_endpoints,
        apart=apart,
    )


def _handler(picking: Picking, others: Sequence[Profile]) -> Handler | None:
    profiles = {one.name: one for one in others}
    shape = None if picking.handler is None else _shape(picking.handler)
    if isinstance(shape, HeaderProfile):
        return ByHeader(shape.header_name.lower(), shape.default_profile, profiles)
    if not isinstance(shape, Disaggregation):
        return None
    stages, deciders = staged(shape), {one.called: _decider(one) for one in picking.deciders}
    return Stages(
        profiles,
        stages.profiles.prefill,
        stages.profiles.encode,
        deciders.get(stages.deciders.prefill),
        deciders.get(stages.deciders.encode),
        stages.prefill_first,
    )


def _decider(plugin: Plugin) -> Decider | None:
    """None for one that never wants a stage."""
    shape = _shape(plugin)
    if isinstance(shape, PrefixDecider):
        return Decider(shape.non_cached_tokens, shape.prompt_tokens) if shape.non_cached_tokens else None
    return Decider(media=plugin.type == "always-disagg-multimodal-decider")


def _shape(plugin: Plugin) -> Any:
    """Its parameters, with the defaults."""
    return convert(dict(plugin.parameters), written.KNOWN[plugin.type].shape)


def _parts(picking: Picking, every: Sequence[Picking]) -> Mapping[str, Part]:
    """Of each plugin that is one, by its name: it may remember things, so there is one of each."""
    made: dict[str, Part] = {}
    producers = {plugin.called: _shape(plugin) for plugin in picking.producers}
    for plugin in [plugin for one in every for plugin in (*one.filters, *one.scorers)]:
        if plugin.called not in made and (part := part_of(plugin.type, _shape(plugin), producers)) is not None:
            made[plugin.called] = part
    return made


def _wants(
    picking: Picking, parts: Mapping[str, Part], detector: Detector, handler: ByHeader | Stages | None
) -> Wants | None:
    """Of all profiles together."""
    used = parts.values()
    headers = {header for part in used for header in part.headers}
    if isinstance(handler, ByHeader):
        headers.add(handler.header)
    media = isinstance(handler, Stages) and any(one and one.media for one in (handler.splits, handler.encodes))
    owned = [
        (one.profile, parts[name])
        for one in (picking, *picking.others)
        for name in dict.fromkeys(plugin.called for plugin in (*one.filters, *one.scorers))
        if name in parts
    ]
    notes = tuple([(profile, part.note) for profile, part in owned if part.note is not None])
    stamps = tuple([(profile, part.stamp) for profile, part in owned if part.stamp is not None])
    estimate = _estimate(picking) if detector.tokens or any(part.counts for part in used) else None
    if not (headers or notes or estimate or handler):
        return None
    return Wants(tuple(sorted(headers)), notes, estimate, stamps, media)


def _estimate(picking: Picking) -> Estimate:
    for plugin in picking.producers:
        shape = _shape(plugin)
        if isinstance(shape, written.InFlight):
            return Estimate(shape.add_estimated_output_tokens, shape.output_ratio, shape.max_estimated_output_tokens)
    return Estimate()


def _scorer(
    plugin: Plugin, parts: Mapping[str, Part], by_events: Plugin | None, functions: Functions
) -> tuple[Scorer, bool]:
    if plugin.type == written.PYTHON:
        return scorer_by(functions(plugin)), False
    if by_events is not None and goes_by_events(plugin, by_events):
        return (precise if plugin.type == PRECISE_SCORER else prefix_with(_shape(plugin), precise)), False
    part = parts.get(plugin.called)
    if part is not None and part.scorer is not None:
        return part.scorer, False
    if plugin.type in SCORERS_WITH:
        make, steady = SCORERS_WITH[plugin.type]
        return make(_shape(plugin)), steady
    return SCORERS[plugin.type], plugin.type in STEADY_SCORERS


def _sieves(plugin: Plugin, parts: Mapping[str, Part], functions: Functions) -> tuple[Sieve, ...]:
    if plugin.type == written.PYTHON:
        return (sieve_by(plugin.called, functions(plugin)),)
    part = parts.get(plugin.called)
    if part is not None and part.sift is not None:
        return (Sieve(plugin.called, steady=False, soft=part.soft, among=part.sift),)
    if plugin.type in ROLES:
        return (Sieve(plugin.called, in_role(*ROLES[plugin.type])),)
    shape: Struct = _shape(plugin)
    if narrow_of(plugin.type, shape) is not None:
        return ()
    if isinstance(shape, written.ContextLength) and not shape.enable_filtering:
        return ()
    keep, steady, soft = FILTERS_WITH[type(shape)](shape)
    return (Sieve(plugin.called, keep, steady, soft),)


def _foresight(picking: Picking, every: Sequence[Picking]) -> Foresight | None:
    """For all profiles of a set, or for none: whoever is chosen, from all is learned. Predictions have their price."""
    for plugin in picking.producers:
        shape = _shape(plugin)
        if isinstance(shape, written.PredictedLatency):
            return Foresight(shape.slo_buffer_factor, shape.streaming_mode is False, shape.predict_in_produce)
    used = [*picking.admitters, *[plugin for one in every for plugin in (*one.scorers, *one.filters)]]
    foreseeing = any(one.type in PREDICTING or narrow_of(one.type, _shape(one)) is not None for one in used)
    return Foresight() if foreseeing else None


def _detector(plugin: Plugin) -> Detector:
    shape = _shape(plugin)
    if isinstance(shape, written.Concurrency):
        mode = shape.concurrency_mode
        return Detector(
            concurrency=0 if mode == "tokens" else shape.max_concurrency,
            tokens=0 if mode == "requests" else shape.max_token_concurrency,
        )
    stale = shape.metrics_staleness_threshold
    return Detector(
        shape.queue_depth_threshold,
        shape.kv_cache_util_threshold,
        Detector().stale_after_s if stale is None else seconds(stale),
    )
