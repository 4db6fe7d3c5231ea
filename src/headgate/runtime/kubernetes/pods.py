"""From Pods to servers: one that has an address is a server, ready as its condition says, leaving once deleted.

Pods are followed by the selectors that somebody is interested in, so that of a large cluster only those few are heard
of. What is kept of a Pod is its `Server`, a few hundred bytes.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Several
from typing import Any

import msgspec
from msgspec import Struct

from headgate.fleet.endpoint import Server
from headgate.runtime.kubernetes.client import Client
from headgate.runtime.kubernetes.resources import PODS
from headgate.runtime.kubernetes.watcher import Collection, Identified, Watcher
from headgate.runtime.kubernetes.watching import Item, Trouble

_ENDED = ("Succeeded", "Failed")
_LINGER_S = 30.0  # a selector that nobody wants any more may be wanted again soon


class Selection(Struct, frozen=True, order=True):
    """Pods of a namespace that have all these labels: sorted pairs."""

    namespace: str
    labels: tuple[tuple[str, str], ...]


def selection(namespace: str, labels: Mapping[str, str]) -> Selection:
    return Selection(namespace, tuple(sorted(labels.items())))


class _Meta(Identified, frozen=True):
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    deleted: str = msgspec.field(name="deletionTimestamp", default="")


class _Port(Struct, frozen=True):
    number: int = msgspec.field(name="containerPort")
    name: str = ""


class _Container(Struct, frozen=True):
    ports: tuple[_Port, ...] = ()
    restarts: str = msgspec.field(name="restartPolicy", default="")


class _Spec(Struct, frozen=True):
    containers: tuple[_Container, ...] = ()
    before: tuple[_Container, ...] = msgspec.field(name="initContainers", default=())


class _Condition(Struct, frozen=True):
    type: str
    status: str


class _Status(Struct, frozen=True):
    phase: str = ""
    address: str = msgspec.field(name="podIP", default="")
    conditions: tuple[_Condition, ...] | None = None


class _Pod(Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()
    status: _Status = _Status()


def server(raw: msgspec.Raw | bytes) -> Item:
    """A Pod's JSON → an item with its Server, or None where it has no address yet, or has ended."""
    pod = msgspec.json.decode(raw, type=_Pod)
    meta, status = pod.metadata, pod.status
    if not status.address or status.phase in _ENDED:
        return Item(meta.key, meta.version)
    sidecars = [one for one in pod.spec.before if one.restarts == "Always"]
    found = Server(
        namespace=meta.namespace,
        name=meta.name,
        address=status.address,
        labels=meta.labels,
        annotations=meta.annotations,
        ports={port.name: port.number for one in (*pod.spec.containers, *sidecars) for port in one.ports if port.name},
        ready=any(one.type == "Ready" and one.status == "True" for one in status.conditions or ()),
        draining=bool(meta.deleted),
    )
    return Item(meta.key, meta.version, found)


class PodServers:
    """The servers of some selections. `changed` is called with all of them, when they are others than before.

    What was known of a selection stays while the API server is away. `close` it at the end.
    """

    def __init__(
        self,
        client: Client,
        changed: Callable[[tuple[Server, ...]], None],
        tell: Callable[[Collection, Trouble], None],
    ) -> None:
        self.servers: tuple[Server, ...] = ()
        self._client = client
        self._changed = changed
        self._tell = tell
        self._watchers: dict[Selection, tuple[Watcher, asyncio.Task[None]]] = {}
        self._leaving: dict[Selection, asyncio.TimerHandle] = {}
        self._soon: asyncio.Handle | None = None

    def follow(self, selections: Several[Selection]) -> None:
        """These, and no others (those are forgotten after a while). One without labels selects nothing."""
        loop = asyncio.get_running_loop()
        wanted = {one for one in selections if one.labels}
        for one in wanted:
            if one in self._leaving:
                self._leaving.pop(one).cancel()
            if one not in self._watchers:
                selector = ",".join(f"{key}={value}" for key, value in one.labels)
                collection = Collection(PODS.path(one.namespace), (("labelSelector", selector),))
                watcher = Watcher(self._client, collection, server, self._wake, self._tell)
                self._watchers[one] = (watcher, loop.create_task(watcher.run(), name=f"pods of {one.namespace}"))
        for one in self._watchers.keys() - wanted - self._leaving.keys():
            self._leaving[one] = loop.call_later(_LINGER_S, self._leave, one)

    async def synced(self) -> None:
        """Wait until all that is followed was listed once."""
        for watcher, _ in list(self._watchers.values()):
            await watcher.synced.wait()

    async def close(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()
        tasks = [task for _, task in self._watchers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watchers.clear()

    def _leave(self, one: Selection) -> None:
        del self._leaving[one]
        _, task = self._watchers.pop(one)
        task.cancel()
        self._wake()

    def _wake(self, _: Sequence[Item] = ()) -> None:
        """All that one piece of the stream brings is told of at once."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._soon = None
        found: dict[str, Any] = {}
        for watcher, _ in self._watchers.values():
            found.update((key, item.value) for key, item in watcher.items.items() if item.value is not None)
        servers = tuple(found[key] for key in sorted(found))
        if servers != self.servers:
            self.servers = servers
            self._changed(servers)
