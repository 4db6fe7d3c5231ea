"""What is each container of a Pod here, seen beside the others and by what pools say of the Pod? Pure."""

import re
from collections.abc import Mapping

from headgate.api.snapshot import Snapshot
from headgate.api.workload import Container, PodSpec
from headgate.runtime.pods.programs import DEFAULT_PORT, Kind, classify, line, port

_LISTENS = re.compile(r"(?<!\S)--?port[=\s]+['\"]?(\d{1,5})\b")  # Go's flags, with one dash or two


def roles(spec: PodSpec, annotations: Mapping[str, str], *, picker: bool) -> dict[str, Kind]:
    """The kind of each container, init containers included, by name; `picker`: what `is_picker` says of the Pod."""
    parts = (*spec.init_containers, *spec.containers)
    kinds = {part.name: classify(part, annotations) for part in parts}
    if any(kinds[part.name] == "engine" for part in spec.containers):
        return kinds
    unknown: Kind = "gateway" if picker else "unknown"  # a picker's work is done by headgate, whatever its image
    return {name: unknown if kind in ("unknown", "router") else kind for name, kind in kinds.items()}


def is_picker(namespace: str, labels: Mapping[str, str], snapshot: Snapshot) -> bool:
    """Whether a Pod with these labels is behind the Service that a pool names as its endpoint picker."""
    named = {
        pool.picker.name
        for pool in snapshot.pools
        if pool.meta.namespace == namespace and pool.picker is not None and pool.picker.kind == "Service"
    }
    return any(
        service.meta.namespace == namespace
        and service.meta.name in named
        and service.selector
        and service.selector.items() <= labels.items()
        for service in snapshot.services
    )


def moved(spec: PodSpec, kinds: Mapping[str, Kind]) -> dict[int, int]:
    """The port of the Pod's engine → that of its routing sidecar, which is left out; empty where they are the same.

    Pools send requests to the sidecar's port (llm-d: 8000), where it would hand them to vLLM's (8200).
    """
    parts = (*spec.init_containers, *spec.containers)
    router = next((part for part in parts if kinds[part.name] == "router"), None)
    engine = next((part for part in spec.containers if kinds[part.name] == "engine"), None)
    if router is None or engine is None or port(engine) == listens(router):
        return {}
    return {port(engine): listens(router)}


def listens(router: Container) -> int:
    """The port of a routing sidecar: `--port` as written, else its default, which is vLLM's."""
    found = _LISTENS.search(line(router))
    return int(found[1]) if found else DEFAULT_PORT
