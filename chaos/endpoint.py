"""One endpoint, a model server as far as the gateway can tell, which misbehaves when told to.

    python -m chaos.endpoint ADDRESS PORT SEED

A line on standard input is its mood from then on (one of MOODS). Standard output is its journal, a line for each thing:
`got TOKEN METHOD` a request was read; `last TOKEN` the end of a right answer is about to be given to the kernel, and
`done TOKEN STATUS` all of it was; `odd TEXT` the gateway sent what it must not; `mood NAME` the mood has changed. Lines
are written at once, so that the journal outlives a process that is killed.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import socket
import struct
import sys
from collections.abc import Awaitable, Callable

import uvloop

from chaos.tokens import checksum, fill

MODEL = "base"
_HEADER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+: [\x20-\x7e\x80-\xff]*")
_FRAMING = (b"transfer-encoding", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect")
_MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "root": MODEL}]}).encode()
_METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="base"}} {running}.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="base"}} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="base"}} 0.1
"""
_GARBAGE = (
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
    b"\x15\x03\x01\x00\x02\x02\x46",
    bytes(range(256)) * 8,
    b"HTTP/1.1 200 OK\r\nx: " + b"x" * 300_000,
)


class Request:
    """`want` is what the answer should be like: words of the header x-want."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, _ = line.split(" ")
        self.headers, self.body = headers, body
        self.token = headers.get("x-token", "")
        self.want = headers.get("x-want", "plain").split()
        self.model = MODEL
        self.usage = False
        self.checksum = checksum(body)
        if headers.get("content-type") == "application/json" and body:
            asked = json.loads(body)
            self.model = asked.get("model", MODEL)
            self.usage = bool((asked.get("stream_options") or {}).get("include_usage"))
            self.checksum = checksum(asked["messages"][0]["content"]) if "messages" in asked else checksum(body)


Play = Callable[["Endpoint", Request, asyncio.StreamWriter], Awaitable[None]]


class Reader(asyncio.StreamReader):
    """`gone` is set when the gateway hangs up, whether or not somebody reads."""

    def __init__(self) -> None:
        super().__init__(limit=1 << 20)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        self.gone.set()
        super().feed_eof()

    def set_exception(self, error: Exception) -> None:
        self.gone.set()
        super().set_exception(error)

    def more(self) -> bool:
        """Whether bytes came that nobody has read."""
        return bool(self._buffer)  # type: ignore[attr-defined]


class Endpoint:
    """`dice` decides how each single request is treated, within the mood of the moment."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.mood = "good"
        self.running = 0

    def accept(self) -> asyncio.StreamReaderProtocol:
        reader = Reader()
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: self._serve(reader, writer))

    async def _serve(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # drained means: the kernel has it
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if self.mood == "deaf" and self.dice.random() < 0.7:
                _reset(writer)
            while not writer.is_closing():
                request = await read(reader)
                if reader.more():
                    note("odd", f"something follows the request {request.token}, which is not answered yet")
                self.running += 1
                try:
                    await self._answer(request, reader, writer)
                finally:
                    self.running -= 1
        writer.close()

    async def _answer(self, request: Request, reader: Reader, writer: asyncio.StreamWriter) -> None:
        """Until the answer is played, or the gateway hangs up."""
        if request.token:
            note("got", request.token, request.method)
        playing = asyncio.ensure_future(self._play(request)(self, request, writer))
        watching = asyncio.ensure_future(reader.gone.wait())
        try:
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                raise ConnectionResetError
            playing.result()
        finally:
            for task in (playing, watching):
                task.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)

    def _play(self, request: Request) -> Play:
        if request.path in ("/metrics", "/v1/models", "/health") and not request.token:
            return _of_itself if self.mood not in ("garbage", "hung") else MOODS[self.mood]
        return MOODS[self.mood] if self.dice.random() < 0.7 else _good


async def read(reader: asyncio.StreamReader) -> Request:
    """One request, as a gateway that frames everything anew must send it; what differs from that is noted."""
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    line, *lines = head.split(b"\r\n")
    headers: dict[str, str] = {}
    for one in lines:
        name, _, value = one.partition(b": ")
        if (
            not _HEADER.fullmatch(one)
            or name in _FRAMING
            or (name in (b"host", b"content-length") and name.decode() in headers)
        ):
            note("odd", f"header {one[:80]!r}")
        headers[name.decode("latin-1")] = value.decode("latin-1")
    if line.count(b" ") != 2 or not line.endswith(b" HTTP/1.1") or "host" not in headers or b"smuggled" in line:
        note("odd", f"head {head[:80]!r}")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(line.decode("latin-1"), headers, body)


def note(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# Answers.


def compose(request: Request, dice: random.Random) -> tuple[bytes, bytes, bool]:
    """Head, body as it goes over the wire, and whether the connection ends it."""
    want = request.want
    if want[0] == "stream":
        body, kind = _events(request, int(want[1])), "text/event-stream; charset=utf-8"
    else:
        size = int(want[1]) if len(want) > 1 else 100
        answer = {
            "id": f"chat-{request.token}",
            "model": request.model,
            "token": request.token,
            "method": request.method,
            "checksum": request.checksum,
            "fill": fill(request.token, size),
        }
        body, kind = json.dumps(answer).encode(), "application/json"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nx-served: {request.token}\r\n"
    if request.method == "HEAD":
        return f"{head}content-length: {len(body)}\r\n\r\n".encode(), b"", False
    if want[0] == "close":
        return f"{head}\r\n".encode(), body, True
    if want[0] in ("chunked", "stream"):
        trailer = b"x-trailer: 1\r\n" if dice.random() < 0.2 else b""
        return f"{head}transfer-encoding: chunked\r\n\r\n".encode(), _chunked(body, dice, trailer), False
    return f"{head}content-length: {len(body)}\r\n\r\n".encode(), body, False


def _events(request: Request, count: int) -> bytes:
    events = [
        json.dumps(
            {
                "id": f"chat-{request.token}",
                "model": request.model,
                "token": request.token,
                "n": n,
                "choices": [{"index": 0, "delta": {"content": f"{request.token} "}}],
            }
        )
        for n in range(count)
    ]
    if request.usage:
        usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": count + 7}
        events.append(
            json.dumps({"id": f"chat-{request.token}", "model": request.model, "choices": [], "usage": usage})
        )
    return "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()


def _chunked(body: bytes, dice: random.Random, trailer: bytes) -> bytes:
    parts, place = [], 0
    while place < len(body):
        size = dice.randrange(1, 400 if len(body) < 10_000 else 100_000)
        piece = body[place : place + size]
        parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        place += size
    return b"".join((*parts, b"0\r\n", trailer, b"\r\n"))


async def _send(writer: asyncio.StreamWriter, data: bytes, pieces: int, pause: Callable[[], float]) -> None:
    """`data` in at least that many pieces, cut anywhere."""
    step = max(1, min(len(data) // pieces + 1, 200_000))
    for place in range(0, len(data), step):
        if place:
            await asyncio.sleep(pause())
        if writer.transport.is_closing():
            raise ConnectionResetError
        writer.write(data[place : place + step])
        await writer.drain()


async def _send_all(
    request: Request,
    writer: asyncio.StreamWriter,
    answer: tuple[bytes, bytes, bool],
    pieces: int,
    pause: Callable[[], float],
) -> None:
    """A right answer, and the notes of it: whoever is killed between them has done it, and has not said so."""
    head, body, closes = answer
    data = head + body
    # Where the connection ends the answer, nobody can tell an end from a death: such answers are given at one go.
    end = len(data) - 1 if pieces > 1 and not closes else 0
    if end:
        await _send(writer, data[:end], pieces, pause)
    note("last", request.token)
    await _send(writer, data[end:], 1, pause)
    note("done", request.token, "200")
    if closes:
        writer.close()


async def _good(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    dice = endpoint.dice
    answer = compose(request, dice)
    await asyncio.sleep(dice.choice((0, 0, 0.002, 0.02)))
    streams = request.want[0] == "stream"
    pause = dice.choice((0.0, 0.001, 0.01)) if streams else 0.0
    pieces = int(request.want[1]) if streams else dice.choice((1, 1, 2, 5))
    await _send_all(request, writer, answer, pieces, lambda: pause)


async def _of_itself(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    body = _METRICS.format(running=endpoint.running).encode() if request.path == "/metrics" else _MODELS
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()


async def _hung(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _slow(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    dice = endpoint.dice
    answer = compose(request, dice)
    await asyncio.sleep(dice.uniform(0, 1.5))
    await _send_all(request, writer, answer, dice.randrange(1, 12), lambda: dice.uniform(0, 0.2))


async def _garbage(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(endpoint.dice.choice(_GARBAGE))
    await writer.drain()
    await asyncio.Event().wait()


async def _breaks(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    """Somewhere, from before the first byte to just before the last, by a reset or as if it were the end."""
    head, body, closes = compose(request, endpoint.dice)
    data = head + body
    # An answer that ends with its connection is whole wherever it ends, unless it is reset.
    sent = data[: endpoint.dice.randrange(len(data))]
    if b"data: [" in sent:  # all that it lacks is its mark, which the gateway completes
        note("last", request.token)
    await _send(writer, sent, endpoint.dice.choice((1, 3)), lambda: 0.0)
    if closes or endpoint.dice.random() < 0.6:
        _reset(writer)
    else:
        writer.close()


async def _errs(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    status = endpoint.dice.choice((400, 404, 429, 500, 502, 503))
    body = json.dumps(
        {"error": {"message": f"of {request.token}", "type": "x", "param": None, "code": status}}
    ).encode()
    head = b"HTTP/1.1 %d Bad\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    note("last", request.token)
    writer.write(head if request.method == "HEAD" else head + body)
    await writer.drain()
    note("done", request.token, str(status))


async def _lies(endpoint: Endpoint, request: Request, writer: asyncio.StreamWriter) -> None:
    """A right answer, and more: a second one, or an end that was not announced."""
    head, body, closes = compose(request, endpoint.dice)
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nevil tkffffff"
    note("last", request.token)
    writer.write(head + body + (b"" if closes else endpoint.dice.choice((b"", evil, b"\0\0", b"\r\n\r\n"))))
    await writer.drain()
    note("done", request.token, "200")
    if closes or endpoint.dice.random() < 0.5:
        await asyncio.sleep(endpoint.dice.choice((0, 0.01)))
        writer.close()


MOODS: dict[str, Play] = {
    "good": _good,
    "hung": _hung,
    "slow": _slow,
    "garbage": _garbage,
    "breaks": _breaks,
    "errs": _errs,
    "lies": _lies,
    "deaf": _good,  # it resets connections as they come
}


async def _main(address: str, port: int, seed: int) -> None:
    endpoint = Endpoint(seed)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    await asyncio.get_running_loop().create_server(endpoint.accept, address, port, backlog=512)
    note("up")
    while line := await told.readline():
        endpoint.mood = line.decode().strip()
        note("mood", endpoint.mood)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
