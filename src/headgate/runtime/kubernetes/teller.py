"""Events posted to the API server, by the leader."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic

from headgate.runtime.config import Reading
from headgate.runtime.kubernetes.client import Client, Refused, Unreachable
from headgate.runtime.kubernetes.events import EVERY_S, Note, Told, due, event, notes
from headgate.runtime.kubernetes.holdings import Held, by_kind
from headgate.runtime.kubernetes.relevant import CONTROLLER
from headgate.runtime.kubernetes.resources import Resource

_EVENTS = Resource("events.k8s.io", "v1", "Event", "events")


class Teller:
    """`objects` gives what there is, `leads` whether we tell; `instance` says who we are."""

    def __init__(
        self,
        client: Client,
        objects: Callable[[], Sequence[Held]],
        leads: Callable[[], bool],
        instance: str,
        say: Callable[[str], None],
    ) -> None:
        self._client = client
        self._objects = objects
        self._leads = leads
        self._instance = instance
        self._say = say
        self._told = Told(at=monotonic())
        self._wanted: frozenset[Note] = frozenset()
        self._barred = False

    def report(self, reading: Reading) -> None:
        self._wanted = notes(reading.problems, reading.statuses)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._leads() and (self._wanted - self._told.notes or self._told.notes - self._wanted):
                self._told, fresh = due(self._told, self._wanted, monotonic())
                await self._tell(fresh)

    async def _tell(self, fresh: Sequence[Note]) -> None:
        there = by_kind(self._objects())
        for note in fresh:
            held = there.get((note.kind, note.name))
            if held is None:
                continue
            about = {
                "apiVersion": held.resource.api_version,
                "uid": held.beside.uid,
                "resourceVersion": held.beside.version,
            }
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            body = event(note, about, CONTROLLER, self._instance, now)
            try:
                await self._client.ask("POST", _EVENTS.path(note.name.rpartition("/")[0] or "default"), body=body)
            except Unreachable:
                return  # they are told in the log, too
            except Refused as error:
                if not self._barred:
                    self._barred = True
                    grant = "; grant create of events (deploy/rbac/gateway.yaml)" if error.status == 403 else ""
                    self._say(f"Events can't be written: {error}{grant}")
