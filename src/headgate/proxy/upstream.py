"""A connection to an endpoint: kept alive, one request at a time."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools

from headgate.exchange.answer import AnswerHead, engine_died, read_answer
from headgate.exchange.events import Headers
from headgate.proxy.chunks import SIZE, whole_chunk
from headgate.proxy.heads import Known
from headgate.proxy.sending import Key, Reason, Sending

if TYPE_CHECKING:
    from headgate.proxy.upstreams import Upstreams

_COPIED = 16 << 10  # bytes of a body up to which copying it costs less than a second piece to write
_BODILESS = 256 << 10  # bytes of a head, between two pieces of a body, or behind it
_UNLEARNT = (204, 304, 500)
_SAID = 4096  # bytes of an answer that says no, within which it says why


class Upstream(asyncio.Protocol):
    """One connection. httptools calls the `on_` methods while it is fed.

    `_answering`: the head of the answer proper is here. `_complete`: all of it is. `_interim`: others came before it.
    `_between`: the parser stands between two chunks. `_bodiless`: bytes since the last that were of a body. `_fault`:
    why it is no answer, "" where it is one. `_held`: the owner does not know of the head yet, nor of the body's pieces
    in `_said`.
    """

    __slots__ = (
        "_answering",
        "_between",
        "_bodiless",
        "_complete",
        "_fault",
        "_feed",
        "_head",
        "_headers",
        "_heads",
        "_held",
        "_interim",
        "_keep_alive",
        "_last",
        "_outbox",
        "_parser",
        "_reused",
        "_said",
        "_sending",
        "_spoilt",
        "_started",
        "_upstreams",
        "idle_since",
        "key",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, upstreams: "Upstreams", key: Key) -> None:
        self._upstreams = upstreams
        self.key = key
        self.idle_since = 0.0
        self._sending: Sending | None = None
        self._headers: Headers = []
        self._fault = ""
        self._reused = self._keep_alive = self._between = False
        self._started = self._answering = self._complete = self._spoilt = False
        self._parser = httptools.HttpResponseParser(self)
        self._head: AnswerHead | None = None
        self._held = False
        self._said: list[bytes] = []
        self._heads = upstreams.heads
        self._last: Known[AnswerHead] | None = None
        self._outbox = upstreams.outbox
        self._feed: Callable[[bytes], None] = self._parser.feed_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def begin(self, sending: Sending, *, reused: bool) -> None:
        sending.upstream = self
        self._sending = sending
        self._reused = reused
        self._started = self._answering = self._complete = self._between = self._interim = self._held = False
        self._head = None
        self._bodiless = 0
        if len(sending.body) > _COPIED:
            self.transport.writelines((sending.head, sending.body))
        else:
            self._outbox.write(self.transport, sending.head + sending.body)

    def data_received(self, data: bytes) -> None:
        sending = self._sending
        if sending is None:
            self.transport.abort()  # nobody asked
            return
        if self._between:
            size, owner = SIZE.match(data), sending.owner
            if size is not None and owner is not None:
                start, end = size.end(), len(data) - 2
                if start + int(size[1], 16) == end > start and data.endswith(b"\r\n"):
                    # One chunk and nothing else, as most reads of a stream are.
                    owner.chunk(data[start:end], data, True)
                    return
            if not (data := self._pass_chunks(sending, data)):
                return
        fresh, self._started = not self._started, True
        if fresh and self._whole(sending, data):
            return
        self._bodiless += len(data)
        if self._parse(sending, data):
            self._parsed(sending, data, fresh=fresh)

    def _parse(self, sending: Sending, data: bytes) -> bool:
        """Whether the answer may go on; if not, it has failed, or is none any more."""
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError:
            if not self._fault:
                raise  # our own mistake: the loop reports it and ends this connection
            self._end_with("garbage", self._fault)
            return False
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(sending, data[upgrade.args[0] :])
            return False
        except httptools.HttpParserError as error:
            if not self._complete:
                if not self._held or self._let_go(sending):  # what came before the nonsense came, however it is cut
                    self._end_with("garbage", str(error) or type(error).__name__)
                return False
            # What follows a whole answer is not ours to pass on.
            self._spoilt = True
        return True

    def _parsed(self, sending: Sending, data: bytes, *, fresh: bool) -> None:
        owner = sending.owner
        if self._held and not self._let_go(sending):
            return
        if self._complete:
            if fresh and self._keep_alive and not self._spoilt and not sending.no_body:
                self._learn(data)
            self._release()
            if owner is not None:
                sending.owner = None
                owner.ended()
        elif self._bodiless > _BODILESS:
            self._end_with("garbage", f"more than {_BODILESS} bytes of headers, or of what frames the body")
        elif owner is not None:
            # What is held the parser shall see. It may have taken in the beginning of a size, which no line end closes.
            self._between = self._between and not self._held and data.endswith(b"\r\n")
            owner.flush()

    def _let_go(self, sending: Sending) -> bool:
        """Tell the owner what was held, if it is time. Whether the answer may go on."""
        head, said, owner = self._head, self._said, sending.owner
        assert head is not None
        if owner is None:
            return True
        size = sum(map(len, said))
        if engine_died(head.status, b"".join(said) if size <= _SAID else b""):
            self._end_with("reset", "its engine has died")
            return False
        if self._complete or (said and head.streamed) or size > _SAID:
            self._held, self._said = False, []
            owner.answered(head)
            for data in said:
                if sending.owner is owner:
                    owner.body(data)
        return sending.owner is owner

    def _pass_chunks(self, sending: Sending, data: bytes) -> bytes:
        """Pass on the chunks that are whole; what is left is for the parser, which stands between two chunks."""
        owner, at = sending.owner, 0
        while True:
            start, end = whole_chunk(data, at)
            if not start:
                break
            if owner is not None:
                last = end + 2 == len(data)
                owner.chunk(data[start:end], data if last and not at else data[at : end + 2], last)
            at = end + 2
        if at == len(data):
            return b""
        self._between = False
        return data[at:] if at else data

    def _learn(self, data: bytes) -> None:
        """The answer came in one piece.

        The first head in it may be that of an interim answer, and one whose status has no body may carry a length. What
        a server says with 500 is looked at each time.
        """
        head = self._head
        if head is not None and not self._interim and head.length is not None and head.status not in _UNLEARNT:
            self._heads.learn(data, head, len(data))

    def _whole(self, sending: Sending, data: bytes) -> bool:
        """Whether `data` is all of an answer, with a head that is known: then it is passed on.

        The parser never hears of it: for the next answer it stands where it stood.
        """
        known = self._last
        at, missing = (0, 0) if known is None else known.measure(data)
        if known is None or not at:
            known = self._heads.find(data)
            if known is None:
                return False
            at, missing = known.measure(data)
            self._last = known
        if missing or sending.no_body:
            return False
        self._keep_alive = True
        self._release()
        owner, sending.owner = sending.owner, None
        if owner is not None:
            owner.whole(known.said, data[at:])
        return True

    def _switch(self, sending: Sending, rest: bytes) -> None:
        owner = sending.owner
        granted = [value.lower() for name, value in self._headers if name == b"upgrade"]
        if owner is None or not owner.switches or granted != [b"websocket"]:
            self._end_with("garbage", "it switched to another protocol, which nobody asked for")
            return
        self._sending = sending.owner = sending.upstream = None
        owner.switched(read_answer(101, self._headers), rest, self.transport)

    def _release(self) -> None:
        sending, self._sending = self._sending, None
        transport = self.transport
        # A server that answers before it has read the whole request may not read the rest of it either.
        unsent = transport.get_write_buffer_size() > 0
        if unsent or self._spoilt or not self._keep_alive or (sending is not None and sending.no_body):
            transport.abort()
        elif not transport.is_closing():
            self._upstreams.keep(self)

    def _end_with(self, reason: Reason, detail: str) -> None:
        sending, self._sending = self._sending, None
        self.transport.abort()
        if sending is None:
            return
        if reason == "garbage" and self._reused and not (self._answering or self._interim) and sending.repeat:
            sending.again()  # it may be what the server had left to say of the request before
        else:
            sending.fail(reason, detail)

    def connection_lost(self, error: Exception | None) -> None:
        sending = self._sending
        if sending is None:
            self._upstreams.drop(self)
            return
        self._sending = None
        if sending.owner is None:
            return
        if self._reused and not self._started and sending.repeat:
            sending.again()
        elif self._answering and not self._held and error is None and self._ends_with_connection():
            owner, sending.owner = sending.owner, None
            owner.ended()
        else:
            sending.fail("reset", "the server closed the connection" if error is None else str(error))

    def _ends_with_connection(self) -> bool:
        """An answer without a length and not chunked is whole when the server closes (RFC 9112 §6.3)."""
        return not any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers)

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer to one question
            self._spoilt = True
        else:
            self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        # A tab behind `chunked` hides it from the parser: then it is left there, and no coding that is known.
        value = value.rstrip(b" " if name == b"transfer-encoding" else b" \t")
        if not self._answering:
            self._headers.append((name, value))
            return
        sending = self._sending
        if sending is not None and sending.owner is not None and not self._complete:
            sending.owner.trailer(name, value)

    def on_headers_complete(self) -> None:
        if self._answering:
            return
        status = self._parser.get_status_code()
        chunked = self._framing(status)
        sending = self._sending
        if status < 200:
            self._interim = True
            # The client had its 100 from the gateway, where it asked for one; servers are not asked for one.
            if status > 101 and sending is not None and sending.owner is not None:
                sending.owner.interim(read_answer(status, self._headers))
            return
        self._answering = True
        self._between = chunked
        if sending is None or sending.owner is None:
            return
        if sending.no_body:
            self._complete = True
        sending.body = b""  # it may be large, and the answer may take long
        head = self._head = read_answer(status, self._headers)
        if sending.hold and not sending.no_body and (head.streamed or status == 500):
            self._held, self._said = True, []
            self._between = False
        else:
            sending.owner.answered(head)

    def on_chunk_header(self) -> None:
        self._between = False

    def on_chunk_complete(self) -> None:
        self._between = True

    def _framing(self, status: int) -> bool:
        """Whether the body comes in chunks.

        Raises ValueError, which stops the parser, for what it lets pass and clients would get wrong: above all a body
        in a coding that would stay in it.
        """
        version = self._parser.get_http_version()
        codings = [value.lower() for name, value in self._headers if name == b"transfer-encoding"]
        if status < 100:
            self._fault = f"its status is {status:03}"
        elif version not in ("1.1", "1.0"):
            self._fault = f"it speaks HTTP/{version}"
        elif codings and codings != [b"chunked"]:
            self._fault = f"its Transfer-Encoding is {b', '.join(codings).decode('latin-1')}"
        if self._fault:
            raise ValueError(self._fault)
        return bool(codings)

    def on_body(self, data: bytes) -> None:
        self._bodiless = 0
        sending = self._sending
        if self._complete:
            return
        if self._held:
            self._said.append(data)
        elif sending is not None and sending.owner is not None:
            sending.owner.body(data)

    def on_message_complete(self) -> None:
        if self._answering and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()  # the parser knows it only now
