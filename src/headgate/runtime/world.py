"""Where objects and servers come from: files and this machine, or a cluster."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from headgate.fleet.endpoint import Server
from headgate.runtime.config import Reading
from headgate.runtime.gateway import Gateway
from headgate.runtime.pods import PodRow

Work = Callable[[], Awaitable[None]]


class World(Protocol):
    """What is to be served, and by whom."""

    @property
    def waits(self) -> bool: ...  # for objects to come; else there must be some at the beginning
    @property
    def followed(self) -> str: ...  # in words: what is followed
    async def first(self) -> Reading: ...
    def works(self) -> Sequence[Work]: ...  # to be done all the time, from then on
    async def read(self, before: Reading) -> Reading: ...
    async def apply(self, reading: Reading) -> None: ...  # it is going to be in force
    def applied(self, reading: Reading, gateway: Gateway) -> None: ...  # it is
    def rows(self) -> tuple[PodRow, ...]: ...
    async def stop(self, grace: float) -> None: ...
    def kill(self) -> None: ...


# say, changed (there is something to read), and the servers that run now.
Made = Callable[[Callable[[str], None], Callable[[], None], Callable[[Sequence[Server]], None]], World]
