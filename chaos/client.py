"""Clients that ask, in whatever pieces, in pipelines, slowly, and may leave at any moment; and look at every byte."""

import asyncio
import contextlib
import json
import random
import socket
import struct

from msgspec import Struct

from chaos.account import Account, Entry
from chaos.questions import PIPELINED, Question, ask
from chaos.tokens import Watch, fill

_PATIENCE_S = 30.0  # for an answer: longer than any time-out of the gateway
_PIECE = 1 << 16


class Answer(Struct):
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Mangled(Exception):
    """What came is no HTTP, or has another request's bytes."""


class Connection:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self.reader, self.writer, self.port = reader, writer, port

    async def send(self, data: bytes, pieces: int, dice: random.Random) -> None:
        """What can be sent before the gateway closes."""
        step = max(1, len(data) // pieces + 1)
        with contextlib.suppress(ConnectionError):
            for place in range(0, len(data), step):
                if self.writer.transport.is_closing():
                    return
                self.writer.write(data[place : place + step])
                await self.writer.drain()
                if pieces > 1:
                    await asyncio.sleep(dice.choice((0, 0, 0.001, 0.01)))

    async def answer(self, question: Question, *, slow: bool) -> Answer | None:
        """None when the connection ends before an answer begins."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Mangled(f"half of a head: {error.partial[:80]!r}") from None
            return None
        except ConnectionError:
            return None
        status, headers = _head(head)
        if status == 100:
            if not question.expects:
                raise Mangled("100 Continue, which nobody waits for")
            return Answer(100, {}, b"", True)
        watch = Watch(question.token)
        watch.feed(head)
        body = bytearray()
        whole = True
        try:
            async for piece in self._body(question, status, headers):
                watch.feed(piece)
                body += piece
                if slow:
                    await asyncio.sleep(0.01)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            left = getattr(error, "partial", b"")
            watch.feed(left)
            whole = False
        if watch.strange:
            raise Mangled(f"bytes of another request, {watch.strange}, in the answer to {question.token}")
        return Answer(status, headers, bytes(body), whole)

    async def _body(self, question: Question, status: int, headers: dict[str, str]):  # type: ignore[no-untyped-def]
        if question.method == "HEAD" or status in (204, 304):
            return
        if "content-length" in headers:
            left = int(headers["content-length"])
            while left:
                piece = await self.reader.read(min(left, _PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                line = await self.reader.readuntil(b"\r\n")
                try:
                    size = int(line, 16)
                except ValueError:
                    raise Mangled(f"the chunk size {line[:40]!r}") from None
                if not size:
                    yield await self._trailers()
                    return
                piece = await self.reader.readexactly(size + 2)
                if piece[-2:] != b"\r\n":
                    raise Mangled(f"a chunk that ends in {piece[-2:]!r}")
                yield piece[:-2]
        else:
            while piece := await self.reader.read(_PIECE):
                yield piece

    async def _trailers(self) -> bytes:
        """They may only be those that endpoints send; nothing of the body."""
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            if line != b"x-trailer: 1\r\n":
                raise Mangled(f"the trailer {line[:80]!r}")
        return b""

    def left_over(self) -> bytes:
        """Bytes that came after the last answer."""
        return bytes(self.reader._buffer)  # type: ignore[attr-defined]

    def leave(self, *, reset: bool) -> None:
        if reset and not self.writer.transport.is_closing():
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        self.writer.close()


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) != 3 or words[0] != "HTTP/1.1" or not words[1].isdigit() or len(words[1]) != 3:
        raise Mangled(f"the status line {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon or name in headers:
            raise Mangled(f"the header {line[:80]!r}")
        headers[name] = value
    if "content-length" in headers and "transfer-encoding" in headers:
        raise Mangled("an answer with two lengths")
    return int(words[1]), headers


def judge(question: Question, answer: Answer) -> tuple[str, str]:
    """Outcome, and what is wrong with the answer ("" where nothing is)."""
    headers, body = answer.headers, answer.body
    if question.named and headers.get("x-request-id") != question.token:
        return "answered", f"its x-request-id is {headers.get('x-request-id')}"
    if not answer.whole:
        return "broken", ""
    if question.method == "HEAD":
        served = "x-served" in headers or answer.status != 200
        return (
            "refused" if answer.status in question.refusals and "date" in headers else "answered",
            "" if served else "nobody served it",
        )
    if headers.get("content-type", "").startswith("text/event-stream"):
        return _judge_stream(question, body)
    try:
        said = json.loads(body)
    except ValueError:
        return "answered", f"its body is no JSON: {body[:80]!r}"
    if error := said.get("error"):
        told = str(error.get("message", ""))
        if told == f"of {question.token}":
            return "answered", "" if answer.status in question.answers else f"{answer.status} of an endpoint"
        fine = bool(told) and answer.status in question.refusals
        return "refused", "" if fine else f"{answer.status} of the gateway: {body[:200]!r}"
    if question.own and "data" in said:
        return "answered", ""
    return "answered", _wrong(question, answer.status, said)


def _wrong(question: Question, status: int, said: dict[str, object]) -> str:
    expected = {
        "id": f"chat-{question.token}",
        "token": question.token,
        "method": question.method,
        "fill": fill(question.token, question.size if question.size != 100 else _asked_for(question)),
    }
    if question.model:
        expected["model"] = question.model
    if question.checksum is not None:
        expected["checksum"] = question.checksum  # type: ignore[assignment]
    wrong = [name for name, value in expected.items() if said.get(name) != value]
    if status != 200 or wrong:
        return f"{status}, and wrong in {', '.join(wrong) or 'nothing else'}: {str(said)[:300]}"
    return ""


def _asked_for(question: Question) -> int:
    found = question.raw.partition(b"x-want: ")[2].partition(b"\r\n")[0].split()
    return int(found[1]) if len(found) > 1 else 100


def _judge_stream(question: Question, body: bytes) -> tuple[str, str]:
    events = [one.strip().removeprefix("data: ") for one in body.decode().split("\n\n") if one.strip()]
    last = events[-1] if events else ""
    told = last.endswith("}") and "error" in json.loads(last)  # half an event becomes the error
    if last != "[DONE]" and not told:
        return "answered", f"a stream that just stops looks whole: {body[-80:]!r}"
    if told:
        *events, _ = events
    found = [json.loads(event) for event in events if event != "[DONE]"]
    usage = [event for event in found if event.get("usage")]
    chunks = [event for event in found if not event.get("usage")]
    wrong = next(
        (e for n, e in enumerate(chunks) if e["n"] != n or (question.model and e["model"] != question.model)), None
    )
    if wrong is not None:
        return "answered", f"a chunk is not what it must be: {wrong}"
    if not told and len(chunks) != question.events:
        return "answered", f"{len(chunks)} chunks of {question.events}"
    if not told and bool(usage) != question.usage:
        return "answered", "usage that was not asked for" if usage else "no usage, which was asked for"
    return "broken" if told else "answered", ""


class Client:
    """One client's life. `stop` ends it after the batch that is under way."""

    def __init__(self, account: Account, host: str, dice: random.Random, rate: float) -> None:
        self._account = account
        self._host = host
        self._dice = dice
        self._rate = rate
        self._connection: Connection | None = None
        self.stopping = False

    async def live(self) -> None:
        while not self.stopping:
            entry = self._account.issue()
            question = ask(entry.number, self._dice)
            entry.kind = question.kind
            batch = [(entry, question)]
            while question.kind in PIPELINED and self._dice.random() < 0.12 and len(batch) < 6:
                entry = self._account.issue()
                more = ask(entry.number, self._dice)
                while more.kind not in PIPELINED:
                    more = ask(entry.number, self._dice)
                entry.kind = more.kind
                batch.append((entry, more))
            await self.play(batch, leave=self._dice.random() < 0.08)
            await asyncio.sleep(self._dice.expovariate(self._rate))
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.leave(reset=False)
            self._connection = None

    async def play(self, batch: list[tuple[Entry, Question]], *, leave: bool = False) -> None:
        """Send them all, read all answers, and write down what came of each."""
        connection = await self._connect(batch)
        if connection is None:
            return
        talking = asyncio.ensure_future(self._talk(connection, batch))
        try:
            patience = self._dice.choice((0.0, 0.002, 0.05, 0.3)) if leave else _PATIENCE_S
            await asyncio.wait_for(talking, patience)
        except TimeoutError:
            for entry, _ in batch:
                if not entry.outcome:
                    self._account.end(entry, "cancelled" if leave else "lost")
            connection.leave(reset=self._dice.random() < 0.5)
            self._connection = None
        except (Mangled, ValueError, asyncio.LimitOverrunError) as error:
            for entry, question in batch:
                if not entry.outcome:
                    self._account.end(entry, "answered", entry.status)
                    self._account.violate(f"{question.token} ({question.kind}): mangled: {error}")
            connection.leave(reset=True)
            self._connection = None

    async def _connect(self, batch: list[tuple[Entry, Question]]) -> Connection | None:
        port = batch[0][1].port
        connection = self._connection
        if connection is not None and (strange := connection.left_over()):
            self._account.violate(f"bytes that nobody asked for: {strange[:120]!r}, before {batch[0][1].token}")
        if connection is None or connection.port != port or self._dice.random() < 0.1 or connection.reader.at_eof():
            self.close()
            try:
                reader, writer = await asyncio.open_connection(self._host, port, limit=1 << 20)
            except OSError as error:
                for entry, question in batch:
                    self._account.end(entry, "closed")
                    if question.kind != "side":
                        self._account.violate(f"{question.token}: no connection: {error}")
                return None
            self._connection = connection = Connection(reader, writer, port)
        return connection

    async def _talk(self, connection: Connection, batch: list[tuple[Entry, Question]]) -> None:
        dice = self._dice
        pieces = dice.choice((1, 1, 1, 1, 2, 7)) if len(batch[0][1].raw) < 10_000 else dice.choice((1, 4))
        raw = b"".join(question.raw for _, question in batch)
        sending = asyncio.create_task(connection.send(raw, pieces, dice))
        try:
            await self._listen(connection, batch)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _listen(self, connection: Connection, batch: list[tuple[Entry, Question]]) -> None:
        for place, (entry, question) in enumerate(batch):
            slow = question.size > 100_000 and self._dice.random() < 0.3
            answer = await connection.answer(question, slow=slow)
            if answer is not None and answer.status == 100:
                await connection.send(question.body, 1, self._dice)
                answer = await connection.answer(question, slow=slow)
            if self._note(entry, question, answer):
                for behind, _ in batch[place + 1 :]:
                    self._account.end(behind, "behind")
                await self._ended(connection, question, answer)
                return

    def _note(self, entry: Entry, question: Question, answer: Answer | None) -> bool:
        """Write down what came; whether the connection must end now."""
        if answer is None:
            self._account.end(entry, "closed" if question.kind == "side" else "lost")
            return True
        outcome, wrong = judge(question, answer)
        self._account.end(entry, outcome, answer.status)
        if wrong:
            self._account.violate(f"{question.token} ({question.kind}, {answer.status}): {wrong}")
        return outcome == "broken" or answer.headers.get("connection") == "close"

    async def _ended(self, connection: Connection, question: Question, answer: Answer | None) -> None:
        """After the last answer there is nothing more."""
        self._connection = None
        if answer is not None and answer.whole:
            with contextlib.suppress(ConnectionError):
                rest = await connection.reader.read()
                if rest:
                    self._account.violate(f"bytes after the last answer, that to {question.token}: {rest[:120]!r}")
        connection.leave(reset=False)
