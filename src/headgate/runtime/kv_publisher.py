"""The simulator's KV events on their way out: ZeroMQ, as vLLM publishes them.

Each message has three frames: the topic, its number (8 bytes, big-endian, from 0 on), the batch. Who has missed some
asks the replay endpoint with the number of the first one that it wants, and gets those that are kept (an empty frame,
topic, number, batch), then the number -1. Source: ZmqEventPublisher in vllm/distributed/kv_events.py of 0.32.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from headgate.sim.kv_events import KvEventsConfig

if TYPE_CHECKING:
    import zmq

END = (-1).to_bytes(8, "big", signed=True)


class Unpublishable(Exception):
    """The text says why, for people."""


class Publisher:
    """Listens from the start. Raises Unpublishable where it can't."""

    def __init__(self, config: KvEventsConfig, host: str) -> None:
        """`host` takes the place of a `*`: a simulated server has an address of its own, not a machine."""
        try:
            import zmq
        except ImportError:
            raise Unpublishable(
                "--kv-events-config needs pyzmq: pip install -e '.[kv-events]' in Headgate's directory"
            ) from None
        self._topic = config.topic.encode()
        self._number = 0
        self._kept: deque[tuple[bytes, bytes]] = deque(maxlen=config.buffer_steps)
        self._context = zmq.Context()
        self._again = zmq.Again
        self._now = zmq.NOBLOCK
        self._sockets: list[zmq.Socket[bytes]] = []
        self._replay: zmq.Socket[bytes] | None = None
        self._pub = self._socket(zmq.PUB, config.endpoint, host)
        self._pub.set_hwm(config.hwm)
        if config.replay_endpoint:
            self._replay = self._socket(zmq.ROUTER, config.replay_endpoint, host)
            asyncio.get_running_loop().add_reader(self._replay.FD, self._look)

    def _socket(self, kind: int, endpoint: str, host: str) -> "zmq.Socket[bytes]":
        import zmq

        made = self._context.socket(kind)
        made.linger = 0
        self._sockets.append(made)
        where = endpoint.replace("*", f"[{host}]" if ":" in host else host) if host else endpoint
        try:
            if ":" in host:
                made.ipv6 = True
            # vLLM's own rule: what names no place to connect to is a place to listen at.
            if "*" in endpoint or "::" in endpoint or endpoint.startswith(("ipc://", "inproc://")):
                made.bind(where)
            else:
                made.connect(where)
        except zmq.ZMQError as error:
            self.close()
            raise Unpublishable(f"--kv-events-config: can't publish at {where}: {error.strerror}") from None
        return made

    def publish(self, batch: bytes) -> None:
        number = self._number.to_bytes(8, "big")
        self._number += 1
        self._kept.append((number, batch))
        self._pub.send_multipart((self._topic, number, batch), self._now)

    def _look(self) -> None:
        """Its descriptor tells that something has changed, once: all that is there must be taken."""
        assert self._replay is not None
        while True:
            try:
                frames = self._replay.recv_multipart(self._now)
            except self._again:
                return
            if len(frames) == 3:
                self._send_again(frames[0], int.from_bytes(frames[2], "big"))

    def _send_again(self, who: bytes, first: int) -> None:
        assert self._replay is not None
        for number, batch in self._kept:
            if int.from_bytes(number, "big") >= first:
                self._replay.send_multipart((who, b"", self._topic, number, batch), self._now)
        self._replay.send_multipart((who, b"", b"", END, b""), self._now)

    def close(self) -> None:
        if self._replay is not None:
            asyncio.get_running_loop().remove_reader(self._replay.FD)
        for one in self._sockets:
            one.close()
        self._context.term()
