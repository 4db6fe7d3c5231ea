"""Objects in files, Pods as processes of this machine or servers that run already."""

import asyncio
from collections.abc import Callable, Sequence

from headgate.fleet.endpoint import Server
from headgate.runtime import pods
from headgate.runtime.config import Reading
from headgate.runtime.files import Files
from headgate.runtime.gateway import Gateway
from headgate.runtime.world import Work


class Local:
    """A `World`. `reading` is what stands in the files as they are when it is made."""

    waits = False
    followed = "Changes of the files are followed."

    def __init__(
        self,
        options: pods.Options,
        files: Files,
        reading: Reading,
        say: Callable[[str], None],
        changed: Callable[[], None],
        servers_changed: Callable[[Sequence[Server]], None],
    ) -> None:
        self._files = files
        self._reading = reading
        self._changed = changed
        self._pods = pods.Pods(options, say, servers_changed)

    async def first(self) -> Reading:
        return self._reading

    def works(self) -> Sequence[Work]:
        return self._files.works(self._changed)

    async def read(self, before: Reading) -> Reading:
        # In a thread: requests must not wait for a thousand objects to be read.
        return await asyncio.to_thread(self._files.read, before)

    async def apply(self, reading: Reading) -> None:
        self._pods.apply(reading.snapshot)

    def applied(self, reading: Reading, gateway: Gateway) -> None:
        pass

    def rows(self) -> tuple[pods.PodRow, ...]:
        return self._pods.rows()

    async def stop(self, grace: float) -> None:
        await self._pods.stop(grace)

    def kill(self) -> None:
        self._pods.kill()
