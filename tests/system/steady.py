"""Steady load, half of it streams, and a count of what became of every request."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

_PATIENCE_S = 40.0


@dataclass
class Tally:
    sent: int = 0
    good: int = 0
    ended_with_error_event: int = 0
    failed: Counter[str] = field(default_factory=Counter)


class Load:
    """`models` may be changed while it runs. Each request has its own connection: none hides behind another."""

    def __init__(self, host: str, port: int, models: list[str], rate: float) -> None:
        self.host, self.port, self.models, self.rate = host, port, models, rate
        self.tally = Tally()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> Tally:
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            task = asyncio.create_task(self._one(self.tally.sent))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.tally.sent += 1
            await asyncio.sleep(max(0.0, began + self.tally.sent / self.rate - now))
        await asyncio.gather(*self._tasks)
        return self.tally

    async def _one(self, number: int) -> None:
        model = self.models[number % len(self.models)]
        stream = number // len(self.models) % 2 == 0
        try:
            async with asyncio.timeout(_PATIENCE_S):
                verdict = await ask(self.host, self.port, model, stream, f"Request {number}: tell me more.")
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            verdict = f"{type(error).__name__}: {error}"
        if verdict == "good":
            self.tally.good += 1
        elif verdict == "error event":
            self.tally.ended_with_error_event += 1
        else:
            self.tally.failed[f"{'stream' if stream else 'plain'} {model}: {verdict}"] += 1


async def ask(host: str, port: int, model: str, stream: bool, text: str, tokens: int = 24) -> str:
    """`good`, `error event`, or what was wrong."""
    body = json.dumps(
        {"model": model, "stream": stream, "max_tokens": tokens, "messages": [{"role": "user", "content": text}]}
    ).encode()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % (host.encode(), len(body)) + body
        )
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode() if head else "nothing"
    if status != "200":
        return f"{status} {rest[:200].decode(errors='replace')}"
    if b"transfer-encoding: chunked" in head.lower():
        rest = dechunk(rest)
    if not stream:
        answered = json.loads(rest)
        return "good" if answered["model"] == model and answered["choices"] else f"wrong answer {rest[:200]!r}"
    events = [line[6:] for line in rest.split(b"\n") if line.startswith(b"data: ")]
    if events and events[-1] == b"[DONE]":
        return "good" if all(json.loads(e)["model"] == model for e in events[:-1]) else "a chunk names another model"
    if events and b'"error"' in events[-1]:
        return "error event"
    return f"the stream just stopped after {len(events)} events"


def dechunk(data: bytes) -> bytes:
    """The body of a chunked message; EOFError where it is not whole."""
    parts = []
    while True:
        size, found, data = data.partition(b"\r\n")
        if not found:
            raise EOFError("a chunked body that was cut")
        length = int(size, 16)
        if length == 0:
            return b"".join(parts)
        if len(data) < length + 2:
            raise EOFError("a chunk that was cut")
        parts.append(data[:length])
        data = data[length + 2 :]
