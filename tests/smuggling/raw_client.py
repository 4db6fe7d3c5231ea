"""A raw client, blocking: bytes out, answers in."""

import contextlib
import socket
from typing import NamedTuple

PATIENCE_S = 10.0


class Answer(NamedTuple):
    """`whole` is False when the connection ended before the answer did."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class NotHttp(AssertionError):
    pass


class RawClient:
    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def send(self, data: bytes, *, step: int = 0) -> None:
        """What can be sent before the gateway closes; with `step`, in pieces of that many bytes."""
        with contextlib.suppress(ConnectionError):
            for place in range(0, len(data), step or len(data) or 1):
                self._socket.sendall(data[place : place + (step or len(data))])

    def answer(self, to: str = "GET") -> Answer | None:
        """The next one; None where the connection ends first."""
        try:
            head = self._until(b"\r\n\r\n")
        except EOFError:
            if self._unread:
                raise NotHttp(f"half of a head: {self._unread!r}") from None
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) != 3 or words[0] != "HTTP/1.1" or len(words[1]) != 3 or not words[1].isdigit():
            raise NotHttp(first)
        pairs = [line.partition(": ") for line in lines]
        headers = {name: value for name, _, value in pairs}
        if len(headers) != len(pairs) or not all(colon for _, colon, _ in pairs):
            raise NotHttp(head.decode("latin-1"))
        status = int(words[1])
        if status < 200 or status in (204, 304) or to == "HEAD":
            return Answer(status, headers, b"", True)
        body, whole = self._body(headers)
        return Answer(status, headers, body, whole)

    def _body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        if "content-length" in headers:
            if "transfer-encoding" in headers:
                raise NotHttp("two lengths")
            return self._exactly(int(headers["content-length"]))
        if "transfer-encoding" not in headers:
            return self._rest()
        body = b""
        while True:
            try:
                size = int(self._until(b"\r\n"), 16)
            except EOFError:
                return body, False
            chunk, whole = self._exactly(size + 2)
            if not whole:
                return body + chunk, False
            if not chunk.endswith(b"\r\n"):
                raise NotHttp(f"a chunk that ends in {chunk[-2:]!r}")
            if not size:
                return body, True
            body += chunk[:-2]

    def _until(self, end: bytes) -> bytes:
        while end not in self._unread:
            self._more()
        found, _, self._unread = self._unread.partition(end)
        return found

    def _exactly(self, count: int) -> tuple[bytes, bool]:
        with contextlib.suppress(EOFError):
            while len(self._unread) < count:
                self._more()
        found, self._unread = self._unread[:count], self._unread[count:]
        return found, len(found) == count

    def _rest(self) -> tuple[bytes, bool]:
        try:
            while data := self._socket.recv(1 << 16):
                self._unread += data
        except ConnectionError:
            return self._unread, False
        found, self._unread = self._unread, b""
        return found, True

    def _more(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        self._unread += data

    def ended(self) -> bool:
        """Whether the gateway closes, with nothing more to say."""
        try:
            self._more()
        except EOFError:
            return True
        return False

    def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes, and the connection stays, for that time."""
        self._socket.settimeout(seconds)
        try:
            self._more()
        except TimeoutError:
            return not self._unread
        except EOFError:
            return False
        finally:
            self._socket.settimeout(PATIENCE_S)
        return False

    def close(self) -> None:
        self._socket.close()
