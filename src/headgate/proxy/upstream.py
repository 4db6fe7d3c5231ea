"""Connections to endpoints: kept alive, one request at a time on each."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from headgate.exchange.events import Headers
from headgate.fleet.endpoint import Endpoint

_CONNECT_S = 3.0
_IDLE_S = 60.0  # shorter than most servers' own: a connection should not close just as it is used
_IDLE_PER_ENDPOINT = 256


class Owner(Protocol):
    """Who waits for an answer. `failed` comes at most once, and nothing after it; so does `ended`."""

    def answered(self, status: int, headers: Headers) -> None: ...
    def body(self, data: bytes) -> None: ...
    def ended(self) -> None: ...
    def flush(self) -> None: ...
    def failed(self, reason: str, detail: str) -> None: ...


class Upstreams:
    """The connections of one event loop, by endpoint address."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[Upstream]] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._now = 0.0

    def send(self, owner: Owner, endpoint: Endpoint, head: bytes, body: bytes, no_body: bool) -> "Sending":
        """Send a request; the answer comes to `owner`. `no_body`: the answer has none whatever it says (HEAD)."""
        sending = Sending(self, owner, (endpoint.address, endpoint.port), head, body, no_body)
        idle = self._idle.get(sending.key)
        while idle:
            upstream = idle.pop()
            if not upstream.transport.is_closing():
                upstream.reused = True
                upstream.begin(sending)
                return sending
        self.connect(sending)
        return sending

    def connect(self, sending: "Sending") -> None:
        task = asyncio.get_running_loop().create_task(self._connect(sending))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, sending: "Sending") -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, upstream = await loop.create_connection(lambda: Upstream(self, sending.key), *sending.key)
        except TimeoutError:
            sending.fail("refused", f"no connection within {_CONNECT_S:g} s")
        except OSError as error:
            sending.fail("refused", error.strerror or str(error))
        else:
            if sending.owner is None:
                self.keep(upstream)
            else:
                upstream.begin(sending)

    def keep(self, upstream: "Upstream") -> None:
        """Take a connection back for the next request."""
        idle = self._idle.setdefault(upstream.key, [])
        if len(idle) >= _IDLE_PER_ENDPOINT:
            upstream.transport.abort()
            return
        upstream.idle_since = self._now
        idle.append(upstream)

    def drop(self, upstream: "Upstream") -> None:
        idle = self._idle.get(upstream.key)
        if idle is not None and upstream in idle:
            idle.remove(upstream)

    def sweep(self, now: float) -> None:
        """Close what has idled for long. The oldest stand first, since the newest are used first."""
        self._now = now
        for key, idle in list(self._idle.items()):
            while idle and idle[0].idle_since < now - _IDLE_S:
                idle.pop(0).transport.abort()
            if not idle:
                del self._idle[key]

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for idle in self._idle.values():
            for upstream in idle:
                upstream.transport.abort()
        self._idle.clear()


class Sending:
    """A request on its way to one endpoint. Its owner is None once the owner wants nothing more of it."""

    __slots__ = ("_upstreams", "body", "head", "key", "no_body", "owner", "upstream")

    def __init__(
        self, upstreams: Upstreams, owner: Owner, key: tuple[str, int], head: bytes, body: bytes, no_body: bool
    ) -> None:
        self._upstreams = upstreams
        self.owner: Owner | None = owner
        self.key = key
        self.head = head
        self.body = body
        self.no_body = no_body
        self.upstream: Upstream | None = None

    def abort(self) -> None:
        """The owner wants no answer any more: the server must notice, so that it can free what it holds."""
        self.owner = None
        if self.upstream is not None:
            self.upstream.transport.abort()

    def pause(self) -> None:
        if self.upstream is not None and not self.upstream.transport.is_closing():
            self.upstream.transport.pause_reading()

    def resume(self) -> None:
        if self.upstream is not None and not self.upstream.transport.is_closing():
            self.upstream.transport.resume_reading()

    def again(self) -> None:
        """The server closed a kept connection just as it was used: that says nothing, so ask on a fresh one."""
        self.upstream = None
        self._upstreams.connect(self)

    def fail(self, reason: str, detail: str) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.failed(reason, detail)


class Upstream(asyncio.Protocol):
    """One connection. httptools calls the `on_` methods while it is fed."""

    __slots__ = (
        "_complete",
        "_feed",
        "_headers",
        "_keep_alive",
        "_parser",
        "_sending",
        "_spoilt",
        "_started",
        "_upstreams",
        "idle_since",
        "key",
        "reused",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, upstreams: Upstreams, key: tuple[str, int]) -> None:
        self._upstreams = upstreams
        self.key = key
        self.reused = self._keep_alive = False
        self.idle_since = 0.0
        self._sending: Sending | None = None
        self._headers: Headers = []
        self._started = self._complete = self._spoilt = False
        self._parser = httptools.HttpResponseParser(self)
        self._feed: Callable[[bytes], None] = self._parser.feed_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # create_connection gives a Transport

    def begin(self, sending: Sending) -> None:
        sending.upstream = self
        self._sending = sending
        self._started = self._complete = False
        if len(sending.body) > 16384:
            self.transport.writelines((sending.head, sending.body))
        else:
            self.transport.write(sending.head + sending.body)

    def data_received(self, data: bytes) -> None:
        sending = self._sending
        if sending is None:
            self.transport.abort()  # nobody asked
            return
        self._started = True
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            raise  # our own fault: the loop reports it and ends this connection
        except httptools.HttpParserError as error:
            if not self._complete:
                self._end_with("garbage", str(error) or type(error).__name__)
                return
            # What follows a whole answer is not ours to pass on.
            self._spoilt = True
        owner = sending.owner
        if self._complete:
            self._release()
            if owner is not None:
                sending.owner = None
                owner.ended()
        elif owner is not None:
            owner.flush()

    def _release(self) -> None:
        sending, self._sending = self._sending, None
        if self._spoilt or (sending is not None and sending.no_body) or not self._keep_alive:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._upstreams.keep(self)

    def _end_with(self, reason: str, detail: str) -> None:
        sending, self._sending = self._sending, None
        self.transport.abort()
        if sending is not None:
            sending.fail(reason, detail)

    def connection_lost(self, error: Exception | None) -> None:
        sending = self._sending
        if sending is None:
            self._upstreams.drop(self)
            return
        self._sending = None
        if sending.owner is None:
            return
        if not self._started and self.reused:
            sending.again()
        elif self._started and error is None and self._ends_with_connection():
            owner, sending.owner = sending.owner, None
            owner.ended()
        else:
            sending.fail("reset", "the server closed the connection" if error is None else str(error))

    def _ends_with_connection(self) -> bool:
        """An answer without a length and not chunked is whole when the server closes (RFC 9112 §6.3)."""
        return bool(self._headers) and not any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer to one question
            self.transport.abort()
            return
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        sending = self._sending
        if status < 200 or sending is None or sending.owner is None or self._complete:
            return
        if sending.no_body:
            self._complete = True
        sending.owner.answered(status, self._headers)

    def on_body(self, data: bytes) -> None:
        sending = self._sending
        if sending is not None and sending.owner is not None and not self._complete:
            sending.owner.body(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()  # the parser knows it only now
