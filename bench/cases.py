"""What is asked: the requests of each case, and the one right answer to them."""

import json
from collections.abc import Callable

from msgspec import Struct

from bench.canned import CHAT, MODEL, STREAM, STREAM_EVENTS

HEADERS = {
    "accept": "application/json",
    "authorization": "Bearer sk-bench-0123456789abcdef",
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
    """`bodies` are asked in turn on each of `connections`. Costs are per unit; an answer has `units` of them."""

    name: str
    what: str
    bodies: tuple[bytes, ...]
    answer: bytes  # the body that each answer must have, byte for byte
    connections: int
    unit: str = "request"
    units: int = 1

    @property
    def streams(self) -> bool:
        return self.unit == "chunk"

    def requests(self, authority: str) -> list[bytes]:
        """The requests as they go over the wire to `authority` (host:port), with the headers of an openai client."""
        lines = [f"{name}: {value}" for name, value in {"host": authority, **HEADERS}.items()]
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


def _short() -> Case:
    bodies = tuple(_chat(_prose(n, 290)) for n in range(64))
    return Case("chat-short", "chat requests of 0.7 KB, answers of 0.3 KB", bodies, CHAT, connections=32)


def _long() -> Case:
    """Four documents with four questions to each: three of four prompts share their first 300 KB with another."""
    bodies = tuple(
        _chat(_prose(100 + document, 300_000) + _prose(200 + 10 * document + question, 100_000))
        for document in range(4)
        for question in range(4)
    )
    return Case("chat-long", "chat requests of 400 KB, four by four with a shared prefix", bodies, CHAT, connections=32)


def _stream() -> Case:
    bodies = tuple(_chat(_prose(n, 290), stream=True) for n in range(64))
    what = f"100 streams at a time, {STREAM_EVENTS} SSE chunks each, 5 ms apart"
    return Case("stream", what, bodies, STREAM, connections=100, unit="chunk", units=STREAM_EVENTS)


CASES: dict[str, Callable[[], Case]] = {"chat-short": _short, "chat-long": _long, "stream": _stream}
