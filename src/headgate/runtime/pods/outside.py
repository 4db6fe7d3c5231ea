"""Servers that already run, followed: what the snapshot gives addresses of, and whether their probes succeed."""

import asyncio
from collections.abc import Callable

import msgspec

from headgate.api.snapshot import Snapshot
from headgate.fleet.endpoint import Server
from headgate.runtime.pods.addressed import ADDRESS, Addressed, addressed, unreadable
from headgate.runtime.pods.pod import PodRow
from headgate.runtime.pods.probes import Target, verdicts


class Outside:
    """The servers outside of this process; `changed` is called whenever `servers()` is different."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._known: dict[str, Addressed] = {}
        self._ready: dict[str, bool] = {}
        self._problems: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._said: set[str] = set()

    def apply(self, snapshot: Snapshot) -> None:
        """Follow what this snapshot names, and nothing else; a server that did not change keeps its state."""
        for text in unreadable(snapshot):
            if text not in self._said:
                self._said.add(text)
                self._say(text)
        known = {found.key: found for found in addressed(snapshot)}
        before = self.servers()
        for key, old in self._known.items():
            new = known.get(key)
            if new is None or new.probe != old.probe or _place(new) != _place(old):
                self._ready.pop(key, None)
                if key in self._asking:
                    self._asking.pop(key).cancel()
        self._known = known
        for key, found in known.items():
            if found.probe is not None and key not in self._asking:
                self._asking[key] = asyncio.create_task(self._ask(key, found))
        if before != self.servers():
            self._changed()

    def servers(self) -> tuple[Server, ...]:
        """Each server, ready when its probe says so, or when it has none."""
        return tuple(
            msgspec.structs.replace(found.server, ready=found.probe is None or self._ready.get(key, False))
            for key, found in self._known.items()
        )

    def rows(self) -> tuple[PodRow, ...]:
        """The same for the table; one that was not asked yet may still become ready."""
        return tuple(
            PodRow(
                name=key,
                owner="",
                address=server.annotations[ADDRESS],
                phase="Outside",
                ready=server.ready,
                restarts=0,
                message="" if server.ready else self._problems.get(key, ""),
                log="",
                pending=not server.ready and key not in self._ready,
            )
            for key, server in zip(self._known, self.servers(), strict=True)
        )

    def stop(self) -> None:
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()

    async def _ask(self, key: str, found: Addressed) -> None:
        assert found.probe is not None
        server = found.server
        target = Target(server.address, server.ports, port=server.port)
        async for well, problem in verdicts(found.probe, target, eager=True):
            self._problems[key] = problem
            if self._ready.get(key) != well:
                self._ready[key] = well
                self._changed()


def _place(found: Addressed) -> tuple[str, int | None]:
    return found.server.address, found.server.port
