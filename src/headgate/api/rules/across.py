"""Rules between objects that a server holds them to."""

from collections.abc import Iterator, Mapping
from typing import Any

from headgate.api.fault import Fault
from headgate.api.gateway import HTTPRoute
from headgate.api.rules.protocol import told_of_http2
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


def remarks(objects: Mapping[tuple[str, str], Any]) -> Iterator[tuple[tuple[str, str], Fault]]:
    """Warnings of objects for what others make of them: a Service's protocol counts where a route leads to it."""
    wanted = {
        (ref.namespace or value.meta.namespace, ref.name, ref.port)
        for value in objects.values()
        if isinstance(value, HTTPRoute)
        for rule in value.rules
        for ref in rule.backend_refs
        if ref.kind == "Service" and not ref.group
    }
    for identity, value in objects.items():
        if isinstance(value, Service):
            for i, port in enumerate(value.ports):
                if (value.meta.namespace, value.meta.name, port.port) in wanted:
                    for fault in told_of_http2(port.app_protocol, ("spec", "ports", i, "appProtocol")):
                        yield identity, fault
