"""Connections to servers, by TLS to those that somebody says must be known by their certificate."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from headgate.proxy.contexts import Trust, Untrusted, why_untrusted
from headgate.proxy.tls import Tls

P = TypeVar("P", bound=asyncio.Protocol)


async def connect(factory: Callable[[], P], host: str, port: int, trust: Trust | None) -> P:
    """The protocol, on a connection that is ready for use; None for plain TCP.

    Raises OSError where there is no connection, and Untrusted where there is no trusting it.
    """
    loop = asyncio.get_running_loop()
    if trust is None:
        return (await loop.create_connection(factory, host, port))[1]
    if trust.context is None:
        raise Untrusted(trust.fault)
    protocol, done = factory(), loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Client(protocol, trust, done), host, port)
    try:
        await done
    except BaseException:
        transport.abort()
        raise
    return protocol


class _Client(Tls):
    """`done` is set when the server is known, or has an exception when it is not."""

    __slots__ = ("_done", "_speaks", "_trust")

    def __init__(self, protocol: asyncio.Protocol, trust: Trust, done: "asyncio.Future[None]") -> None:
        super().__init__()
        self._speaks = protocol
        self._trust = trust
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._trust.context is not None
        self._begin(self._trust.context, server_side=False, server_hostname=self._trust.hostname)
        self._shake(b"")

    def _greeted(self) -> asyncio.Protocol | None:
        try:
            self._trust.check(self._tls.getpeercert() or {})
        except Untrusted as error:
            self._give_up(error)
            return None
        if not self._done.done():
            self._done.set_result(None)
        return self._speaks

    def _turned_away(self, error: ssl.SSLError) -> None:
        self._give_up(Untrusted(why_untrusted(error)))

    def _give_up(self, error: Exception) -> None:
        self._closing = True
        self.raw.close()
        if not self._done.done():
            self._done.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if self._protocol is None and not self._done.done():
            self._done.set_exception(error or ConnectionResetError("the server closed the connection"))
        super().connection_lost(error)
