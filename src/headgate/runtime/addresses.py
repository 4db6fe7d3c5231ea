"""Where each gateway's listeners are served on this machine.

In a cluster every Gateway gets an address of its own. So here: the first has the address asked for (127.0.0.1), one
that wants a port which is taken gets the next loopback address. A port below 1024 is served at port + 8000.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from headgate.plan.plan import Listener

_PRIVILEGED = 1024
_SHIFT = 8000
_SERIES = 250  # loopback addresses that are tried after the first


class Bound(Struct, frozen=True):
    """One socket and the listeners that share it (told apart by hostname)."""

    address: str
    port: int
    listeners: tuple[Listener, ...]


class Assignment(Struct, frozen=True):
    """Who is served where. `refused` says, in words, what could not be had, and `notes` what is not where one looks."""

    addresses: Mapping[str, str] = {}  # gateway → address
    ports: Mapping[tuple[str, int], int] = {}  # gateway, port of a listener → port here
    sockets: tuple[Bound, ...] = ()
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def assign(
    listeners: Sequence[Listener], address: str, *, privileged: bool = False, before: Mapping[str, str] | None = None
) -> Assignment:
    """An address for each gateway, and a socket for each of its ports; no two gateways share a socket.

    `address` is the one to begin with, `before` the addresses that are being used: a gateway keeps its own unless
    another one asks for just that in `spec.addresses`. The order of `listeners` does not matter to who gets what.
    """
    gateways: dict[str, list[Listener]] = {}
    for listener in listeners:
        gateways.setdefault(listener.gateway, []).append(listener)
    taken: dict[int, dict[str, str]] = {}  # port → address → gateway
    addresses: dict[str, str] = {}
    ports: dict[tuple[str, int], int] = {}
    refused: list[str] = []
    notes: list[str] = []
    for name, tries in _turns(gateways, address, before or {}):
        here = _local_ports(sorted({one.port for one in gateways[name]}), privileged)
        free = next((one for one in tries if not any(_owner(taken, one, port) for port in here.values())), None)
        if free is None:
            refused.append(_refusal(name, tries[0], here, taken))
            continue
        addresses[name] = free
        notes += [_moved(name, port, moved) for port, moved in here.items() if moved > port + _SHIFT]
        for port, moved in here.items():
            ports[name, port] = moved
            taken.setdefault(moved, {})[free] = name
    return Assignment(addresses, ports, _sockets(gateways, addresses, ports), tuple(refused), tuple(notes))


def _turns(
    gateways: Mapping[str, Sequence[Listener]], address: str, before: Mapping[str, str]
) -> list[tuple[str, list[str]]]:
    """Each gateway with the addresses to try, who chooses first coming first.

    Those that ask for an address, and of those the ones that have it; then those that have any; then by name.
    """
    turns: list[tuple[tuple[bool, bool, str], list[str]]] = []
    for name, listeners in gateways.items():
        asked = next((one for listener in listeners for one in listener.addresses if _is_local(one)), "")
        if asked:
            turns.append(((False, before.get(name) != asked, name), [asked]))
        else:
            turns.append(((True, name not in before, name), [before.get(name, address), *_series(address)]))
    return [(rank[2], tries) for rank, tries in sorted(turns)]


def _local_ports(ports: Iterable[int], privileged: bool) -> dict[int, int]:
    """The port that stands for each one here, no two alike: 80 beside 8080 is moved once more."""
    here = {port: port for port in ports if privileged or port >= _PRIVILEGED}
    for port in ports:
        if port not in here:
            moved = port + _SHIFT
            while moved in here.values():
                moved += _SHIFT
            here[port] = moved
    return here


def _owner(taken: Mapping[int, Mapping[str, str]], address: str, port: int) -> str:
    """The gateway that has this socket, or one which covers it: 0.0.0.0 is every address of the machine."""
    owners = taken.get(port, {})
    if address in owners:
        return owners[address]
    return next((owners[one] for one in owners if _covers(address, one) or _covers(one, address)), "")


def _moved(name: str, port: int, moved: int) -> str:
    return f"Gateway {name}: port {port} is served at {moved}, for it has a listener at {port + _SHIFT} too"


def _refusal(name: str, address: str, here: Mapping[int, int], taken: Mapping[int, Mapping[str, str]]) -> str:
    port, owner = next((port, owner) for port in here.values() if (owner := _owner(taken, address, port)))
    return (
        f"Gateway {name} is not served: it wants {address} port {port}, which Gateway {owner} has; give one of them "
        "another port"
    )


def _sockets(
    gateways: Mapping[str, Sequence[Listener]], addresses: Mapping[str, str], ports: Mapping[tuple[str, int], int]
) -> tuple[Bound, ...]:
    sockets: dict[tuple[str, int], list[Listener]] = {}
    for name, address in addresses.items():
        for listener in gateways[name]:
            sockets.setdefault((address, ports[name, listener.port]), []).append(listener)
    return tuple(Bound(*key, tuple(found)) for key, found in sorted(sockets.items()))


def _series(address: str) -> list[str]:
    """The address, and where it is a loopback one, those after it."""
    try:
        first = ipaddress.ip_address(address)
    except ValueError:
        return [address]
    if first.version == 4 and first.is_loopback:
        return [str(first + step) for step in range(_SERIES) if (first + step).is_loopback]
    return [address]


def _covers(address: str, other: str) -> bool:
    """Whether a socket of this address takes what comes to the other."""
    if not address:
        return True
    try:
        every, one = ipaddress.ip_address(address), ipaddress.ip_address(other)
    except ValueError:
        return False
    return every.is_unspecified and every.version == one.version


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
