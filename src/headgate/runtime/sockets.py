"""Sockets that are bound and listen before anybody serves them: one for each process that will.

They have SO_REUSEPORT, so that the kernel shares connections out among them. Who binds them keeps them open: what came
to the socket of a process that dies waits in its queue for the next one to take it.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from itertools import chain, count

from msgspec import Struct

BACKLOG = 4096

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("HBBI")  # struct sock_filter: code, jump if true, if false, operand
_NO_SYN = (  # a classic BPF program over the TCP header
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # SYN and ACK of them
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # else take it
)


class Binding(Struct, frozen=True, eq=False):
    """An address that is ours. `number` tells it from one that had the same address before.

    `groups`: a name may stand for several addresses, each of which has sockets for all processes.
    """

    number: int
    address: str
    port: int
    groups: tuple[tuple[socket.socket, ...], ...]

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple([one for group in self.groups for one in group])

    def share(self, which: int, of: int) -> tuple[socket.socket, ...]:
        """Those for process `which` of `of`."""
        return tuple([one for group in self.groups for one in group[which::of]])

    def close(self) -> None:
        """Others may have the same sockets, and go on."""
        for one in self.sockets:
            one.close()

    def end(self) -> None:
        """Nobody goes on: new connections are kept out, so that those who serve can take all that are being made."""
        for one in self.sockets:
            take_no_more(one)
            one.close()


_numbers = count(1)


async def bind(
    address: str, port: int, processes: int, had: Sequence[socket.socket] = (), *, listening: bool = True
) -> Binding:
    """Listening sockets for so many processes; those that we `had` are among them, where they are at this address.

    Not `listening` they only keep the address for somebody of this user who does, with SO_REUSEPORT as well.

    Raises OSError where it can't be had, EADDRINUSE also where whoever has it would share it: two gateways that don't
    know of each other must not get each other's requests.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    groups: list[list[socket.socket]] = []
    try:
        for family, place in dict.fromkeys((family, place) for family, *_, place in found):
            group = [one for one in had if one.family == family and one.getsockname() == place]
            groups.append(group)
            if not group:
                _open(family, place, shared=False).close()
            while len(group) < processes:
                group.append(_open(family, place, shared=True))
                if listening:
                    group[-1].listen(BACKLOG)
    except OSError:
        for one in chain(*groups):
            one.close()
        raise
    return Binding(next(_numbers), address, port, tuple(map(tuple, groups)))


def _open(family: int, place: tuple[object, ...], *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(place)
    except BaseException:
        one.close()
        raise
    return one


def take_no_more(one: socket.socket) -> None:
    """From here on a listening socket hears nothing of new connections, while those that are being made still come.

    That is so for all who have it. Who closes a socket at once resets connections whose handshake is under way, and
    with them what their clients sent right behind it. A client that comes now tries again after a second. Only Linux
    can do that (socket(7)); elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*step) for step in _NO_SYN))
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), ctypes.addressof(program)))


def why_not(error: OSError, address: str, port: int) -> str:
    """Why a socket can't be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"another process has port {port} there"
    if error.errno == errno.EACCES:
        return f"port {port} is for root only; without --privileged-ports it is served at port + 8000"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"this machine has no address {address}"
    return os.strerror(error.errno) if error.errno else str(error)
