"""Learn the blocks of prompts that are sent: `POST /tokenize` at the server that has the prompt, beside the request."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from headgate.exchange.body import read_body
from headgate.exchange.events import Forward
from headgate.fleet.endpoint import Load
from headgate.fleet.held_blocks import HeldBlocks
from headgate.runtime.client import Client, ClientError
from headgate.runtime.exposition import Page

_AT_ONCE = 4
_QUEUED = 64  # prompts
_QUEUED_BYTES = 32 << 20
_LONGEST = 4 << 20  # bytes of a body
_TIMEOUT_S = 10.0
_ABSENT_S = 60.0  # until a server that can't do it is asked again
_JSON = (("content-type", "application/json"),)
_CHAT, _COMPLETION = b"/chat/completions", b"/completions"


class _Tokens(Struct):
    tokens: list[int]


class Learner:
    """`sent` is for each request that goes to a server; it costs 0.2 µs where there is nothing to learn.

    A prompt whose longest rung is known costs nothing more; another one a copy of the request to its own server, four
    at a time. Of more than wait for that, the rest is left out: their prefixes go by what was sent.
    """

    def __init__(self, client: Client, held: HeldBlocks, load: Callable[[str], Load | None]) -> None:
        self._client = client
        self._held = held
        self._load = load
        self._queue: deque[Forward] = deque()
        self._bytes = 0
        self._asked: set[int] = set()  # the longest rungs of those in the queue and under way
        self._absent: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.outcomes = {"learned": 0, "failed": 0, "left_out": 0}

    def sent(self, command: Forward) -> None:
        rungs = command.rungs
        if not rungs or self._held.knows(rungs) or self._held.holding(command.endpoint.name) is None:
            return
        line = command.head[: command.head.find(b"\r\n")]
        path = line.split(b" ", 2)[1].partition(b"?")[0]
        last = rungs[-1][1]
        if last in self._asked or not path.endswith((_CHAT, _COMPLETION)):
            return
        size = len(command.body)
        full = len(self._queue) >= _QUEUED or self._bytes + size > _QUEUED_BYTES
        if full or size > _LONGEST or self._absent.get(command.endpoint.name, 0.0) > self._loop.time():
            self.outcomes["left_out"] += 1
            return
        self._asked.add(last)
        self._bytes += size
        self._queue.append(command)
        if len(self._tasks) < _AT_ONCE:
            task = self._loop.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._queue:
            command = self._queue.popleft()
            self._bytes -= len(command.body)
            try:
                await self._learn(command)
                self.outcomes["learned"] += 1
            except (ClientError, ValueError):
                self.outcomes["failed"] += 1
            finally:
                self._asked.discard(command.rungs[-1][1])

    async def _learn(self, command: Forward) -> None:
        """Raises ClientError or ValueError where it can't be had."""
        endpoint = command.endpoint
        load = self._load(endpoint.name)
        answer = await self._client.fetch(
            "POST", endpoint.address, endpoint.port, "/tokenize",
            headers=_JSON, body=command.body, tls=endpoint.tls, timeout=_TIMEOUT_S,
        )  # fmt: skip
        if answer.status in (404, 405, 501):
            self._absent[endpoint.name] = self._loop.time() + _ABSENT_S
        if answer.status != 200:
            raise ValueError(f"answered {answer.status}")
        tokens = msgspec.json.decode(answer.body, type=_Tokens).tokens
        holding = self._held.holding(endpoint.name)
        size = (holding.block_size if holding is not None else 0) or (load.block_size if load is not None else 0)
        if not size or load is None:
            raise ValueError("it does not say how large its blocks are")
        reading = read_body(_JSON[0][1].encode(), command.body)
        model = reading.model
        adapter = any(served.id == model and served.parent for served in load.models or ())
        try:
            self._held.learn(command.rungs, len(reading.prompt), tokens, model if adapter else "", size)
        except OverflowError:
            raise ValueError("these are no tokens") from None

    def describe(self, page: Page) -> None:
        """Write its metrics."""
        page.family("headgate_learned_prompts_total", "counter", "Prompts whose blocks were to be learned, by outcome.")
        for outcome, count in self.outcomes.items():
            page.sample("headgate_learned_prompts_total", (("outcome", outcome),), count)

    async def stop(self) -> None:
        """Ask nothing more."""
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
