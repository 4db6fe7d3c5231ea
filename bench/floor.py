"""The yardstick: the least that a proxy in Python on uvloop and httptools must do, and nothing more.

    python -m bench.floor PORT ENDPOINT...

It parses both ways only to find where messages end, takes the endpoints in turn, keeps connections, and relays the
bytes as they come. It looks at no header and no body, keeps no count, writes no log, retries nothing. What headgate
costs in multiples of it is a figure that travels between machines better than microseconds.
"""

import asyncio
import itertools
import sys
from collections.abc import Iterator

import httptools
import uvloop

_Address = tuple[str, int]


class _Upstream(asyncio.Protocol):
    """A kept connection to an endpoint; `client` is whom the answer goes to, or went to last."""

    def __init__(self, idle: "list[_Upstream]", client: "_Client") -> None:
        self._idle = idle
        self.client = client
        self._parser = httptools.HttpResponseParser(self)
        self._early: list[bytes] = []  # what the client sent before the connection was there
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.writelines(self._early)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        else:
            self.client.close()

    def write(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)
        else:
            self._early.append(data)

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self.client.relay(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.client.finish()
        self._idle.append(self)


class _Client(asyncio.Protocol):
    """A client's connection, with one request at a time: a client that pipelines is hung up on."""

    def __init__(self, idle: dict[_Address, list[_Upstream]], turns: Iterator[_Address]) -> None:
        self._idle, self._turns = idle, turns
        self._parser = httptools.HttpRequestParser(self)
        self._upstream: _Upstream | None = None
        self._connecting: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._upstream:
            self._upstream.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError):
            self._transport.close()
            return
        if self._upstream:
            self._upstream.write(data)

    def on_message_begin(self) -> None:
        if self._upstream:
            raise httptools.HttpParserError("a second request before the first was answered")
        address = next(self._turns)
        idle = self._idle[address]
        if idle:
            self._upstream = idle.pop()
            self._upstream.client = self
            return
        upstream = self._upstream = _Upstream(idle, self)
        self._connecting = asyncio.ensure_future(self._connect(upstream, address))

    async def _connect(self, upstream: _Upstream, address: _Address) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: upstream, *address)
        except OSError:
            self.close()

    def relay(self, data: bytes) -> None:
        self._transport.write(data)

    def finish(self) -> None:
        self._upstream = None

    def close(self) -> None:
        self._transport.close()


async def _serve(port: int, addresses: list[_Address]) -> None:
    idle: dict[_Address, list[_Upstream]] = {address: [] for address in addresses}
    turns = itertools.cycle(addresses)
    await asyncio.get_running_loop().create_server(lambda: _Client(idle, turns), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


def main() -> None:
    port, *endpoints = sys.argv[1:]
    split = (endpoint.rpartition(":") for endpoint in endpoints)
    uvloop.run(_serve(int(port), [(host, int(number)) for host, _, number in split]))


if __name__ == "__main__":
    main()
