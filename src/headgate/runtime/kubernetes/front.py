"""Where clients find the Gateways: the addresses of the Service in front of us, or the one that we listen at."""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from headgate.runtime.gateway import Gateway
from headgate.runtime.kubernetes.client import Client
from headgate.runtime.kubernetes.holdings import object_item
from headgate.runtime.kubernetes.resources import Resource
from headgate.runtime.kubernetes.watcher import Collection, Watcher
from headgate.runtime.kubernetes.watching import Trouble

_SERVICES = Resource("", "v1", "Service", "services")


class Front:
    """`service` is [namespace/]name; "" where there is none."""

    def __init__(
        self,
        client: Client,
        service: str,
        changed: Callable[[], None],
        tell: Callable[[Collection, Trouble], None],
    ) -> None:
        namespace, _, name = service.rpartition("/")
        self._watcher: Watcher | None = None
        if service:
            collection = Collection(
                _SERVICES.path(namespace or client.namespace), (("fieldSelector", f"metadata.name={name}"),)
            )
            self._watcher = Watcher(client, collection, object_item, lambda _: changed(), tell, changed)

    async def run(self) -> None:
        if self._watcher is not None:
            await self._watcher.run()

    def addresses(self, gateway: Gateway) -> Mapping[str, tuple[str, ...]]:
        """Of each Gateway that is served; () where none is known yet."""
        if self._watcher is None:
            assigned = gateway.assigned.addresses.items()
            return {name: () if _is_everywhere(address) else (address,) for name, address in assigned}
        found = tuple(
            address
            for item in self._watcher.items.values()
            for address in service_addresses(item.value.get("spec") or {}, item.beside.status or {})
        )
        return dict.fromkeys((listener.gateway for listener in gateway.plan.listeners), found)


def service_addresses(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a LoadBalancer those that it was given, none until then; of others the external ones, or the cluster's own."""
    if spec.get("type") == "LoadBalancer":
        given = (status.get("loadBalancer") or {}).get("ingress") or ()
        return tuple(one.get("ip") or one.get("hostname") for one in given if one.get("ip") or one.get("hostname"))
    if external := spec.get("externalIPs"):
        return tuple(external)
    own = spec.get("clusterIP") or ""
    return (own,) if own not in ("", "None") else ()


def _is_everywhere(address: str) -> bool:
    try:
        return not address or ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def unserved(gateway: Gateway) -> Mapping[str, str]:
    """Gateways that no request gets into, though nothing is wrong with what was written: why, in words."""
    found: dict[str, str] = {}
    for listener in gateway.plan.listeners:
        place = gateway.place(listener)
        if place not in gateway.sockets:
            address, port = place
            why = gateway.unbound.get(place, "another Gateway has the port")
            found.setdefault(listener.gateway, f"port {listener.port} (here {address or 'none'}:{port}): {why}")
    return found
