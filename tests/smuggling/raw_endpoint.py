"""A raw endpoint that records every byte and answers as the test wants; in threads: tests read from top to end."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable

PATIENCE_S = 10.0
MODELS = json.dumps({"object": "list", "data": [{"id": "base", "object": "model", "root": "base"}]}).encode()


class Taken:
    """One request as the endpoint has read it; `peer` is the connection to answer it on."""

    def __init__(self, head: bytes, body: bytes, peer: socket.socket) -> None:
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        self.headers = dict(self.pairs)
        self.body, self.peer = body, peer

    def reset(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def __repr__(self) -> str:
        return f"{self.line} {self.body!r}"


def ok(taken: Taken) -> None:
    """Says back what it was asked."""
    said = json.dumps({"line": taken.line, "body": taken.body.decode("latin-1")}).encode()
    taken.peer.sendall(
        b"HTTP/1.1 200 OK\r\nx-seen: %d\r\ncontent-length: %d\r\n\r\n%b" % (len(taken.body), len(said), said)
    )


class RawEndpoint:
    """Its connections are read strictly: head, then as many bytes as its one Content-Length says.

    What the gateway asks for itself (metrics, models) is answered and not recorded.
    """

    def __init__(self, address: str, port: int) -> None:
        self.answer: Callable[[Taken], None] = ok
        self.taken: list[Taken] = []
        self.raw: list[bytearray] = []  # of each connection that a request came on
        self._socket = socket.create_server((address, port), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # else the thread that accepts keeps it open
        self._socket.close()

    def forget(self) -> None:
        """What was recorded until now."""
        self.taken.clear()
        for raw in self.raw:
            raw.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw, unread, recorded = bytearray(), bytearray(), False
        with contextlib.suppress(OSError, ValueError), peer:
            while data := peer.recv(1 << 16):
                raw += data
                unread += data
                while (end := unread.find(b"\r\n\r\n")) >= 0:
                    head = bytes(unread[:end])
                    length = _length(head)
                    if len(unread) < end + 4 + length:
                        break
                    taken = Taken(head, bytes(unread[end + 4 : end + 4 + length]), peer)
                    del unread[: end + 4 + length]
                    if "x-request-id" not in taken.headers:
                        raw.clear()
                        _of_itself(taken)
                        continue
                    if not recorded:
                        recorded = True
                        self.raw.append(raw)
                    self.taken.append(taken)
                    self.answer(taken)


def _length(head: bytes) -> int:
    found = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
    return int(found[0]) if found else 0


def _of_itself(taken: Taken) -> None:
    body = MODELS if taken.line.startswith("GET /v1/models") else b""
    taken.peer.sendall(
        b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (b"200 OK" if body else b"404 No", len(body), body)
    )
