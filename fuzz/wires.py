"""The data plane with wires in place of sockets: what clients and endpoints send goes in, what they get comes out.

Only the connecting is replaced; all else is what runs in production.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from typing import Any

from headgate.exchange.budget import Budget
from headgate.exchange.router import Router
from headgate.exchange.site import Limits, PoolView, Site
from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.profile import DEFAULT, SERVICE
from headgate.pick.standing import Standing
from headgate.plan.plan import Backend, Listener, Match, Model, Pool, Route, Target
from headgate.proxy.downstream import Downstream, Listening
from headgate.proxy.plane import Bounds, Plane
from headgate.proxy.sending import Sending
from headgate.proxy.upstream import Upstream

_SIZE = re.compile(rb"([0-9a-f]+)\r\n")
_OF_THE_MOMENT = re.compile(rb"x-request-id: [0-9a-f]{12}-[0-9a-f]+\r\n|date: [^\r]*\r\n")


class Wire(asyncio.Transport):
    """One end of a connection. `out` is what was written to it."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__({"peername": address, "socket": self})
        self.out = bytearray()
        self.closed = self.reset = self.told = self.ended = False

    def setsockopt(self, *_: Any) -> None:
        """What the data plane does to a socket before it resets it."""

    def write(self, data: Any) -> None:
        self.out += data

    def writelines(self, pieces: Any) -> None:
        for piece in pieces:
            self.out += piece

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.reset = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Wired:
    """A data plane of its own: a Service everywhere, an inference pool under /v1 that calls the model `alias` `base`.

    `answer(request)` is asked for the pieces of each answer, and may end with how the endpoint then ends: `close`,
    `reset`.
    """

    def __init__(self) -> None:
        self.plane = Plane(Ledger(), PrefixIndex(), lambda record: None, Bounds(pipelined=1000))
        self.plane.upstreams.connect = self._connect  # type: ignore[method-assign]
        self.listening = Listening(self.plane, _site(self.plane))
        self.endpoints: list[tuple[Wire, Upstream]] = []
        self.forwarded: list[bytes] = []  # what each connection to an endpoint has carried
        self.answer: Callable[[bytes], list[bytes | str]] = lambda request: []

    def _connect(self, sending: Sending) -> None:
        wire = Wire(("127.0.0.1", sending.key[1]))
        upstream = Upstream(self.plane.upstreams, sending.key)
        upstream.connection_made(wire)
        self.endpoints.append((wire, upstream))
        upstream.begin(sending, reused=False)

    def client(self) -> tuple[Wire, Downstream]:
        wire = Wire(("192.0.2.7", 12345))
        downstream = self.listening.accept()
        downstream.connection_made(wire)
        return wire, downstream

    def feed(self, wire: Wire, downstream: Downstream, pieces: list[bytes]) -> None:
        """Each piece, and all that follows from it, as far as the gateway listens."""
        for piece in pieces:
            if wire.closed:
                break
            downstream.data_received(piece)
            self.settle()

    def settle(self) -> None:
        """Until nothing moves."""
        moved = True
        while moved:
            self.plane.outbox.flush()
            moved = False
            for wire, upstream in list(self.endpoints):
                if wire.closed and not wire.told:
                    self._lose(wire, upstream)
                elif wire.out and (length := _request_length(wire.out)):
                    request = bytes(wire.out[:length])
                    del wire.out[:length]
                    self.forwarded.append(request)
                    self._play(wire, upstream, self.answer(request))
                    moved = True

    def _play(self, wire: Wire, upstream: Upstream, pieces: list[bytes | str]) -> None:
        for piece in pieces:
            if wire.closed:
                return
            if isinstance(piece, str):
                wire.closed = True
                self._lose(wire, upstream, ConnectionResetError("reset by peer") if piece == "reset" else None)
            else:
                upstream.data_received(piece)

    def _lose(self, wire: Wire, upstream: Upstream, error: Exception | None = None) -> None:
        wire.told = True
        self.endpoints.remove((wire, upstream))
        upstream.connection_lost(error)

    def left_over(self) -> list[bytes]:
        """What endpoints were sent that is no whole request."""
        return [bytes(wire.out) for wire, _ in self.endpoints if wire.out]

    def leave(self, wire: Wire, downstream: Downstream) -> None:
        """The client goes, whatever is under way."""
        wire.closed = True
        downstream.connection_lost(None)
        self.settle()

    def idle(self) -> str:
        """What is under way although nobody asks; "" where nothing is."""
        if self.plane.connections or self.plane.ledger.total() or any(self.plane.parked.values()):
            return (
                f"connections {self.plane.connections}, in flight {dict(self.plane.ledger.counts)}, {self.plane.parked}"
            )
        return ""


def normal(data: bytes) -> bytes:
    """Without what is another each time: ids of the gateway's own, and dates."""
    return _OF_THE_MOMENT.sub(b"", data)


def _request_length(data: bytearray) -> int:
    """Of the request that `data` begins with, as the gateway frames them; 0 where it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    if b"\r\ntransfer-encoding: chunked\r\n" in data[: end + 2]:
        return _chunks_end(data, end + 4)
    found = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", data[: end + 2])
    length = end + 4 + (int(found[1]) if found else 0)
    return length if len(data) >= length else 0


def _chunks_end(data: bytearray, at: int) -> int:
    """Where the chunks and trailers that begin at `at` end; 0 where they do not."""
    while size := _SIZE.match(data, at):
        length = int(size[1], 16)
        if not length:
            end = data.find(b"\r\n\r\n", size.end() - 2)
            return end + 4 if end >= 0 else 0
        at = size.end() + length + 2
    return 0


def _site(plane: Plane) -> Site:
    endpoint = Endpoint("ns/e", "127.0.0.1", 8000)
    loads = {"ns/e": Load(waiting=0, running=0, kv_usage=0.1, models=(Served("base"),), at=plane.now)}
    model = Model("alias", targets=(Target("base"),))
    pools = (
        Pool("ns/p", "ns", {"app": "p"}, (8000,), kind="inference", models={"alias": model}),
        Pool("ns/s", "ns", {"app": "p"}, (8000,), kind="service"),
    )
    views = {
        pool.name: PoolView(
            pool=pool,
            standing=Standing(pool.name, [endpoint], loads, plane.ledger, plane.prefixes),
            profile=DEFAULT if pool.kind == "inference" else SERVICE,
            served={"base": Served("base")} if pool.kind == "inference" else {},
            listed=pool.kind == "inference",
            budget=Budget(sys.maxsize),  # what came before shall not matter
        )
        for pool in pools
    }
    routes = (
        Route("ns/v1/0/0", match=Match("/v1"), backends=(Backend("ns/p"),)),
        Route("ns/all/0/0", match=Match("/"), backends=(Backend("ns/s"),)),
    )
    router = Router((Listener("ns/gw", "http", 80, routes=routes),))
    return Site(router, views, {}, lambda: 0.0, Limits(wait_s=0.0))
