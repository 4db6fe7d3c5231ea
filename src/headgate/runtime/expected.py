"""Which adapters a pool is going to have: what its Pods' LoRA syncers were told to load."""

from collections.abc import Mapping

from headgate.api.snapshot import Snapshot
from headgate.api.workload import PodSpec, Volume
from headgate.lora.config import read
from headgate.plan.plan import Plan

_WORD = "vLLMLoRAConfig"


def expected_adapters(snapshot: Snapshot, plan: Plan) -> dict[str, frozenset[str]]:
    """Adapter names by pool: those that ConfigMaps mounted into the pool's Pods want loaded.

    A request for one of them waits while no endpoint has it yet; that of a name nobody has heard of is refused.
    """
    maps = {config.meta.key: config.data for config in snapshot.config_maps}
    wanted: dict[str, set[str]] = {name: set() for name in plan.pools}
    for namespace, labels, spec in _templates(snapshot):
        names = {name for volume in spec.volumes for name in _maps(volume)}
        adapters = {
            adapter
            for name in names
            for text in maps.get(f"{namespace}/{name}", {}).values()
            for adapter in _adapters(text)
        }
        for pool in plan.pools.values() if adapters else ():
            if pool.namespace == namespace and pool.selector and pool.selector.items() <= labels.items():
                wanted[pool.name] |= adapters
    return {name: frozenset(adapters) for name, adapters in wanted.items() if adapters}


def _maps(volume: Volume) -> list[str]:
    """The ConfigMaps that a volume shows as files."""
    sources = volume.projected.sources if volume.projected is not None else ()
    found = [volume.config_map, *(source.config_map for source in sources)]
    return [one.name for one in found if one is not None]


def _templates(snapshot: Snapshot) -> list[tuple[str, Mapping[str, str], PodSpec]]:
    found = [(w.meta.namespace, w.template.labels, w.template.spec) for w in snapshot.workloads if w.replicas > 0]
    return found + [(p.meta.namespace, p.meta.labels, p.spec) for p in snapshot.pods if p.spec is not None]


def _adapters(text: str) -> list[str]:
    if _WORD not in text:
        return []
    desired, _ = read(text)
    return [adapter.id for adapter in desired.exist] if desired is not None else []
