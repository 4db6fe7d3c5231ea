"""Asks for streams at given times, and notes when their tokens came.

    python -m bench.client HOST:PORT FILE: JSON, a list of {at, body}; HEADERS: JSON

Prints JSON, one {ttft, tpot, ended, tokens, error} for each in the order of asking; times are seconds since the start.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

_GRACE_S = 60.0  # for the last answers
_LONGEST = 1 << 20  # bytes of a line


class Heard(msgspec.Struct):
    """`ttft` counts from the sending of the request; `tpot` is the mean of the tokens after the first."""

    at: float
    ttft: float = 0.0
    tpot: float = 0.0
    ended: float = 0.0
    tokens: int = 0
    error: str = ""


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Event(msgspec.Struct):
    choices: list[Any] = []
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Event).decode


async def ask(host: str, port: int, head: bytes, body: bytes, heard: Heard) -> None:
    """One request on a connection of its own."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST)
    try:
        sent = loop.time()
        writer.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        status = (await reader.readline()).split(b" ")
        first = last = 0.0
        done = False
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                done = True
                break
            event, last = _decode(line[6:]), loop.time()
            if event.usage is not None:
                heard.tokens = event.usage.completion_tokens
            elif not first and event.choices and event.choices[0].get("delta", {}).get("content"):
                first = last
        heard.ttft = first - sent
        heard.tpot = (last - first) / max(1, heard.tokens - 1)
        if status[1:2] != [b"200"] or not done or not first:
            heard.error = f"answered {status[1].decode() if status[1:] else 'nothing'}, {heard.tokens} tokens"
    finally:
        writer.close()


async def play(place: str, asks: list[tuple[float, bytes]], headers: Mapping[str, str]) -> list[Heard]:
    """All of them, each at its time."""
    host, _, port = place.rpartition(":")
    lines = {"host": place, "content-type": "application/json", "connection": "close", **headers}
    head = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    loop = asyncio.get_running_loop()
    began = loop.time()
    found = [Heard(at) for at, _ in asks]

    async def one(heard: Heard, at: float, body: bytes) -> None:
        await asyncio.sleep(began + at - loop.time())
        try:
            await ask(host, int(port), head.encode(), body, heard)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            heard.error = f"{type(error).__name__}: {error}"
        heard.ended = loop.time() - began

    tasks = [asyncio.ensure_future(one(heard, at, body)) for heard, (at, body) in zip(found, asks, strict=True)]
    _, late = await asyncio.wait(tasks, timeout=asks[-1][0] + _GRACE_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for heard, task in zip(found, tasks, strict=True):
        if task in late:
            heard.error, heard.ended = f"no whole answer within {_GRACE_S:g} s", loop.time() - began
    return found


def main() -> None:
    place, path, headers = sys.argv[1:]
    asks = [(one["at"], json.dumps(one["body"]).encode()) for one in json.loads(Path(path).read_bytes())]
    print(msgspec.json.encode(uvloop.run(play(place, asks, json.loads(headers)))).decode())


if __name__ == "__main__":
    main()
