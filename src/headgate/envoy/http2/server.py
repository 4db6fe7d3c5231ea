"""Where a gRPC server listens, by TLS or not; and how it ends without losing a call."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from typing import cast

from headgate.envoy.http2.call import Held, Method
from headgate.envoy.http2.connection import Connection
from headgate.envoy.http2.frames import Wrong

_UNREAD = 256 << 20  # bytes that a peer may leave unread
_BEHIND = 1 << 20  # bytes that a peer leaves unread from which on nothing more of it is read
_COUNTED = 64 << 10  # of those, from which on they are counted
_PATIENCE_S = 5.0  # for a peer to read why its connection ends
_BACKLOG = 1024


class Server:
    """`methods` by path; `limit`: bytes that a message may have. `mistaken` hears of exceptions: our mistakes.

    What calls and connections keep is counted in `held`; when that is more than may be, calls that want more end.
    """

    def __init__(
        self, methods: Mapping[bytes, Method], limit: int, held: Held, mistaken: Callable[[str, Exception], None]
    ) -> None:
        self.methods = methods
        self.limit = limit
        self.held = held
        self.mistaken = mistaken
        self.peers: set[Peer] = set()
        self._listening: asyncio.Server | None = None
        self._path = ""

    @property
    def port(self) -> int:
        """0 on a unix socket."""
        assert self._listening is not None
        name = self._listening.sockets[0].getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def listen(
        self, host: str, port: int, context: ssl.SSLContext | None = None, *, shared: bool = False
    ) -> None:
        """`shared`: other processes listen there too. Raises OSError where the address can't be had."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            self._accept, host or None, port, ssl=context, backlog=_BACKLOG, reuse_port=shared or None
        )

    async def listen_at(self, path: str) -> None:
        """On a unix socket. Raises OSError where it can't be had."""
        self._listening = await asyncio.get_running_loop().create_unix_server(self._accept, path, backlog=_BACKLOG)

    @property
    def calls(self) -> int:
        """That are under way."""
        return sum(len(peer.connection.calls) for peer in self.peers)

    def leave(self) -> None:
        """Ask all peers to make no more calls on their connections; new connections are taken as before."""
        for peer in self.peers:
            peer.connection.leave()

    async def close(self) -> None:
        """End everything now."""
        if self._listening is not None:
            self._listening.close()
        for peer in list(self.peers):
            peer.end()
        await asyncio.sleep(0)

    def _accept(self) -> "Peer":
        return Peer(self)


class Peer(asyncio.Protocol):
    """One connection. What is to be sent goes out once for each turn of the event loop."""

    __slots__ = ("_counted", "_scheduled", "_server", "_transport", "connection")

    _transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._scheduled = False
        self._counted = 0  # bytes that are counted as held
        self.connection = Connection(server.methods, server.limit, server.held, self._wake)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_BEHIND)
        self._server.peers.add(self)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if self._transport.is_closing():
            return
        self._scheduled = True  # whatever is written while this runs goes out at its end
        try:
            connection.receive(data)
        except Wrong as error:
            connection.refuse(error)
            self.end()
            connection.lost()
            return
        except Exception as error:
            self._server.mistaken("while a gRPC message was read", error)
            self._transport.abort()
            return
        self.flush()

    def flush(self) -> None:
        self._scheduled = False
        out, transport = self.connection.out, self._transport
        if not out or transport.is_closing():
            out.clear()
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        unread = transport.get_write_buffer_size()
        if unread > _COUNTED or self._counted:
            self._count(unread)
            if unread > _UNREAD or (unread > _BEHIND and self._server.held.over):
                transport.abort()

    def _count(self, unread: int) -> None:
        self._server.held.change(unread - self._counted)
        self._counted = unread

    def pause_writing(self) -> None:
        """It has not read what it was told: whatever it says now, the answer would have to be kept."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._count(self._transport.get_write_buffer_size())
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.peers.discard(self)
        self._count(0)
        self.connection.lost()

    def eof_received(self) -> None:
        """The peer has closed: so do we."""
        self.end()

    def end(self) -> None:
        """It may read what was said, as long as there is patience."""
        transport = self._transport
        with contextlib.suppress(RuntimeError):
            self.flush()
        transport.close()
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_PATIENCE_S, transport.abort)
