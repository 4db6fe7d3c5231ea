"""Which loopback address is whose? One for each Pod, so that port 8000 means 8000 for all of them."""

import errno
import ipaddress
import socket

_CLAIM_PORT = 57_777  # UDP, on each address: who has it bound owns the address


class AddressError(Exception):
    """No address can be had; the text says why, for people."""


class Addresses:
    """Hands out addresses of a network, one after the other, so that a new Pod is not taken for the last one.

    A claim is a UDP socket bound to the address. Other Headgates see it, and the system takes it back however we end.
    """

    def __init__(self, network: str) -> None:
        self._hosts = [str(host) for host in ipaddress.ip_network(network).hosts()]
        self._next = 0
        self._claims: dict[str, socket.socket] = {}

    def claim(self) -> str:
        """A free address. Raises AddressError when there is none."""
        for step in range(len(self._hosts)):
            at = (self._next + step) % len(self._hosts)
            address = self._hosts[at]
            if address in self._claims:
                continue
            claim = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                claim.bind((address, _CLAIM_PORT))
            except OSError as error:
                claim.close()
                if error.errno == errno.EADDRINUSE:
                    continue
                raise AddressError(
                    f"this machine has no address {address} ({error.strerror}): "
                    f"give the loopback interface more addresses, or run the servers yourself"
                ) from None
            self._claims[address] = claim
            self._next = (at + 1) % len(self._hosts)
            return address
        raise AddressError(f"all {len(self._hosts)} addresses are in use")

    def release(self, address: str) -> None:
        claim = self._claims.pop(address, None)
        if claim is not None:
            claim.close()

    def close(self) -> None:
        for address in list(self._claims):
            self.release(address)
