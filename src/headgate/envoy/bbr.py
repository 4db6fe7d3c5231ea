"""Routing by the body, alone: fields of a JSON body become headers before the proxy looks for a route.

Sources: Inference Extension v1.5, pkg/bbr; llm-d-inference-payload-processor.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from headgate.envoy.chunks import pieces
from headgate.envoy.fields import BaseModel, Plugin
from headgate.envoy.gathering import Gathering
from headgate.envoy.messages import (
    FULL_DUPLEX,
    GATHERED,
    NONE,
    Answer,
    Immediate,
    Message,
    Modes,
    Mutation,
    Override,
    Phase,
    Piece,
    Proceed,
)
from headgate.envoy.plane import Budget
from headgate.exchange.body import read_body
from headgate.exchange.events import Headers, Respond
from headgate.exchange.refuse import refuse, sentence

_FORM = b"multipart/form-data"
_CONTROL = frozenset(range(32)) | {127}
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


class Tally(Struct):
    """Mutable: what the metrics tell."""

    success: int = 0
    not_found: dict[str, int] = {}  # by field
    empty: dict[str, int] = {}


class Shared(Struct, frozen=True, eq=False):
    """What all requests have in common. `bases` is current; `took` hears of each plugin how long it took, in seconds.

    `clock` counts seconds. `written` puts refusals into the form that clients get.
    """

    plugins: Sequence[Plugin]
    bases: Callable[[], Mapping[str, str]]
    tally: Tally
    budget: Budget
    clock: Callable[[], float]
    took: Callable[[str, str, float], None]
    written: Callable[[Respond], Respond]


class BodyTurn:
    """One request: as `turn.Turn`, which it may stand before."""

    __slots__ = ("_body", "_headers", "_modes", "_shared", "_told", "answers", "over")

    waits = False
    record = None

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.answers: list[Answer] = []
        self.over = False
        self._modes = Modes()
        self._headers: Headers = []
        self._body: Gathering | None = None
        self._told = False

    @property
    def settled(self) -> bool:
        """The headers are told."""
        return self._told

    def heard_by(self, tell: Callable[[], None]) -> None:
        """It has nothing to say but answers."""

    def feed(self, message: Message) -> None:
        if self.over:
            return
        if message.phase == "request_headers":
            self._head(message)
        elif message.phase == "request_body":
            self._piece(message)
        elif message.phase == "request_trailers":
            self._trailers()
        else:
            self._response(message)

    def ended(self) -> None:
        """The proxy tells nothing more."""
        self._let_go()

    def _head(self, message: Message) -> None:
        self._modes = message.about.modes or self._modes
        self._headers = message.headers
        if message.end or self._modes.request not in GATHERED:
            # Without a body there is nothing to read; who says himself where he wants to go is believed.
            self._told = True
            self.answers.append(Proceed("request_headers", override=self._rest()))
        elif self._modes.request != FULL_DUPLEX:
            self.answers.append(Proceed("request_headers"))

    def _piece(self, message: Message) -> None:
        if self._told:
            self._pass(message)
            return
        body = self._body
        if body is None:
            body = self._body = Gathering(self._shared.budget)
        refusal = body.add(message.data)
        if refusal is not None:
            self._refuse(refusal)
        elif self._modes.request != FULL_DUPLEX:
            self._tell("request_body", body.whole(), end=True)
        elif message.end:
            self._tell("request_headers", body.whole(), end=True)

    def _pass(self, message: Message) -> None:
        if self._modes.request == FULL_DUPLEX:
            self.answers.append(Piece("request_body", message.data, message.end))
        else:
            self.answers.append(Proceed("request_body"))

    def _trailers(self) -> None:
        if not self._told:
            self._tell("request_headers", b"" if self._body is None else self._body.whole(), end=False)
        if not self.over:
            self.answers.append(Proceed("request_trailers"))

    def _tell(self, phase: Phase, body: bytes, *, end: bool) -> None:
        """The body is whole. `end`: no trailers follow."""
        self._told = True
        found = self._read(body)
        if isinstance(found, Respond):
            self._refuse(found)
            return
        set_here = {name for name, _ in found}
        mutation = Mutation(found, [name for name in self._ours() if name not in set_here])
        override = self._rest() if phase == "request_headers" else None
        self.answers.append(Proceed(phase, mutation, reroute=True, override=override))
        if phase == "request_headers":
            # The end is said once: said twice, it cuts what is larger than the proxy's buffer.
            self.answers += pieces("request_body", body, end=end)
        self._shared.tally.success += 1
        self._let_go()

    def _read(self, body: bytes) -> Headers | Respond:
        """The headers, or why there can be none."""
        shared, kind = self._shared, next((value for name, value in self._headers if name == b"content-type"), b"")
        if not body:
            return []
        reading = read_body(kind, body)
        if reading.error:
            return refuse(400, sentence(reading.error), param=reading.param)
        if not reading.model and not kind.startswith(_FORM) and not _members(body):
            return refuse(400, "The body is no JSON object.")
        fields: dict[str, msgspec.Raw] | None = None
        found: Headers = []
        model = reading.model
        for plugin in shared.plugins:
            began = shared.clock()
            if isinstance(plugin, BaseModel):
                found.append((_name(plugin.header), shared.bases().get(model, "").encode()))
                shared.took("base-model-to-header", plugin.name, shared.clock() - began)
                continue
            if plugin.field == "model":
                value: str | None = reading.model
            else:
                if fields is None:
                    fields = _members(body)
                value = _text(fields.get(plugin.field))
            if value:
                found.append((_name(plugin.header), value.encode()))
            else:
                there = value is not None and _has(body, plugin.field)
                missing = shared.tally.empty if there else shared.tally.not_found
                missing[plugin.field] = missing.get(plugin.field, 0) + 1
            shared.took("body-field-to-header", plugin.name, shared.clock() - began)
        return found

    def _ours(self) -> list[bytes]:
        """Headers that nobody else may say."""
        names = {_name(plugin.header) for plugin in self._shared.plugins}
        return [name for name, _ in self._headers if name in names]

    def _rest(self) -> Override:
        """Of the answer nothing is wanted."""
        return Override(self._modes.request, NONE, response_headers=False, trailers=False)

    def _refuse(self, refusal: Respond) -> None:
        self.over = True
        written = self._shared.written(refusal)
        self.answers.append(Immediate(written.status, written.headers, written.body, written.error))
        self._let_go()

    def _response(self, message: Message) -> None:
        """A proxy that sends answers all the same gets them back as they are."""
        if message.phase == "response_body" and self._modes.response == FULL_DUPLEX:
            self.answers += pieces("response_body", message.data, end=message.end)
        else:
            self.answers.append(Proceed(message.phase))

    def _let_go(self) -> None:
        if self._body is not None:
            self._body.let_go()


def _name(header: str) -> bytes:
    return header.lower().encode("latin-1")


def _members(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _has(body: bytes, field: str) -> bool:
    return field in _members(body)


def _text(raw: msgspec.Raw | None) -> str | None:
    """A header's value: a text as it is, numbers and truth as JSON writes them; None for what is neither."""
    if raw is None:
        return None
    value = _decode_any(raw)
    text = value if isinstance(value, str) else bytes(raw).decode() if isinstance(value, bool | int | float) else ""
    return "" if any(ord(one) in _CONTROL for one in text) else text
