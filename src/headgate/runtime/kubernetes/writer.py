"""Statuses written to the API server: what differs from what is there, by server-side apply, while we lead."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from msgspec import Struct

from headgate.plan.plan import Status
from headgate.runtime.config import Reading
from headgate.runtime.kubernetes.client import Client, Refused, Unreachable
from headgate.runtime.kubernetes.holdings import Held, by_kind
from headgate.runtime.kubernetes.statuses import ATOMIC, Facts, Json, leftovers, let_go, said, told_already
from headgate.runtime.kubernetes.troubles import ROLES_S

MANAGER = "headgate"

_LOOK_S = 10.0  # sockets come to be had or lost without a word
_SOON_S = 0.05  # what comes together is written together
_AT_ONCE = 4
_SOON_AGAIN_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0

Addresses = Mapping[str, tuple[str, ...]]  # by Gateway
Key = tuple[str, str, str]  # kind, namespace/name, uid


class Write(Struct, frozen=True):
    held: Held
    status: Json


class _Written(Struct):
    status: Json
    version: str  # of the object, before
    count: int = 1  # of the same status, in a row
    again_at: float = 0.0  # not before


class Writer:
    """`objects` gives what there is now, `leads` whether we write; `facts` is asked for what the plan does not say."""

    def __init__(
        self,
        client: Client,
        objects: Callable[[], Sequence[Held]],
        leads: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._client = client
        self._objects = objects
        self._leads = leads
        self._say = say
        self._reading: Reading | None = None
        self._facts: Callable[[], tuple[Addresses, Mapping[str, str]]] = lambda: ({}, {})
        self._wake = asyncio.Event()
        self._written: dict[Key, _Written] = {}
        self._barred: set[str] = set()
        self._grace: dict[str, float] = {}  # kinds, and until when a 403 is no answer: the server may just start
        self.writes = 0  # that the server took
        self._pause = _FIRST_PAUSE_S  # after which what could not be sent is sent again

    def report(self, reading: Reading, facts: Callable[[], tuple[Addresses, Mapping[str, str]]]) -> None:
        """This is in force. `facts`: the Gateways' addresses, and why some of them are not served."""
        self._reading, self._facts = reading, facts
        self.wake()

    def wake(self) -> None:
        """Something may have to be written."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            await asyncio.sleep(_SOON_S)
            self._wake.clear()
            if self._reading is None:
                continue
            if not self._leads():
                self._written.clear()  # another one writes meanwhile
                continue
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            todo = await asyncio.to_thread(self._todo, self._reading, *self._facts(), self._objects(), now)
            slots = asyncio.Semaphore(_AT_ONCE)
            await asyncio.gather(*(self._write(one, slots) for one in todo))

    def _todo(
        self,
        reading: Reading,
        addresses: Addresses,
        unserved: Mapping[str, str],
        objects: Sequence[Held],
        now: str,
    ) -> list[Write]:
        statuses = {(one.kind, one.name): one for one in reading.statuses}
        there = by_kind(objects)
        facts = _facts(reading, addresses, unserved, now)
        found: list[Write] = []
        keys: set[Key] = set()
        for name, held in there.items():
            key = (*name, held.beside.uid)
            wanted = said(held, statuses.get(name), facts)
            before = self._written.get(key)
            if wanted is None and before is not None:
                wanted = let_go(held, before.status, facts)
            if wanted is None:
                continue
            keys.add(key)
            if self._due(held, wanted, before):
                found.append(Write(held, wanted))
        for key in self._written.keys() - keys:
            del self._written[key]
        return found

    def _due(self, held: Held, wanted: Json, before: _Written | None) -> bool:
        if before is not None and before.status == wanted:
            if before.version == held.beside.version or monotonic() < before.again_at:
                return False  # the watch has not brought yet what we wrote; or somebody writes against us
            return not told_already(held.beside.status, wanted)
        extra = leftovers(held.beside.status, wanted) or (before is not None and before.status != wanted)
        return extra or not told_already(held.beside.status, wanted)

    async def _write(self, write: Write, slots: asyncio.Semaphore) -> None:
        held = write.held
        resource = held.resource
        namespace, _, name = held.key.rpartition("/")
        metadata: dict[str, Any] = {"name": name, "uid": held.beside.uid}
        if namespace:
            metadata["namespace"] = namespace
        if resource.kind in ATOMIC:
            metadata["resourceVersion"] = held.beside.version
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": write.status}
        key = (resource.kind, held.key, held.beside.uid)
        try:
            async with slots:
                await self._client.ask(
                    "PATCH",
                    f"{resource.path(namespace, name)}/status",
                    {"fieldManager": MANAGER, "force": "true"},
                    body,
                    content_type="application/apply-patch+yaml",
                )
        except Refused as error:
            self._refused(key, write, error)
        except Unreachable:
            asyncio.get_running_loop().call_later(self._pause, self.wake)
            self._pause = min(_LONGEST_PAUSE_S, 2.0 * self._pause)
        else:
            self._pause = _FIRST_PAUSE_S
            self.writes += 1
            before = self._written.get(key)
            count = before.count + 1 if before is not None and before.status == write.status else 1
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (count - 1)) if count > 1 else 0.0
            self._written[key] = _Written(write.status, held.beside.version, count, monotonic() + pause)
            self._barred.discard(resource.kind)
            self._grace.pop(resource.kind, None)

    def _refused(self, key: Key, write: Write, error: Refused) -> None:
        kind = write.held.resource.kind
        later = asyncio.get_running_loop().call_later
        if error.status == 409:  # it is another than we saw; the watch is about to say so
            later(_FIRST_PAUSE_S, self.wake)
            return
        if error.status == 403 and monotonic() < self._grace.setdefault(kind, monotonic() + ROLES_S):
            later(_SOON_AGAIN_S, self.wake)
            return
        if error.status != 404 and kind not in self._barred:  # 404: it is gone
            self._barred.add(kind)
            why = "; grant patch of it (deploy/rbac/gateway.yaml)" if error.status == 403 else ""
            self._say(f"The status of {kind} {write.held.key} can't be written: {error}{why}")
        before = self._written.get(key)
        self._written[key] = _Written(write.status, write.held.beside.version, (before.count if before else 0) + 1)
        later(_LONGEST_PAUSE_S, self._forget, key)

    def _forget(self, key: Key) -> None:
        """Try again."""
        self._written.pop(key, None)
        self.wake()


def _facts(reading: Reading, addresses: Addresses, unserved: Mapping[str, str], now: str) -> Facts:
    snapshot = reading.snapshot
    shelves: Mapping[str, Sequence[Any]] = {
        "GatewayClass": snapshot.gateway_classes,
        "Gateway": snapshot.gateways,
        "HTTPRoute": snapshot.routes,
        "InferencePool": snapshot.pools,
        "InferenceModel": snapshot.models,
        "InferenceObjective": snapshot.objectives,
        "InferenceModelRewrite": snapshot.rewrites,
        "BackendTLSPolicy": snapshot.tls_policies,
    }
    return Facts(
        now=now,
        addresses=addresses,
        unserved=unserved,
        gateways=frozenset(one.meta.key for one in snapshot.gateways),
        pools=frozenset(one.name for one in reading.statuses if _is_served(one)),
        generations={(kind, one.meta.key): one.meta.generation for kind, shelf in shelves.items() for one in shelf},
    )


def _is_served(status: Status) -> bool:
    return status.kind == "InferencePool" and any(one.parent.startswith("Gateway ") for one in status.parents)
