"""What clients ask: one function for each kind of request, and what its answer must be like."""

import json
import random
from collections.abc import Callable

from msgspec import Struct

from chaos.manifests import PORT, SIDE_PORT
from chaos.tokens import checksum, fill, token

_BIG = 3 << 20
_TIRED = frozenset({400, 404, 429, 500, 502, 503})  # what endpoints answer in a bad mood
_REFUSALS = frozenset({502, 503, 504})  # of the gateway, when endpoints fail


class Question(Struct, frozen=True):
    """`raw` are the request's bytes. `answers` are statuses that endpoints may give, `refusals` those of the gateway.

    `model` is what the client calls the model, "" where the answer names none; `events` is the length of a stream.
    """

    kind: str
    token: str
    raw: bytes
    method: str = "POST"
    port: int = PORT
    model: str = ""
    checksum: int | None = None
    size: int = 100
    events: int = 0
    usage: bool = False
    answers: frozenset[int] = _TIRED | {200}
    refusals: frozenset[int] = _REFUSALS
    own: bool = False  # the gateway itself answers it, with 200
    named: bool = True  # the answer has the token as its x-request-id
    expects: bool = False  # raw ends after the head; `body` follows when the gateway says so
    body: bytes = b""


def _head(method: str, path: str, name: str, *lines: str, version: str = "1.1") -> bytes:
    given = (
        f"{method} {path} HTTP/{version}",
        "host: chaos.example",
        f"x-token: {name}",
        f"x-request-id: {name}",
        *lines,
    )
    return ("\r\n".join(given) + "\r\n\r\n").encode()


def _chat(
    kind: str,
    name: str,
    dice: random.Random,
    want: str,
    *,
    content: int = 300,
    more: dict[str, object] | None = None,
    lines: tuple[str, ...] = (),
    chunked: bool = False,
    version: str = "1.1",
    expects: bool = False,
    **rest: object,
) -> Question:
    model = dice.choice(("base", "alias"))
    text = fill(name, content)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **(more or {})}).encode()
    sized = "transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"
    lines = ("content-type: application/json", f"x-want: {want}", sized, *lines)
    raw = _head("POST", "/v1/chat/completions", name, *lines, version=version)
    sent = _chunks(body, dice) if chunked else body
    if expects:
        return Question(kind, name, raw, model=model, checksum=checksum(text), expects=True, body=sent, **rest)  # type: ignore[arg-type]
    return Question(kind, name, raw + sent, model=model, checksum=checksum(text), **rest)  # type: ignore[arg-type]


def _chunks(body: bytes, dice: random.Random) -> bytes:
    parts, place = [], 0
    while place < len(body):
        piece = body[place : place + dice.randrange(1, 200 if len(body) < 5000 else 60_000)]
        parts.append(b"%x%b\r\n%b\r\n" % (len(piece), dice.choice((b"", b"", b";a=b")), piece))
        place += len(piece)
    return b"".join((*parts, b"0\r\n\r\n"))


def _plain(name: str, dice: random.Random) -> Question:
    return _chat("chat", name, dice, dice.choice(("plain 100", "chunked 300", "close 100")))


def stream(name: str, dice: random.Random) -> Question:
    events = dice.choice((1, 5, 20, 60))
    usage = dice.random() < 0.5
    more: dict[str, object] = {"stream": True}
    if usage:
        more["stream_options"] = {"include_usage": True}
    return _chat("stream", name, dice, f"stream {events}", more=more, events=events, usage=usage)


def _big_body(name: str, dice: random.Random) -> Question:
    return _chat("big body", name, dice, "plain", content=dice.randrange(100_000, _BIG), chunked=dice.random() < 0.3)


def _big_answer(name: str, dice: random.Random) -> Question:
    size = dice.randrange(100_000, _BIG)
    return _chat("big answer", name, dice, f"{dice.choice(('plain', 'chunked'))} {size}", size=size)


def _upload(name: str, dice: random.Random) -> Question:
    return _chat("chunked upload", name, dice, "plain", chunked=True)


def _expecting(name: str, dice: random.Random) -> Question:
    return _chat("100-continue", name, dice, "plain", lines=("expect: 100-continue",), expects=True)


def _old(name: str, dice: random.Random) -> Question:
    want, events = dice.choice((("plain", 0), ("chunked 300", 0), ("stream 3", 3)))
    return _chat("HTTP/1.0", name, dice, want, version="1.0", events=events)


def _web_get(name: str, dice: random.Random) -> Question:
    method = dice.choice(("GET", "HEAD"))
    return Question("web get", name, _head(method, f"/web/{name}", name), method=method)


def _web_post(name: str, dice: random.Random) -> Question:
    body = fill(name, dice.choice((20, 2000))).encode()
    raw = _head("POST", f"/web/{name}", name, f"content-length: {len(body)}") + body
    return Question("web post", name, raw, checksum=checksum(body))


def _side(name: str, dice: random.Random) -> Question:
    return Question("side", name, _head("GET", f"/web/{name}", name), method="GET", port=SIDE_PORT)


def _flap(name: str, dice: random.Random) -> Question:
    raw = _head("POST", f"/flap/{name}", name, "content-length: 0")
    return Question("flap", name, raw, refusals=_REFUSALS | {404})


def _list(name: str, dice: random.Random) -> Question:
    return Question("list", name, _head("GET", "/v1/models", name), method="GET", answers=_TIRED | {200}, own=True)


def _unknown(name: str, dice: random.Random) -> Question:
    model = f"none-{name}"
    body = json.dumps({"model": model}).encode()
    raw = _head("POST", "/v1/chat/completions", name, "content-type: application/json", f"content-length: {len(body)}")
    # While no endpoint is known to be ready, nobody can say that there is no such model.
    return Question("unknown model", name, raw + body, model=model, refusals=_REFUSALS | {404})


def _malformed(name: str, dice: random.Random) -> Question:
    lines = dice.choice(
        (
            ("content-length: 5", "transfer-encoding: chunked"),
            ("content-length: 5", "content-length: 6"),
            ("content-length : 5",),
            ("x-a: 1\r\n folded",),
            ("x-a: \x01",),
            ("transfer-encoding: chunked, identity",),
        )
    )
    raw = _head("POST", "/web", name, *lines) + b"GET /web/smuggled HTTP/1.1\r\nhost: evil\r\n\r\n"
    refusals = frozenset({400, 501})
    return Question("malformed", name, raw, answers=frozenset(), refusals=refusals, named=False)


KINDS: dict[Callable[[str, random.Random], Question], int] = {
    _plain: 30,
    stream: 25,
    _big_body: 2,
    _big_answer: 2,
    _upload: 5,
    _expecting: 4,
    _old: 4,
    _web_get: 8,
    _web_post: 8,
    _side: 4,
    _flap: 4,
    _list: 2,
    _unknown: 2,
    _malformed: 2,
}
_WEIGHTS = list(KINDS.values())
_MAKERS = list(KINDS)
PIPELINED = frozenset({"chat", "stream", "chunked upload", "web get", "web post", "flap", "list", "unknown model"})


def ask(number: int, dice: random.Random) -> Question:
    maker = dice.choices(_MAKERS, _WEIGHTS)[0]
    return maker(token(number), dice)
