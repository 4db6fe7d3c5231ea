"""Servers that already run: Pods (or Pod templates) with the annotation `headgate.dev/address: HOST:PORT`."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import PodSpec, Probe
from headgate.fleet.endpoint import Server

ADDRESS = "headgate.dev/address"


class Addressed(Struct, frozen=True):
    """A server somewhere else, and how to ask whether it is ready (`probe` None: it is assumed to be)."""

    server: Server
    probe: Probe | None = None

    @property
    def key(self) -> str:
        return f"{self.server.namespace}/{self.server.name}"


def addressed(snapshot: Snapshot) -> tuple[Addressed, ...]:
    """The servers that Pods and Pod templates give addresses of, not ready where a probe has to tell.

    An annotation that is no HOST:PORT gives none: `unreadable` lists those.
    """
    found = []
    for meta, labels, annotations, spec in _sources(snapshot):
        address = parse(annotations[ADDRESS])
        if address is None:
            continue
        probe = next((c.readiness_probe for c in spec.containers if c.readiness_probe), None) if spec else None
        ports = {p.name: p.container_port for c in spec.containers for p in c.ports if p.name} if spec else {}
        server = Server(
            namespace=meta.namespace,
            name=meta.name,
            address=address[0],
            labels=labels,
            annotations=annotations,
            ports=ports,
            port=address[1],
            ready=probe is None,
        )
        found.append(Addressed(server, probe))
    return tuple(found)


def unreadable(snapshot: Snapshot) -> tuple[str, ...]:
    """What to tell about annotations that give no address."""
    return tuple(
        f"{meta.where}: metadata.annotations[{ADDRESS}]: {annotations[ADDRESS]!r} is no address, "
        "write HOST:PORT, such as 10.0.0.7:8000 or [fd00::7]:8000"
        for meta, _, annotations, _ in _sources(snapshot)
        if parse(annotations[ADDRESS]) is None
    )


def parse(text: str) -> tuple[str, int] | None:
    """`HOST:PORT` with an IPv4 address, an IPv6 address in brackets or a name; None where it is none of them."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    if not colon or not host or any(c.isspace() or c == "/" for c in host):
        return None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    return host, int(port)


def _sources(snapshot: Snapshot) -> list[tuple[Meta, Mapping[str, str], Mapping[str, str], PodSpec | None]]:
    pods = [(pod.meta, pod.meta.labels, pod.meta.annotations, pod.spec) for pod in snapshot.pods]
    templates = [
        (work.meta, work.template.labels, work.template.annotations, work.template.spec)
        for work in snapshot.workloads
        if work.replicas > 0
    ]
    return [source for source in (*pods, *templates) if ADDRESS in source[2]]
