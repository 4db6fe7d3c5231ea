"""One worker, as the controller sees it."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from itertools import count
from time import monotonic
from typing import Any, Literal

import msgspec

from headgate.runtime.exposition import Family
from headgate.runtime.sockets import Binding
from headgate.runtime.workers.channel import FILES_AT_ONCE, Channel, pair
from headgate.runtime.workers.latest import Latest
from headgate.runtime.workers.messages import (
    Applied,
    Ask,
    Failed,
    FromWorker,
    Hello,
    Last,
    News,
    Passed,
    Said,
    Sockets,
    Stop,
    Told,
    Wanted,
    encode,
)

Heard = Applied | Said | Wanted | Failed | Passed
_questions = count(1)


class Member:
    """`heard` gets what is not for the controller's books alone; `ended` hears that its process is gone.

    Only one message of news is under way at a time: what comes meanwhile goes with the next.
    """

    def __init__(self, row: int, heard: Callable[["Member", Heard], None], ended: Callable[["Member"], None]) -> None:
        self.row = row
        self.began = monotonic()
        self.pid: int | None = None  # until it has said so
        self.trouble = ""  # why there will be none
        self.applied = 0  # the version that it does as
        self.families: list[Family] = []  # of its metrics, as it told them last
        ours, self.theirs = pair()
        self._heard = heard
        self._ended = ended
        self._channel = Channel(ours, self._hear, self._lose)
        self._sent = 0
        self._given: set[int] = set()  # bindings whose sockets it has
        self._asked: dict[int, asyncio.Future[msgspec.Raw | None]] = {}

    def update(self, latest: Latest, bindings: Mapping[int, Binding], workers: int) -> None:
        """Tell what is new, unless it has not yet done as it was told before."""
        if self._sent != self.applied or latest.version == self.applied:
            return
        self._given &= bindings.keys()
        given: list[tuple[int, socket.socket]] = []
        for number in sorted(bindings.keys() - self._given):
            given += [(number, one) for one in bindings[number].share(self.row, workers)]
            self._given.add(number)
        for start in range(0, len(given), FILES_AT_ONCE):
            part = given[start : start + FILES_AT_ONCE]
            message = Sockets([number for number, _ in part])
            self._channel.send(encode(message), [one.fileno() for _, one in part])
        put, gone = latest.since(self.applied)
        self._sent = latest.version
        self._channel.send(encode(News(latest.version, list(put), list(gone))))

    def ask(
        self, what: Literal["explain", "latest", "page", "queues"], request_id: str = "", *, text: bool = False
    ) -> asyncio.Future[msgspec.Raw | None]:
        """What it answers; None when it ends before."""
        number = next(_questions)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._asked.pop(number, None))
        self._channel.send(encode(Ask(number, what, request_id, text)))
        return answer

    def stop(self, grace: float, idle: float) -> None:
        self._channel.send(encode(Stop(grace, idle)))

    def close(self) -> None:
        """Hear nothing more of it."""
        self._channel.close()

    def _lose(self) -> None:
        for answer in list(self._asked.values()):
            if not answer.done():
                answer.set_result(None)
        self._ended(self)

    def _hear(self, message: bytes) -> None:
        heard: Any = msgspec.msgpack.decode(message, type=FromWorker)
        if isinstance(heard, Told):
            answer = self._asked.get(heard.number)
            if answer is not None and not answer.done():
                answer.set_result(heard.value)
        elif isinstance(heard, Hello):
            self.pid = heard.pid
        elif isinstance(heard, Last):
            self.families = heard.families
        else:
            if isinstance(heard, Applied):
                self.applied = heard.version
            self._heard(self, heard)
