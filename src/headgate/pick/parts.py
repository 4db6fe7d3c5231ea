"""`part_of`: plugins that want more than to look at loads, by their published names."""

from collections.abc import Callable, Mapping
from typing import Any

from headgate.api.written.plugins import Concurrency, PrefixAffinity
from headgate.pick.affinity import Producers, session_filter, session_scorer
from headgate.pick.asked import header_label, header_testing
from headgate.pick.cold import no_hit_lru
from headgate.pick.near import near_filter, near_scorer
from headgate.pick.sticky import prefix_affinity
from headgate.pick.tokens import by_concurrency, token_load
from headgate.pick.wants import Part

_PARTS: Mapping[str, Callable[[Any], Part]] = {
    "token-load-scorer": token_load,
    "prefix-cache-affinity-filter": prefix_affinity,
    "no-hit-lru-scorer": no_hit_lru,
    "concurrency-detector": by_concurrency,
    "header-label-affinity-scorer": header_label,
    "header-based-testing-filter": header_testing,
}

_WITH_PRODUCERS: Mapping[str, Callable[[Any, Producers], Part]] = {
    "session-affinity-scorer": session_scorer,
    "session-affinity-filter": session_filter,
    "topology-affinity-scorer": near_scorer,
    "topology-affinity-filter": near_filter,
}


def part_of(kind: str, shape: Any, producers: Producers) -> Part | None:
    """None for one that wants nothing: it is a scorer or a filter, and that is all."""
    if kind in _WITH_PRODUCERS:
        return _WITH_PRODUCERS[kind](shape, producers)
    if kind not in _PARTS or (isinstance(shape, Concurrency) and shape.concurrency_mode == "requests"):
        return None
    if isinstance(shape, PrefixAffinity) and shape.ttft_source == "latencyPredictor":
        return None
    return _PARTS[kind](shape)
