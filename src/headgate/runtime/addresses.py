"""Where each gateway's listeners are served on this machine.

In a cluster every Gateway gets an address of its own. So here: the first has the address asked for (127.0.0.1), one
that wants a port which is taken gets the next loopback address. A port below 1024 is served at port + 8000.
"""

import ipaddress
from collections.abc import Mapping, Sequence

from msgspec import Struct

from headgate.plan.plan import Listener

_PRIVILEGED = 1024
_SHIFT = 8000


class Bound(Struct, frozen=True):
    """One socket and the listeners that share it (told apart by hostname)."""

    address: str
    port: int
    listeners: tuple[Listener, ...]


def local_port(port: int, privileged: bool) -> int:
    """The port that stands for `port` here."""
    return port + _SHIFT if port < _PRIVILEGED and not privileged else port


def assign(
    listeners: Sequence[Listener], address: str, *, privileged: bool = False, before: Mapping[str, str] | None = None
) -> tuple[dict[str, str], tuple[Bound, ...], tuple[str, ...]]:
    """Each gateway's address, the sockets, and what could not be had, in words.

    `before` is the assignment that is being used: a gateway keeps its address while it can.
    """
    gateways: dict[str, list[Listener]] = {}
    for listener in listeners:
        gateways.setdefault(listener.gateway, []).append(listener)
    taken: dict[tuple[str, int], str] = {}
    chosen: dict[str, str] = {}
    refused: list[str] = []
    before = before or {}
    for name in sorted(gateways, key=lambda gateway: (gateway not in before, gateway)):
        ports = {local_port(listener.port, privileged) for listener in gateways[name]}
        asked = next((a for listener in gateways[name] for a in listener.addresses if _is_local(a)), None)
        tries = [asked] if asked else [before.get(name, address), *_series(address)]
        free = next((a for a in tries if all((a, port) not in taken for port in ports)), None)
        if free is None:
            other = next(taken[key] for key in ((tries[0], port) for port in ports) if key in taken)
            refused.append(
                f"Gateway {name} wants {tries[0]} and a port that Gateway {other} has: give one of them another port"
            )
            continue
        chosen[name] = free
        taken.update({(free, port): name for port in ports})
    sockets: dict[tuple[str, int], list[Listener]] = {}
    for name, own in chosen.items():
        for listener in gateways[name]:
            sockets.setdefault((own, local_port(listener.port, privileged)), []).append(listener)
    bound = tuple(Bound(key[0], key[1], tuple(found)) for key, found in sorted(sockets.items()))
    return chosen, bound, tuple(refused)


def _series(address: str) -> list[str]:
    """The address, and where it is a loopback one, those after it."""
    try:
        first = ipaddress.ip_address(address)
    except ValueError:
        return [address]
    if first.version == 4 and first.is_loopback:
        return [str(first + step) for step in range(250) if (first + step).is_loopback]
    return [address]


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
