"""Rules between objects that a server holds them to."""

from collections.abc import Iterator, Mapping
from typing import Any

from headgate.api.fault import Fault
from headgate.api.workload import Service


def across(objects: Mapping[tuple[str, str], Any]) -> Iterator[tuple[tuple[str, str], Fault]]:
    """Faults of objects that cannot be beside one that comes before them, by (kind, namespace/name)."""
    taken: dict[tuple[int, str], str] = {}
    for identity, value in objects.items():
        if not isinstance(value, Service):
            continue
        for i, port in enumerate(value.ports):
            if not port.node_port:
                continue
            owner = taken.setdefault((port.node_port, port.protocol), value.meta.key)
            if owner != value.meta.key:
                message = f"{port.node_port} is taken by Service {owner}: write another number, or remove the line"
                yield identity, Fault(("spec", "ports", i, "nodePort"), message)
