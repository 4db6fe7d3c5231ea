"""After 101 (RFC 9110 §7.8): what either side says goes to the other as it comes, until one of them ends it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.proxy.downstream import Downstream
    from headgate.proxy.turn import Turn

_HELD = 4 << 10  # bytes for a side that reads slowly, before the other is made to wait; one more read may come to it


class Tunnel:
    """Between a client's connection and a server's, whose protocols it replaces."""

    __slots__ = ("_client", "_open", "_server", "_turn")

    def __init__(self, turn: "Turn", client: "Downstream", server: asyncio.Transport) -> None:
        self._turn = turn
        self._client = client
        self._server = server
        self._open = True

    def open(self, rest: bytes) -> None:
        """`rest` is what the server has said already."""
        client, server, turn = self._client, self._server, self._turn
        inward = _End(server, lambda count: turn.tunnelled(count, 0), client.connection_lost)
        outward = _End(client.transport, lambda count: turn.tunnelled(0, count), self._server_lost)
        client.transport.set_protocol(inward)
        server.set_protocol(outward)
        client.transport.set_write_buffer_limits(high=_HELD)
        server.set_write_buffer_limits(high=_HELD)
        if client.transport.get_write_buffer_size() > _HELD:
            inward.pause_writing()
        inward.data_received(client.take_early())
        outward.data_received(rest)

    def close(self) -> None:
        """The client has left, or has been quiet for too long. What it said before still goes to the server."""
        self._open = False
        self._server.close()
        # A server that does not read has had its chance when the connection has lingered.
        asyncio.get_running_loop().call_later(self._client.plane.bounds.linger_s, self._server.abort)

    def _server_lost(self, error: Exception | None) -> None:
        if self._open:
            self._open = False
            if error is None:
                self._turn.ended()
            else:
                self._turn.failed("reset", str(error))


class _End(asyncio.Protocol):
    """One side. What it says goes to `other`, and is counted as `passed`."""

    __slots__ = ("_lost", "_other", "_passed")

    def __init__(
        self, other: asyncio.Transport, passed: Callable[[int], None], lost: Callable[[Exception | None], None]
    ) -> None:
        self._other = other
        self._passed = passed
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        if data and not self._other.is_closing():
            self._other.write(data)
            self._passed(len(data))

    def pause_writing(self) -> None:
        """This side reads slowly: so does the gateway, from the other."""
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(error)
