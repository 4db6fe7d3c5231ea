"""What is asked: the requests of each case, and the one right answer to them."""

import json
from collections.abc import Callable, Mapping

from msgspec import Struct

from bench.canned import CHAT, ENDPOINTS, MODEL, stream

BESIDE = "ext-proc"  # the group of pickers beside a proxy
KEY = "sk-bench-0123456789abcdef"  # what systems that check keys must take
HEADERS = {
    "accept": "application/json",
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "user-agent": "OpenAI/Python 2.9.0",
}
_SYSTEM = (
    "You are a careful reviewer of restaurants and recipes. Answer in one short paragraph, name the dish that the "
    "guest should not miss, and say honestly where the kitchen has an off day. Never invent opening hours or prices. "
)
_WORDS = (
    "braised", "smoked", "pickled", "roasted", "crisp", "tender", "bitter", "sweet", "lentil", "barley", "salmon",
    "fennel", "walnut", "quince", "saffron", "sorrel", "broth", "terrine", "dumpling", "flatbread", "custard", "sorbet",
    "kitchen", "market", "garden", "harbour", "winter", "autumn", "evening", "morning", "table", "orchard",
)  # fmt: skip


class Case(Struct, frozen=True):
    """`bodies` are asked in turn on each of `connections`; `answer` is the body of each answer, but for stamps.

    `kind` says how it is measured (bench/measure.py: MEASURES) and shown (bench/report.py: COLUMNS). `group` are the
    systems that it says something about, all where it is empty.
    """

    name: str
    what: str
    bodies: tuple[bytes, ...]
    answer: bytes
    connections: int
    kind: str = "requests"
    endpoints: int = len(ENDPOINTS)
    events: int = 200  # of a stream, those that carry a token
    interval_ms: float = 5.0  # between them
    stagger_s: float = 0.0  # between the connections' first requests
    scrape_interval_s: float | None = None  # asked of headgate; None: as it comes
    group: str = ""

    @property
    def streams(self) -> bool:
        return self.answer.startswith(b"data:")

    def requests(self, authority: str, headers: Mapping[str, str] = {}) -> list[bytes]:
        """The requests as they go over the wire to `authority` (host:port), with the headers of an openai client."""
        lines = [f"{name}: {value}" for name, value in {"host": authority, **HEADERS, **headers}.items()]
        head = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines]).encode()
        return [head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body for body in self.bodies]


def _prose(seed: int, size: int) -> str:
    """`size` characters of words that only `seed` gives, the same on every machine."""
    words, state, length = [], seed * 2_654_435_761 + 1, 0
    while length < size:
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        words.append(_WORDS[state >> 59])
        length += len(words[-1]) + 1
    return " ".join(words)[:size]


def _chat(prompt: str, **more: object) -> bytes:
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": prompt}]
    return json.dumps({"model": MODEL, "messages": messages, "temperature": 0.2, "max_tokens": 128, **more}).encode()


PROBE = _chat("Is the kitchen open?")  # what a system that has just started is asked until it answers with CHAT


def _shorts(**more: object) -> tuple[bytes, ...]:
    return tuple(_chat(_prose(n, 290), **more) for n in range(64))


def _short() -> Case:
    return Case("chat-short", "chat requests of 0.7 KB, answers of 0.3 KB", _shorts(), CHAT, connections=32)


def _long() -> Case:
    """Four documents with four questions to each: three of four prompts share their first 300 KB with another."""
    bodies = tuple(
        _chat(_prose(100 + document, 300_000) + _prose(200 + 10 * document + question, 100_000))
        for document in range(4)
        for question in range(4)
    )
    return Case("chat-long", "chat requests of 400 KB, four by four with a shared prefix", bodies, CHAT, connections=32)


def _streams() -> Case:
    what = "100 streams at a time, 200 SSE chunks each, 5 ms apart; then 50, half that load"
    return Case("stream", what, _shorts(stream=True), stream(200), connections=100, kind="streams")


def _idle() -> Case:
    what = "1,000 client connections that have asked once and stay open"
    return Case("idle-1k", what, _shorts(), CHAT, connections=1000, kind="idle")


def _scrape() -> Case:
    """One slow stream at a time keeps the gateway from resting: where there is no traffic, it need not know."""
    what = "100 endpoints asked for a metrics page of 60 KB each 50 ms"
    return Case(
        "scrape-100", what, _shorts(stream=True), stream(20), 1, "scrape",
        endpoints=100, events=20, interval_ms=50.0, scrape_interval_s=0.05, group="headgate",
    )  # fmt: skip


def _burst() -> Case:
    what = "10,000 streams at once, 12 SSE chunks each, 1 s apart"
    return Case(
        "burst-10k", what, _shorts(stream=True), stream(12), 10_000, "burst", events=12, interval_ms=1000.0
    )  # fmt: skip


def _workers() -> Case:
    what = "chat-short again, 64 connections: two workers against one"
    return Case("workers", what, _shorts(), CHAT, connections=64, group="headgate")


def _beside() -> Case:
    what = "chat-short again, by Envoy with headgate's picker beside it, and by Envoy without"
    return Case("ext-proc", what, _shorts(), CHAT, connections=32, kind="beside", group=BESIDE)


def _beside_long() -> Case:
    what = "chat-long again, by Envoy with headgate's picker beside it, and by Envoy without"
    return Case("ext-proc-long", what, _long().bodies, CHAT, connections=32, kind="beside", group=BESIDE)


def _first() -> Case:
    """An answer takes a second: 100 requests come in each, and as they began, one after the other."""
    what = "100 streams at a time for prompts of 220 KB, 20 SSE chunks each, 50 ms apart"
    bodies = tuple(_chat(_prose(400 + n, 220_000), stream=True) for n in range(16))
    return Case(
        "ext-proc-first", what, bodies, stream(20), 100, "first",
        events=20, interval_ms=50.0, stagger_s=0.01, group=BESIDE,
    )  # fmt: skip


CASES: dict[str, Callable[[], Case]] = {
    "chat-short": _short,
    "chat-long": _long,
    "stream": _streams,
    "idle-1k": _idle,
    "scrape-100": _scrape,
    "burst-10k": _burst,
    "workers": _workers,
    "ext-proc": _beside,
    "ext-proc-long": _beside_long,
    "ext-proc-first": _first,
}
