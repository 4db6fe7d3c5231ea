"""A request on its way to one endpoint, and who waits for the answer."""

import asyncio
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from headgate.exchange.answer import AnswerHead

if TYPE_CHECKING:
    from headgate.proxy.upstream import Upstream
    from headgate.proxy.upstreams import Upstreams

Reason = Literal["refused", "reset", "timeout", "garbage", "untrusted"]
Key = tuple[str, int, str]  # address, port, and by which TLS


class Owner(Protocol):
    """Who waits for an answer. `failed` comes at most once, and nothing after it; so do `ended` and `switched`.

    `switches`: it asked to go on as a WebSocket. Once that is granted the connection is the owner's, and `rest` is what
    came on it behind the head.
    """

    @property
    def switches(self) -> bool: ...

    def whole(self, answer: AnswerHead, body: bytes) -> None: ...  # all at once, or as follows
    def answered(self, answer: AnswerHead) -> None: ...
    def body(self, data: bytes) -> None: ...
    def chunk(self, data: bytes, framed: bytes, last: bool) -> None: ...  # of a body, and as a chunk; last: then flush
    def ended(self) -> None: ...
    def flush(self) -> None: ...
    def interim(self, answer: AnswerHead) -> None: ...  # before `answered`: 102, 103
    def trailer(self, name: bytes, value: bytes) -> None: ...  # before `ended`
    def switched(self, answer: AnswerHead, rest: bytes, transport: asyncio.Transport) -> None: ...
    def failed(self, reason: Reason, detail: str) -> None: ...


class Sending(Struct, eq=False):
    """A request on its way to one endpoint. Its owner is None once the owner wants nothing more of it."""

    key: Key
    _upstreams: "Upstreams"
    head: bytes
    body: bytes
    no_body: bool
    repeat: bool
    hold: bool
    owner: Owner | None
    upstream: "Upstream | None" = None

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
        """What a kept connection ended with says nothing of this request: ask on a fresh one."""
        self.upstream = None
        self._upstreams.connect(self)

    def fail(self, reason: Reason, detail: str) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.failed(reason, detail)
