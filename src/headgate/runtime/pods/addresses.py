"""Where is which Pod? At a loopback address of its own, so that port 8000 means 8000 for all of them; or, where the
machine has no such addresses, at an address that all share, each port at one that is free."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping

OFF = "off"  # in place of a network: no Pod has an address of its own
SHARED = "127.0.0.1"

_CLAIM_PORT = 57_777  # UDP, on each address: who has it bound owns the address
_LOCAL_PORTS = range(20_000, 32_000)  # below those that systems give to connections


class AddressError(Exception):
    """No address can be had; the text says why, for people."""


class Claim:
    """An address, and the ports that stand for those asked for; `ports` is empty where they are what they are."""

    def __init__(self, address: str, ports: Mapping[int, int], held: list[socket.socket]) -> None:
        self.address = address
        self.ports = ports
        self._held = held

    def release(self) -> None:
        for held in self._held:
            held.close()


class Addresses:
    """Hands out addresses of a network one after the other, so that a new Pod is not taken for the last one.

    A claim is a UDP socket bound to the address (or to the port). Other Headgates see it, and the system takes it back
    however we end. `say` hears when the machine has none of the network's addresses.
    """

    def __init__(self, network: str, say: Callable[[str], None]) -> None:
        self._hosts = [] if network == OFF else [str(host) for host in ipaddress.ip_network(network).hosts()]
        self._next = 0
        self._next_port = 0
        self._shared = network == OFF
        self._say = say

    def claim(self, wanted: Iterable[int]) -> Claim:
        """A place for a Pod that serves these ports. Raises AddressError when there is none."""
        if not self._shared:
            try:
                return self._own()
            except OSError as error:
                self._shared = True
                self._say(
                    f"this machine has no address {self._hosts[self._next]} ({error.strerror}), so Pods share {SHARED} "
                    "and serve free ports of it (as with --pod-network off)"
                )
        written, held = frozenset(wanted), list[socket.socket]()
        return Claim(SHARED, {port: self._free(held, written) for port in sorted(written)}, held)

    def _own(self) -> Claim:
        """Raises OSError when the next address is none of this machine's."""
        for _ in self._hosts:
            address = self._hosts[self._next]
            claim = _claimed(address, _CLAIM_PORT)
            self._next = (self._next + 1) % len(self._hosts)
            if claim is not None:
                return Claim(address, {}, [claim])
        raise AddressError(f"all {len(self._hosts)} addresses are in use")

    def _free(self, held: list[socket.socket], wanted: frozenset[int]) -> int:
        for _ in _LOCAL_PORTS:
            port = _LOCAL_PORTS[self._next_port]
            self._next_port = (self._next_port + 1) % len(_LOCAL_PORTS)
            if port in wanted or _is_served(port):
                continue
            claim = _claimed(SHARED, port)
            if claim is not None:
                held.append(claim)
                return port
        raise AddressError(f"all ports from {_LOCAL_PORTS[0]} to {_LOCAL_PORTS[-1]} are in use")


def _claimed(address: str, port: int) -> socket.socket | None:
    """A socket that holds it; None where somebody else does. Raises OSError when the machine has no such address."""
    claim = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind((address, port))
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return claim


def _is_served(port: int) -> bool:
    """Whether a server has the port: a Pod's could not bind it."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((SHARED, port))
        except OSError:
            return True
    return False
