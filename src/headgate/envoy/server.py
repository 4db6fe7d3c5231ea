"""gRPC servers: where they listen, by TLS or not, and how they end."""

from collections.abc import Sequence
from typing import Any

import grpc
from grpc import aio

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a body in one message may be large; `Bounds` says how large
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_ping_strikes", 0),  # proxies ask whether we are there as often as they like
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.bdp_probe", 0),  # neighbours: nothing is gained by measuring the way to them
    ("grpc.so_reuseport", 1),
)


class Unusable(Exception):
    """The address can't be had."""


async def listen(
    handlers: Sequence[grpc.GenericRpcHandler],
    address: str,
    credentials: Any = None,
    options: Sequence[tuple[str, int]] = (),
) -> tuple[aio.Server, int]:
    """A server that has begun, and its port (0 asks for any free one). `address`: `HOST:PORT`, or `unix:PATH`.

    Raises Unusable.
    """
    server = aio.server(options=(*_OPTIONS, *options))
    server.add_generic_rpc_handlers(tuple(handlers))
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise Unusable(f"{address} can't be had: {error}") from None
    await server.start()
    return server, port
