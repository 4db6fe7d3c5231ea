"""When a silence has been too long, and how a connection ends of which nobody shall think that it is complete."""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.proxy.plane import Bounds


def overdue(silence_s: float, bounds: "Bounds", *, begun: bool) -> str:
    """What is wrong where a server has been silent for so long; "" where nothing is. `begun`: its answer has."""
    if not begun:
        return f"nothing came within {bounds.first_byte_s:g} s" if silence_s > bounds.first_byte_s else ""
    return f"nothing came for {bounds.silence_s:g} s" if silence_s > bounds.silence_s else ""


def reset(transport: asyncio.Transport) -> None:
    """Not an orderly end: the peer gets RST."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
