"""`members`: which of the servers that run belong to a pool, one endpoint for each of its ports."""

from collections.abc import Iterable, Mapping, Sequence

from headgate.fleet.endpoint import Endpoint, Server
from headgate.fleet.engines import DEFAULT_ENGINE

_ENGINE = ("llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type")  # the new name wins
_ACTIVE_PORTS = ("llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports")


def members(
    namespace: str, selector: Mapping[str, str], ports: Sequence[int | str], servers: Iterable[Server]
) -> tuple[Endpoint, ...]:
    """The endpoints of a pool, sorted by server and rank. An empty selector selects nothing.

    Rank N is the place of the port among the pool's, so that it stays when others are not active. A port by name that
    a server does not have is none of its endpoints. A server whose address came with a port has that one only.
    """
    wanted = selector.items()
    chosen = [
        server for server in servers if wanted and server.namespace == namespace and wanted <= server.labels.items()
    ]
    return tuple(
        Endpoint(
            name=f"{namespace}/{server.name}-rank-{rank}",
            address=server.address,
            port=server.mapped.get(port, port),
            labels=server.labels,
            ready=server.ready,
            draining=server.draining,
            engine=_first(server.labels, _ENGINE) or DEFAULT_ENGINE,
            ray=server.labels.get("app") == "rayserve" or any(key.startswith("ray.io/") for key in server.labels),
            mapped=server.mapped,
        )
        for server in sorted(chosen, key=lambda server: server.name)
        for rank, port in _ports(server, ports)
    )


Labelled = Mapping[tuple[str, str, str], Sequence[Server]]  # by namespace, label and its value


def by_label(servers: Iterable[Server]) -> Labelled:
    """For asking who belongs to each of many pools: of a thousand servers few have any one label's value."""
    found: dict[tuple[str, str, str], list[Server]] = {}
    for server in servers:
        for key, value in server.labels.items():
            found.setdefault((server.namespace, key, value), []).append(server)
    return found


def narrowed(namespace: str, selector: Mapping[str, str], servers: Labelled) -> Sequence[Server]:
    """Those that have the label of the selector that the fewest have: no member of the pool is missing."""
    return min((servers.get((namespace, *label), ()) for label in selector.items()), key=len, default=())


def _ports(server: Server, ports: Sequence[int | str]) -> list[tuple[int, int]]:
    if server.port is not None:
        return [(0, server.port)]
    found: list[tuple[int, int]] = []
    for rank, port in enumerate(ports):
        number = server.ports.get(port) if isinstance(port, str) else port
        if number is not None:
            found.append((rank, number))
    active = _first(server.annotations, _ACTIVE_PORTS)
    if active is None:
        return found
    numbers = {part.strip() for part in active.split(",")}
    return [(rank, number) for rank, number in found if str(number) in numbers]


def _first(texts: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((texts[name] for name in names if name in texts), None)
