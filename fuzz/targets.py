"""What is fuzzed, and the laws that hold: each target makes one case, and raises Failed where a law breaks.

`source` is what a message is made from: the same one comes again and again, so that the data plane may remember it.
`dice` decides how it is cut, and all else.
"""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

import httptools

from fuzz.bodies import a_body, the_same_model
from fuzz.heads import an_answer, requests
from fuzz.mutate import cut, damaged, shown
from fuzz.readings import HABITS, Message, read, telling
from fuzz.usages import of_usage
from fuzz.wires import Wired, normal

_WARM_FOR = 20_000  # cases until the memory of heads starts anew, with another past
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# That it is refused counts: of what is wrong in several ways, the piece that comes first may show another one.
# The event that ends a stream which has broken off, or becomes of one that is not whole.
_BROKEN = re.compile(rb'\n{0,2}(data: \{)?"error":\{"message":"The model server stopped')
_REFUSAL = re.compile(rb'HTTP/1.1 [45][^{]*\r\nconnection: close\r\n\r\n(\{"error":\{[^}]*\}\})?')


_TRAILERS = re.compile(rb"([a-z0-9_-]+: [^\r\n]*\r\n)*\r\n")


class Failed(AssertionError):
    """A law does not hold. The text has all that is needed to see it again."""


def _must(holds: object, law: str, pieces: list[bytes], *seen: object) -> None:
    if not holds:
        told = "".join(f"\n  {one!r}" for one in seen)
        raise Failed(f"{law}\n  {shown(pieces)}{told}")


class Targets:
    """`warm` planes have seen all cases before; cold ones are made for one case."""

    def __init__(self) -> None:
        self._warm = Wired()
        self._cases = 0
        self.all: dict[str, Callable[[Random, Random], None]] = {
            "requests": self.requests,
            "answers": self.answers,
            "bodies": self.bodies,
            "streams": self.streams,
            "usage": self.usage,
        }

    def _planes(self) -> tuple[Wired, Wired]:
        self._cases += 1
        if self._cases % _WARM_FOR == 0:
            self._warm = Wired()
        return Wired(), self._warm

    # Requests.

    def requests(self, source: Random, dice: Random) -> None:
        """What clients send: the same comes of it however it was cut and whatever came before, and in one reading."""
        data = requests(source)
        if source.random() < 0.7:
            data = damaged(source, data)
        whole, pieces = [data], cut(dice, data)
        cold, warm = self._planes()
        expected = _ask(cold, whole)
        for plane, sent, law in (
            (Wired(), pieces, "requests mean the same however they are cut"),
            (warm, whole if dice.random() < 0.5 else pieces, "requests mean the same whatever came before"),
        ):
            found = _ask(plane, sent)
            _must(found == expected, law, sent, expected, found)
        forwarded = expected[0]
        _must(not any(left for left in cold.left_over()), "endpoints get whole requests", whole, cold.left_over())
        for raw in forwarded:
            strictly = read(raw, HABITS[0])
            _must(len(strictly) == 1 and isinstance(strictly[0], Message), "what is sent is one request", whole, raw)
            for habits in telling(raw)[1:]:
                _must(read(raw, habits) == strictly, f"what is sent has one reading ({habits})", whole, raw)
        alone = _Alone(httptools.HttpRequestParser)
        alone.feed(data)
        # The parser takes no body after an offer to upgrade, and in a body that names `alias` the name is replaced.
        bodies = [read(raw, HABITS[0])[0].body for raw in forwarded]  # type: ignore[union-attr]
        comparable = not alone.upgraded and not any(b"alias" in body for body in alone.bodies)
        if comparable:
            _must(_subsequence(bodies, alone.bodies), "a body is what the parser finds", whole, alone.bodies, bodies)

    # Answers.

    def answers(self, source: Random, dice: Random) -> None:
        """What endpoints send: the client sees the same however it was cut and whatever came before."""
        method = dice.choice((b"GET", b"POST", b"POST", b"HEAD"))
        path = dice.choice((b"/web", b"/v1/chat/completions"))
        version = dice.choice((b"1.1", b"1.1", b"1.0"))
        body = dice.choice((b'{"model":"alias"}', b'{"model":"base"}')) if path != b"/web" else b"hello"
        question = _question(method, path, version, body)
        data = an_answer(source)
        if source.random() < 0.6:
            data = damaged(source, data)
        ends: tuple[list[str], ...] = ([], ["close"], ["reset"])
        end = dice.choice(ends)
        whole, pieces = [data], cut(dice, data)
        cold, warm = self._planes()
        expected = _told(cold, question, method, [*whole, *end])
        for plane, sent, law in (
            (Wired(), pieces, "an answer means the same however it is cut"),
            (warm, whole if dice.random() < 0.5 else pieces, "an answer means the same whatever came before"),
        ):
            found = _told(plane, question, method, [*sent, *end])
            _must(_alike(found, expected), f"{law} ({question!r}, then {end})", sent, expected, found)
        status, framing, found_body = expected
        if framing == "whole" and status not in (502, 503):
            alone = _Alone(httptools.HttpResponseParser)
            alone.feed(data)
            right = _right_body(alone, data, method)
            if path == b"/web" or b'"alias"' not in body:
                _must(
                    found_body == right or _lacks_its_mark(right, found_body),
                    f"a whole answer has the body that it came with ({question!r}, {end})",
                    whole,
                    expected,
                    right,
                )

    # Bodies.

    def bodies(self, source: Random, dice: Random) -> None:
        """JSON and forms: the model is the one that a server would find, and taking its place changes nothing else."""
        kind, body, sound = a_body(source)
        wrong = the_same_model(kind, body, sound=sound)
        _must(not wrong, wrong, [body], kind)

    # Streams.

    def streams(self, source: Random, dice: Random) -> None:
        """Event streams whose model is renamed: the events are the same, but for the name, however they were cut."""
        events = [_event(source) for _ in range(1 + int(source.random() * 5))]
        ends = dice.choice((b"\n\n", b"\r\n\r\n", b"\r\r"))
        data = b"".join(b"data: " + event + ends for event in [*events, b"[DONE]"])
        framed = dice.random() < 0.8
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        if framed:
            sizes = cut(dice, data)
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in sizes) + b"0\r\n\r\n"
            raw = head + b"transfer-encoding: chunked\r\n\r\n" + chunks
        else:
            raw = head + b"content-length: %d\r\n\r\n" % len(data) + data
        body = b'{"model":"alias","stream":true}'
        question = _question(b"POST", b"/v1/chat/completions", b"1.1", body)
        for pieces in ([raw], cut(dice, raw)):
            status, framing, found = _told(self._planes()[1], question, b"POST", list(pieces))
            _must((status, framing) == (200, "whole"), "a stream comes through", pieces, status, framing)
            came = found.split(ends)
            _must(len(came) == len(events) + 2, "events stay events", pieces, found)
            for before, after in zip(events, came, strict=False):
                renamed = _renamed(json.loads(before))
                _must(
                    json.loads(after.removeprefix(b"data: ")) == renamed,
                    "an event says the same",
                    pieces,
                    before,
                    after,
                )

    # Usage.

    def usage(self, source: Random, dice: Random) -> None:
        """Event streams with usage: it is known, and hidden where nobody asked for it, however they were cut."""
        wrong, pieces = of_usage(source, dice)
        _must(not wrong, wrong, pieces)


def _question(method: bytes, path: bytes, version: bytes, body: bytes) -> bytes:
    lines = (
        b"%b %b HTTP/%b" % (method, path, version),
        b"host: a",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
    )
    return b"\r\n".join((*lines, b"", body))


def _ask(plane: Wired, pieces: list[bytes]) -> tuple[list[bytes], bytes, bool]:
    """What is forwarded, what the client gets, and whether its connection is closed."""
    plane.forwarded = []
    plane.answer = lambda request: [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
    wire, downstream = plane.client()
    plane.feed(wire, downstream, pieces)
    closed = wire.closed or wire.ended
    plane.leave(wire, downstream)
    _must(not plane.idle(), "nothing is left under way", pieces, plane.idle())
    told = normal(bytes(wire.out)).replace(_CONTINUE, b"")  # sent to those alone whose body is not there yet
    return [normal(raw) for raw in plane.forwarded], _REFUSAL.sub(b"refused", told), closed


def _told(plane: Wired, question: bytes, method: bytes, answer: list[Any]) -> tuple[int, str, bytes]:
    """Status, `whole`, `broken` or `open`, and the body as the client has it."""
    plane.answer = lambda request: (
        answer if b"GET /next " not in request else [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext"]
    )
    wire, downstream = plane.client()
    plane.feed(wire, downstream, [question])
    found = _reading(bytes(wire.out), method, closed=wire.closed, reset=wire.reset)
    # Whoever is next gets what it asked for.
    other, another = plane.client()
    plane.feed(other, another, [b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n"])
    _must(
        other.out.endswith(b"\r\n\r\nnext"), "the next answer is the next request's", answer, question, bytes(other.out)
    )
    for one, its in ((wire, downstream), (other, another)):
        plane.leave(one, its)
    _must(not plane.idle(), "nothing is left under way", answer, question, plane.idle())
    return found


def _reading(out: bytes, method: bytes, *, closed: bool, reset: bool) -> tuple[int, str, bytes]:
    """Of what a client got for one request. A stream that ends with the gateway's error event is broken."""
    status, state, body = _framed(out, method, closed=closed, reset=reset)
    end = _BROKEN.search(body)
    return (status, "broken", body[: end.start()]) if state == "whole" and end is not None else (status, state, body)


def _lacks_its_mark(right: bytes, found: bytes) -> bool:
    """A stream that breaks off in its last mark is ended with it: nothing else was missing."""
    rest = found.removeprefix(right)
    marked = found.replace(b"\r\n", b"\n").endswith(b"data: [DONE]\n\n")
    return marked and (b"data: [DONE]\n\n".endswith(rest) or rest == b"\n\n\n")


def _framed(out: bytes, method: bytes, *, closed: bool, reset: bool) -> tuple[int, str, bytes]:
    head, blank, rest = out.partition(b"\r\n\r\n")
    if not blank:
        return 0, "open" if not closed else "broken", out
    first, *lines = head.split(b"\r\n")
    status = int(first.split(b" ")[1])
    if status < 200:  # what comes before an answer is passed on as it comes
        return _framed(rest, method, closed=closed, reset=reset)
    headers = dict(line.partition(b": ")[::2] for line in lines)
    if method == b"HEAD" or status in (204, 304):
        return status, "whole" if not rest else "with too much", rest
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        state = (
            "whole"
            if len(rest) == length
            else "with too much"
            if len(rest) > length
            else "broken"
            if closed
            else "open"
        )
        return status, state, rest
    if b"transfer-encoding" in headers:
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if not length:
                return status, "whole" if _TRAILERS.fullmatch(rest) else "with too much", body
            body, rest = body + rest[:length], rest[length + 2 :]
        return status, "broken" if closed else "open", body
    return status, "broken" if reset else "whole" if closed else "open", rest


def _alike(found: tuple[int, str, bytes], expected: tuple[int, str, bytes]) -> bool:
    """Of answers that break off it may differ how much came before."""
    if found[1] == expected[1] in ("broken", "open"):
        return found[0] == expected[0] and (found[2].startswith(expected[2]) or expected[2].startswith(found[2]))
    return found == expected


def _right_body(alone: "_Alone", data: bytes, method: bytes) -> bytes:
    finals = [n for n, status in enumerate(alone.statuses) if status >= 200]
    if method == b"HEAD" or not finals or alone.statuses[finals[0]] in (204, 304):
        return b""
    return [*alone.bodies, alone.body][finals[0]]


def _subsequence(some: list[bytes], of: list[bytes]) -> bool:
    rest = iter(of)
    return all(one in rest for one in some)


class _Alone:
    """llhttp, and nothing else."""

    def __init__(self, kind: Callable[[Any], Any]) -> None:
        self._parser = kind(self)
        self.statuses: list[int] = []
        self.bodies: list[bytes] = []  # of messages that are whole
        self.body = b""  # of one that is not
        self.upgraded = False

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = True
        except httptools.HttpParserError:
            return

    def on_message_begin(self) -> None:
        self.body = b""

    def on_headers_complete(self) -> None:
        if isinstance(self._parser, httptools.HttpResponseParser):
            self.statuses.append(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.bodies.append(self.body)
        self.body = b""


_NAMES = ("base", "base-2", "alias", "xbase", 'ba"se', "bäse")
_SPACES = ("", "", "", " ", "  ", "\t")


def _event(dice: Random) -> bytes:
    """JSON of one event, with names in places where they count and where they don't."""
    model, text = (
        dice.choice(_NAMES),
        dice.choice(("", "base", '"model":"base"', '\\"model\\":\\"base\\"', "ü" * 30, "\\")),
    )
    blank, other = dice.choice(_SPACES), dice.choice(_SPACES)
    pairs = [
        f'"model"{blank}:{other}{json.dumps(model, ensure_ascii=dice.random() < 0.5)}',
        f'"text":{json.dumps(text)}',
    ]
    if dice.random() < 0.3:
        pairs.append(f'"inner":{{"model":{json.dumps(dice.choice(_NAMES))}}}')
    dice.shuffle(pairs)
    return ("{" + ",".join(pairs) + "}").encode()


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "alias" if (k, v) == ("model", "base") else _renamed(v) for k, v in value.items()}
    return value
