"""Which requests has a client sent?  Bytes of one connection in, whole requests out.

llhttp, which httptools wraps, is strict about framing (RFC 9112 §6 and §11.2): it refuses Content-Length beside
Transfer-Encoding or twice, lines that end in a bare LF, folded lines, and bad chunk sizes. What it lets pass and we
don't is refused here.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic

import httptools

from headgate.exchange.events import Asked, Headers, Respond
from headgate.exchange.record import Record
from headgate.exchange.request import RequestHead, read_request
from headgate.proxy.heads import LONGEST, Heads, Known
from headgate.proxy.plane import Bounds
from headgate.proxy.refusals import (
    HEADERS_TOO_LARGE,
    NO_WEBSOCKET,
    NOT_EXPECTED,
    TARGET_TOO_LONG,
    TRAILERS_TOO_LARGE,
    WASTEFUL,
    body_too_large,
    malformed,
    not_spoken,
    unframed,
)

_WATCHED = frozenset({b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
_WASTE = 8  # bytes on the wire for one of a chunked body: chunks of one byte cost 6; extensions can cost any number
_SLACK = 64 << 10
_LONGEST_PATH = 1024  # bytes of a path that are recorded


class RequestReader:
    """httptools calls the `on_` methods while it is fed.

    `requests` holds those that are whole, each with whether the connection may be kept after its answer. `in_head` and
    `in_body` say in which part of a request the bytes ended; `expects` that the client waits for `100 Continue`.
    `_plain`: nothing but its length frames the request that was read last; `_opening` are the first bytes that came of
    it, and `_size` is how many did. `early` is what came behind a request to go
    on as a WebSocket, and is no request; None as long as there was no such.
    """

    __slots__ = (
        "_behind",
        "_body",
        "_body_size",
        "_bounds",
        "_framing",
        "_head_size",
        "_headers",
        "_heads",
        "_http10",
        "_last",
        "_next_id",
        "_offer",
        "_opening",
        "_parser",
        "_partial",
        "_plain",
        "_refusal",
        "_size",
        "_told",
        "_trailers",
        "_url",
        "_wire_size",
        "early",
        "expects",
        "in_body",
        "in_head",
        "peer",
        "requests",
    )

    def __init__(
        self, bounds: Bounds, peer: bytes, next_id: Callable[[], bytes], heads: Heads[tuple[RequestHead, bool]]
    ) -> None:
        self.requests: deque[tuple[Asked, bool]] = deque()
        self.in_head = self.in_body = self.expects = False
        self.early: bytearray | None = None
        self._bounds = bounds
        self.peer = peer
        self._next_id = next_id
        self._heads = heads
        self._last: Known[tuple[RequestHead, bool]] | None = None  # of this connection
        self._partial: tuple[RequestHead, bool, int] | None = None  # one that is coming, and the bytes it lacks
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: Respond | None = None
        self._url = self._opening = b""
        self._body: list[bytes] = []
        self._head_size = self._body_size = self._size = 0

    @property
    def busy(self) -> bool:
        """Whether a request has begun and is not whole."""
        return self.in_head or self.in_body

    @property
    def rests(self) -> bool:
        """Whether nothing has come that is not answered, or being answered."""
        return not (self.requests or self.in_head or self.in_body)

    @property
    def held(self) -> int:
        """Bytes of bodies that have come and are not answered."""
        return (self._body_size if self.in_body else 0) + sum([len(asked.body) for asked, _ in self.requests])

    def forget(self) -> None:
        """Nothing that has come is of use any more."""
        self.requests.clear()
        self._body.clear()
        self._body_size = 0

    def record(self, refusal: Respond, request_id: bytes) -> Record:
        """What is known of the request that `feed` refused."""
        known = self.busy and self._url
        now = monotonic()
        return Record(
            id=request_id.decode(),
            method=self._method().decode() if known else "",
            path=self._url.partition(b"?")[0][:_LONGEST_PATH].decode("latin-1") if known else "",
            peer=self.peer.decode(),
            status=refusal.status,
            error=refusal.error,
            bytes_out=len(refusal.body),
            asked_at=now,
            ended_at=now,
        )

    def _method(self) -> bytes:
        """Of the request that is coming."""
        method: bytes = self._parser.get_method() if self._partial is None else self._partial[0].method
        return method

    def whole(self, data: bytes) -> tuple[Asked, bool] | None:
        """The request that `data` is, where it is one, whole and with a head that is known.

        None where it is not. If it is the beginning of one with such a head, it is kept, and what comes next is to be
        fed; else `data` itself is. Between two requests only: the parser never hears of it.
        """
        known = self._last
        at, missing = (0, 0) if known is None else known.measure(data)
        if known is None or not at:
            known = self._heads.find(data)
            if known is None:
                return None
            at, missing = known.measure(data)
            self._last = known
        if missing < 0 or len(data) - at + missing > self._bounds.body:
            return None
        head, keep_alive = known.said
        if missing:
            self._partial = head, keep_alive, missing
            self._body.append(data[at:])
            self._body_size = len(data) - at
            self._url = head.raw
            self.in_body = True
            return None
        return Asked(head, data[at:], head.id or self._next_id(), self.peer, monotonic()), keep_alive

    def _gather(self, partial: tuple[RequestHead, bool, int], data: bytes) -> Respond | None:
        """More of a body whose head was known."""
        head, keep_alive, missing = partial
        body = self._body
        if len(data) < missing:
            self._partial = head, keep_alive, missing - len(data)
            body.append(data)
            self._body_size += len(data)
            return None
        body.append(data[:missing])
        asked = Asked(head, b"".join(body), head.id or self._next_id(), self.peer, monotonic())
        self.requests.append((asked, keep_alive))
        body.clear()
        self._partial, self.in_body = None, False
        return self.feed(data[missing:]) if len(data) > missing else None

    def feed(self, data: bytes) -> Respond | None:
        """A refusal ends the connection, once the requests before it are answered: feed nothing more after it."""
        if self.early is not None:
            self.early += data
            return None
        if self._partial is not None:
            return self._gather(self._partial, data)
        if not self.busy:
            self._opening, self._size = data[:LONGEST], 0
        self._size += len(data)
        requests = self.requests
        before = len(requests)
        refusal = self._feed(data)
        if refusal is None and not self.busy and len(requests) == before + 1 and self._plain:
            asked, keep_alive = requests[-1]
            self._heads.learn(self._opening, (asked.head, keep_alive), self._size)
        return refusal

    def _feed(self, data: bytes) -> Respond | None:
        if self.in_body:
            self._wire_size += len(data)
            self._behind += len(data)
        else:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            if self._refusal is None:
                raise
            return self._refusal
        except httptools.HttpParserError as error:
            begins = self._head_size == len(data)  # these are the first bytes of what should be a head
            return malformed(str(error), looks_like_tls=begins and data[:1] == b"\x16")
        if self.in_body:
            if self._wire_size > _WASTE * self._body_size + _SLACK:
                return WASTEFUL
            if self._behind > 2 * self._bounds.head:
                return TRAILERS_TOO_LARGE
        elif self._head_size > 2 * self._bounds.head:  # of what httptools holds back until it is whole
            return HEADERS_TOO_LARGE
        return None

    def _stay(self, rest: bytes) -> Respond | None:
        """An offer to speak another protocol, which we don't take (RFC 9110 §7.8), or CONNECT.

        llhttp takes no body after such an offer; so the request is read again, without it.
        """
        if not self._offer:
            return None  # CONNECT: there is nothing to read after it, its answer ends the connection
        if not self._http10 and b"websocket" in [name.strip() for name in self._offer.lower().split(b",")]:
            return self._switch(rest)
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, version)]
        lines += [b"%b: %b" % pair for pair in self._headers if pair[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        refusal = self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
        self._plain = False  # its bytes are not those that came
        return refusal

    def _switch(self, rest: bytes) -> Respond | None:
        """A request to go on as a WebSocket, RFC 6455 §4.1. What it is answered decides what `rest` is."""
        method = self._parser.get_method()
        body = self._framing or any(name == b"content-length" and int(value) for name, value in self._headers)
        if method != b"GET" or body:
            return NO_WEBSOCKET
        head = read_request(method, self._url, self._headers, switches=True)
        asked = Asked(head, b"", self._next_id(), self.peer, monotonic())
        self.requests.append((asked, False))
        self.early = bytearray(rest)
        return None

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._url = self._offer = self._framing = b""
        self._headers: Headers = []
        self._body_size = 0
        self.in_head = True
        self._told = False
        self._plain = True
        self._trailers: Headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._bounds.head:
            self._fail(TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip(b" \t")
        if self.in_body:
            self._trailers.append((name, value))
            if len(self._trailers) > self._bounds.headers or _size(self._trailers) > self._bounds.head:
                self._fail(TRAILERS_TOO_LARGE)
            return
        self._headers.append((name, value))
        if name in _WATCHED:
            self._watch(name, value)

    def _watch(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if int(value) > self._bounds.body:
                self._fail(body_too_large(self._bounds.body))
            return
        self._plain = False
        if name == b"transfer-encoding":
            # On two lines it is one list (RFC 9110 §5.3); the parser looks at the last coding alone.
            self._framing = b"%b, %b" % (self._framing, value.lower()) if self._framing else value.lower()
        elif name == b"expect":
            self._told = True
            if value.lower() != b"100-continue":
                self._fail(NOT_EXPECTED)
        else:
            self._offer = b"%b, %b" % (self._offer, value) if self._offer else value

    def on_headers_complete(self) -> None:
        self.in_head, self.in_body = False, True
        version = self._parser.get_http_version()
        self._http10 = version == "1.0"
        if version != "1.1" and not self._http10:
            self._fail(not_spoken(version))
        if self._framing and (self._http10 or self._framing != b"chunked"):
            self._fail(unframed(http10=self._http10))
        if len(self._headers) > self._bounds.headers or (
            self._head_size > self._bounds.head and _size(self._headers) > self._bounds.head
        ):
            self._fail(HEADERS_TOO_LARGE)
        self._head_size = self._wire_size = self._behind = 0
        if self._offer and not self._parser.should_upgrade():
            self._offer = b""
        self.expects = self._told and not self._http10 and not self._offer

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._behind = 0
        self._body_size += len(data)
        if self._body_size > self._bounds.body:
            self._fail(body_too_large(self._bounds.body))

    def on_message_complete(self) -> None:
        self.in_body = self.expects = False
        if self._offer:
            return
        body = self._body
        asked = Asked(
            read_request(self._parser.get_method(), self._url, self._headers, http10=self._http10),
            body[0] if len(body) == 1 else b"".join(body),
            self._next_id(),
            self.peer,
            monotonic(),
            self._trailers,
        )
        body.clear()  # it may be large, and the next request may be long in coming
        self.requests.append((asked, self._parser.should_keep_alive()))

    def _fail(self, refusal: Respond) -> None:
        self._refusal = refusal
        raise ValueError(refusal.error)  # stops the parser; `feed` returns the refusal


def _size(headers: Headers) -> int:
    return sum([len(name) + len(value) for name, value in headers])
