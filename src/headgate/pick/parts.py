"""`part_of`: plugins that want more than to look at loads, by their published names."""

from collections.abc import Callable, Mapping
from typing import Any

from headgate.api.written.plugins import Concurrency
from headgate.pick.cold import no_hit_lru
from headgate.pick.sticky import prefix_affinity
from headgate.pick.tokens import by_concurrency, token_load
from headgate.pick.wants import Part

_PARTS: Mapping[str, Callable[[Any], Part]] = {
    "token-load-scorer": token_load,
    "prefix-cache-affinity-filter": prefix_affinity,
    "no-hit-lru-scorer": no_hit_lru,
    "concurrency-detector": by_concurrency,
}


def part_of(kind: str, shape: Any) -> Part | None:
    """None for one that wants nothing: it is a scorer or a filter, and that is all."""
    if kind not in _PARTS or (isinstance(shape, Concurrency) and shape.concurrency_mode == "requests"):
        return None
    return _PARTS[kind](shape)
