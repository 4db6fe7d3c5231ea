"""`configure`: a Picking, as an EndpointPickerConfig says it → the Profile that does so.

Names, parameters and arithmetic are those that are published; docs/picking.md has them all. A plugin may have a name of
its own, under which decisions tell of it.
"""

from typing import Any

from msgspec import Struct, convert

from headgate.api.formats import seconds
from headgate.api.picker import PRECISE_SCORER, Picking, Plugin, goes_by_events
from headgate.api.written import plugins as written
from headgate.fleet.latency import Foresight
from headgate.pick.detector import Detector
from headgate.pick.draws import DRAWS
from headgate.pick.filters import Sieve
from headgate.pick.parameters import (
    ADMITS,
    FILTERS_WITH,
    NARROWS_WITH,
    PREDICTING,
    ROLES,
    SCORERS_WITH,
    in_role,
    prefix_with,
)
from headgate.pick.profile import Profile
from headgate.pick.python import Functions, none_here, scorer_by, sieve_by
from headgate.pick.scorers import SCORERS, STEADY_SCORERS, Scorer, precise


def configure(picking: Picking, functions: Functions = none_here) -> Profile:
    """Raises nothing for what `headgate.api` lets through. `functions` has those that users have written."""
    made = {one.called: _scorer(one, picking.precise, functions) for one in picking.scorers}
    return Profile(
        name=picking.profile,
        scorers=tuple([(one.called, one.weight) for one in picking.scorers]),
        sieves=tuple([sieve for one in picking.filters for sieve in _sieves(one, functions)]),
        foresight=_foresight(picking),
        narrows=tuple([(one.called, NARROWS_WITH[one.type](_shape(one))) for one in picking.filters if _narrows(one)]),
        admits=next(((one.called, ADMITS[one.type]) for one in picking.admitters), None),
        made=made,
        draw=None if picking.picker is None else DRAWS.get(picking.picker.type),
        detector=Detector() if picking.detector is None else _detector(picking.detector),
    )


def _shape(plugin: Plugin) -> Any:
    """Its parameters, with the defaults."""
    return convert(dict(plugin.parameters), written.KNOWN[plugin.type].shape)


def _scorer(plugin: Plugin, by_events: Plugin | None, functions: Functions) -> tuple[Scorer, bool]:
    if plugin.type == written.PYTHON:
        return scorer_by(functions(plugin)), False
    if by_events is not None and goes_by_events(plugin, by_events):
        return (precise if plugin.type == PRECISE_SCORER else prefix_with(_shape(plugin), precise)), False
    if plugin.type in SCORERS_WITH:
        make, steady = SCORERS_WITH[plugin.type]
        return make(_shape(plugin)), steady
    return SCORERS[plugin.type], plugin.type in STEADY_SCORERS


def _sieves(plugin: Plugin, functions: Functions) -> tuple[Sieve, ...]:
    if plugin.type == written.PYTHON:
        return (sieve_by(plugin.called, functions(plugin)),)
    if plugin.type in ROLES:
        return (Sieve(plugin.called, in_role(*ROLES[plugin.type])),)
    shape: Struct = _shape(plugin)
    if _narrows(plugin):
        return ()
    if isinstance(shape, written.ContextLength) and not shape.enable_filtering:
        return ()
    keep, steady, soft = FILTERS_WITH[type(shape)](shape)
    return (Sieve(plugin.called, keep, steady, soft),)


def _narrows(plugin: Plugin) -> bool:
    return plugin.type in NARROWS_WITH


def _foresight(picking: Picking) -> Foresight | None:
    """None where nobody wants to know: predictions have their price."""
    if picking.predictor is not None:
        shape: written.PredictedLatency = _shape(picking.predictor)
        return Foresight(shape.slo_buffer_factor, shape.streaming_mode is False, shape.predict_in_produce)
    types = {one.type for one in (*picking.scorers, *picking.filters, *picking.admitters)}
    return Foresight() if types & PREDICTING else None


def _detector(plugin: Plugin) -> Detector:
    shape = _shape(plugin)
    if isinstance(shape, written.Concurrency):
        return Detector(concurrency=shape.max_concurrency)
    stale = shape.metrics_staleness_threshold
    return Detector(
        shape.queue_depth_threshold,
        shape.kv_cache_util_threshold,
        Detector().stale_after_s if stale is None else seconds(stale),
    )
