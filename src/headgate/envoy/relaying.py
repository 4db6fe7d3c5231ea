"""An answer on its way through the proxy: usage is read, names are put back, and its end is known."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from headgate.envoy import hints, mutate
from headgate.envoy.chunks import pieces
from headgate.envoy.messages import (
    BUFFERED,
    FULL_DUPLEX,
    NONE,
    Answer,
    Disorder,
    Message,
    Modes,
    Mutation,
    Override,
    Proceed,
)
from headgate.envoy.options import Options
from headgate.envoy.under_way import UnderWay
from headgate.exchange.answer import AnswerHead, read_answer
from headgate.exchange.events import Answered, Ended, Headers, Relay, Send
from headgate.exchange.exchange import Exchange
from headgate.exchange.state import State

_DIGITS = 18  # of a number of bytes
_TELLING = frozenset({b":status", b"content-type", b"content-encoding", b"content-length"})


class Relaying(Struct, eq=False):
    """Mutable. `whole`: the answer has come to its end, as far as it is told of."""

    _exchange: Exchange
    _under_way: UnderWay
    _modes: Modes
    _options: Options
    whole: bool = False
    _edit: Callable[[bytes], bytes] | None = None

    def feed(self, message: Message) -> Sequence[Answer]:
        if message.phase == "response_headers":
            return self._head(message)
        if message.phase == "response_body":
            return self._body(message)
        rest = self._end()
        end = Proceed("response_trailers")
        return [*pieces("response_body", rest, end=False), end] if self._modes.response == FULL_DUPLEX else [end]

    def _head(self, message: Message) -> list[Answer]:
        exchange, headers, mode, options = self._exchange, message.headers, self._modes.response, self._options
        served = message.about.served
        if served:
            self._under_way.served(served, exchange)
        dressed = exchange.job.way.dressed or exchange.stamped or exchange.site.limits.debug_headers
        head = _read(headers) if dressed else _read_plainly(headers)
        relay = exchange.feed(Answered(head, monotonic()))
        assert isinstance(relay, Relay)  # who has a proxy before it sends nothing again
        self._under_way.answered(head.status, streamed=head.streamed)
        self._edit = edit = relay.edit
        if dressed:
            mutation = mutate.response(headers, relay.lines)
        else:
            mutation = mutate.plain_response(headers, exchange.record.id)
        if edit is not None and relay.length is None and head.length is not None:
            mutation = Mutation(mutation.set, [*mutation.remove, b"content-length"])
        if options.tests:
            mutation.set.append(hints.WENT_THROUGH)
            if served:
                mutation.set.append((hints.TEST_SERVED, served.encode("latin-1")))
        override = None
        if mode != NONE and edit is None and not head.streamed and not message.end:
            override = Override(self._modes.request, NONE, trailers=False)
        if message.end or mode == NONE or override is not None:
            # Of a body that is not looked at the end is not told either.
            exchange.record.bytes_out = 0 if message.end else head.length or 0
            self._end()
        return [Proceed("response_headers", mutation, override=override)]

    def _body(self, message: Message) -> Sequence[Answer]:
        data, edit, mode = message.data, self._edit, self._modes.response
        edited = data if edit is None else edit(data)
        if (message.end or mode == BUFFERED) and (rest := self._end()):
            edited += rest
        self._exchange.record.bytes_out += len(edited)
        if mode == FULL_DUPLEX:
            return pieces("response_body", edited, end=message.end)
        return [Proceed("response_body", body=None if edited is data else edited)]

    def _end(self) -> bytes:
        """What is left of the body."""
        exchange = self._exchange
        if exchange.state is not State.RELAYING:
            return b""
        self.whole = True
        return cast(Send, exchange.feed(Ended(monotonic()))).data


def _read(headers: Headers) -> AnswerHead:
    status = next((value for name, value in headers if name == b":status"), b"")
    return read_answer(_status(status), [pair for pair in headers if pair[0][:1] != b":"])


def _read_plainly(headers: Headers) -> AnswerHead:
    """The same without the headers, which nobody is going to look at."""
    told = {name: value for name, value in headers if name in _TELLING}
    head = _kind(told.get(b":status", b""), told.get(b"content-type", b""), told.get(b"content-encoding", b""))
    length = told.get(b"content-length")
    return head if length is None else replace(head, length=_length(length))


@lru_cache(maxsize=256)
def _kind(status: bytes, kind: bytes, coding: bytes) -> AnswerHead:
    return read_answer(_status(status), [(b"content-type", kind), (b"content-encoding", coding)])


def _status(value: bytes) -> int:
    if len(value) != 3 or not value.isdigit():
        raise Disorder(f"an answer whose :status is {value[:40]!r}")
    return int(value)


def _length(value: bytes) -> int:
    if len(value) > _DIGITS or not value.isdigit():
        raise Disorder(f"an answer whose content-length is {value[:40]!r}")
    return int(value)
