"""How a pool's requests queue: limits, times, policies. `configure`: FlowControl → Discipline."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import replace

from headgate.api.picker import Band, FlowControl, Plugin
from headgate.api.written import plugins as written
from headgate.flow.ceilings import STATIC, Usage, holdback, reflective, static
from headgate.flow.fairness import FAIR, STRICT, Fairness, Service, least_served
from headgate.flow.ordering import ORDERS, Order, first_come


class Rule(Struct, frozen=True):
    """Of one priority's requests. Limits are those of who waits; `ttl_s` None as all others have it, 0 no limit."""

    max_requests: int = 5000
    max_bytes: int = 1_000_000_000
    ttl_s: float | None = None
    fairness: Fairness = STRICT
    order: Order = first_come


class Discipline(Struct, frozen=True):
    """`rules` are by priority; `default` is for all others, `negative` for those below 0. A limit of 0 is none.

    `ttl_s` is how long a request may wait where the pool has endpoints, `no_endpoint_ttl_s` where it has none; 0 no
    limit. With `evicts`, requests of a priority below 0 that are under way may have to give way.
    """

    max_requests: int = 0
    max_bytes: int = 0
    ttl_s: float = 60.0
    no_endpoint_ttl_s: float = 60.0
    default: Rule = Rule()
    negative: Rule = Rule()
    rules: Mapping[int, Rule] = {}
    usage: Usage = STATIC
    evicts: bool = False
    half_life_s: float = 60.0  # of the tokens that flows were given
    forget_s: float = 3600.0
    sweep_s: float = 300.0

    def rule(self, priority: int) -> Rule:
        return self.rules.get(priority) or (self.negative if priority < 0 else self.default)

    def service(self) -> Service:
        return Service(self.half_life_s, self.forget_s, self.sweep_s)


# For pools that say nothing of it (`--flow-control`). Flows take turns. What may be shed waits a little for a gap, in a
# short queue, rather than for a minute in one that would have to be served after everybody has gone.
DEFAULT = Discipline(
    default=Rule(fairness=FAIR["round-robin-fairness-policy"]),
    negative=Rule(max_requests=100, ttl_s=5.0, fairness=FAIR["round-robin-fairness-policy"]),
)


def configure(control: FlowControl) -> Discipline:
    """Raises nothing for what `headgate.api` lets through."""
    made = Discipline(
        max_requests=control.max_requests,
        max_bytes=control.max_bytes,
        ttl_s=control.ttl_s,
        no_endpoint_ttl_s=control.no_endpoint_ttl_s,
        default=_rule(control.default),
        negative=_rule(control.negative),
        rules={priority: _rule(band) for priority, band in control.bands.items()},
        usage=STATIC if control.usage is None else _usage(control.usage),
        evicts=control.evicts,
    )
    bands = (control.default, control.negative, *control.bands.values())
    for band in bands:
        if band.fairness is not None and band.fairness.type == "program-aware-fairness":
            shape: written.ProgramAware = _shape(band.fairness)
            return replace(
                made,
                half_life_s=shape.las_half_life_seconds,
                forget_s=shape.eviction_ttl_seconds,
                sweep_s=shape.eviction_sweep_seconds,
            )
    return made


def _rule(band: Band) -> Rule:
    return Rule(
        band.max_requests,
        band.max_bytes,
        None,
        STRICT if band.fairness is None else _fairness(band.fairness),
        first_come if band.ordering is None else ORDERS[band.ordering.type],
    )


def _fairness(plugin: Plugin) -> Fairness:
    if plugin.type != "program-aware-fairness":
        return FAIR[plugin.type]
    shape: written.ProgramAware = _shape(plugin)
    return Fairness(least_served(shape.las_weight_service, shape.las_weight_head_wait))


def _usage(plugin: Plugin) -> Usage:
    shape = _shape(plugin)
    if isinstance(shape, written.Static):
        return static(shape.threshold)
    if isinstance(shape, written.Holdback):
        return holdback(shape.min_ceiling, shape.max_ceiling, by_value=shape.domain == "value")
    return reflective()


def _shape(plugin: Plugin) -> Any:
    """Its parameters, with the defaults."""
    return convert(dict(plugin.parameters), written.KNOWN[plugin.type].shape)
