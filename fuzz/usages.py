"""Event streams with usage in them, and what must become of those however they are cut."""

import json
from random import Random

from fuzz.mutate import cut, damaged
from headgate.exchange.meter import Hider, Reader
from headgate.exchange.usage import Usage

_ENDS = ("\n\n", "\r\n\r\n")
_TEXTS = ("", "word", '"usage":{"prompt_tokens":1}', '\\","usage":{', '"choices":[]', "{}", "ü")


def a_stream(source: Random) -> bytes:
    ends = source.choice(_ENDS)
    return "".join(_event(source) + ends for _ in range(1 + int(source.random() * 6))).encode()


def _event(source: Random) -> str:
    choice = source.random()
    if choice < 0.1:
        return source.choice((": ping", "data: [DONE]", "event: message", "id: 1\ndata: {}"))
    delta = {"content": source.choice(_TEXTS)}
    event: dict[str, object] = {"id": "1", "choices": [{"index": 0, "delta": delta}]}
    if choice < 0.4:
        event["choices"] = []
    if choice < 0.5:
        event["usage"] = {"prompt_tokens": int(source.random() * 9), "completion_tokens": int(source.random() * 9)}
    elif choice < 0.7:
        event["usage"] = None
    pairs = list(event.items())
    source.shuffle(pairs)
    return "data: " + json.dumps(dict(pairs), separators=(",", ":") if source.random() < 0.7 else None)


def of_usage(source: Random, dice: Random) -> tuple[str, list[bytes]]:
    """Which law does not hold ("" when all do), and for which pieces."""
    data = a_stream(source)
    shown, told = _by_json(data)
    sound = source.random() < 0.6
    if not sound:
        data = damaged(source, data)
    whole, pieces = Hider(), cut(dice, data)
    hidden, found = _through(whole, [data])
    if _through(Hider(), pieces) != (hidden, found):
        return "what is hidden, and what is read, does not depend on the cut", pieces
    if sound and (hidden, found) != (shown, told):
        return "the events with usage and no choices are hidden, and their usage is known", [data]
    read = _through(Reader(lines=True), pieces)
    if read != _through(Reader(lines=True), [data]) or read[0] != data:
        return "a reader changes nothing, and what it reads does not depend on the cut", pieces
    if sound and read[1] != told:
        return "the usage is the one that was told last", pieces
    return "", pieces


def _through(meter: Hider | Reader, pieces: list[bytes]) -> tuple[bytes, Usage | None]:
    body = b"".join([meter.feed(piece) for piece in pieces]) + meter.end()
    return body, meter.usage


def _by_json(data: bytes) -> tuple[bytes, Usage | None]:
    """What a client may see, and the usage, by reading every event."""
    ends = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    shown: list[bytes] = []
    told: Usage | None = None
    for event in data.split(ends):
        hidden = False
        if event.startswith(b"data: {"):
            said = json.loads(event[6:])
            usage = said.get("usage")
            if usage:
                told = Usage(usage["prompt_tokens"], usage["completion_tokens"])
                hidden = said["choices"] == []
        if not hidden:
            shown.append(event)
    return ends.join(shown), told
