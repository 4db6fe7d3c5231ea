"""All objects of a cluster that we read: which kinds there are, and of each what there is."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import random
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from headgate.runtime.kubernetes.client import Client, Refused, Unreachable
from headgate.runtime.kubernetes.resources import ACCEPT, LEFT_OUT, STATUSES, Resource, chosen, listed, of_version
from headgate.runtime.kubernetes.watcher import Collection, Watcher
from headgate.runtime.kubernetes.watching import Item, Trouble

_DISCOVER_S = 10.0  # a kind that is installed later is read within this time
_RETRY_S = 2.0
# A server that has just started names few of its kinds, for seconds. Who removes a kind for good removes its objects
# first, and watches tell of that; where we missed it, this is how long the objects stay.
_GONE_S = 120.0

# Annotations that others write again and again, and that mean nothing to us.
_NOISE = ("control-plane.alpha.kubernetes.io/leader", "kubectl.kubernetes.io/last-applied-configuration")
Place = tuple[Resource, str]  # and a namespace, "" all of them


class Beside(Struct, frozen=True):
    """What is known of an object, and is no part of what was asked for."""

    uid: str
    version: str
    status: Any = None


class Held(Struct, frozen=True):
    """An object: `value` is its JSON, as far as somebody wrote it."""

    resource: Resource
    key: str
    value: dict[str, Any]
    beside: Beside


def object_item(raw: msgspec.Raw) -> Item:
    """An object's JSON → an item with what was written, and beside it what was not."""
    value: dict[str, Any] = msgspec.json.decode(raw)
    metadata: dict[str, Any] = value.get("metadata") or {}
    metadata.pop("managedFields", None)
    version = metadata.pop("resourceVersion", "")
    for name in _NOISE:
        (metadata.get("annotations") or {}).pop(name, None)
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    beside = Beside(metadata.get("uid", ""), version, value.pop("status", None))
    return Item(f"{namespace}/{name}" if namespace else name, version, value, beside)


def _without_status(raw: msgspec.Raw) -> Item:
    """The same of a kind whose status nobody asks for, and which may change all the time (and its generation too)."""
    item = object_item(raw)
    return Item(item.key, item.version, item.value, Beside(item.beside.uid, item.version))


class Holdings:
    """Follows everything until `run` is cancelled. `touched` is as that of a Watcher.

    `changed` is called with a kind and the items of it that are others than they were; () where all of it may be.

    `namespaces`: those that objects are read of, () all of them. `kinds`: those that are read, () all that we know.
    """

    def __init__(
        self,
        client: Client,
        namespaces: Sequence[str],
        changed: Callable[[str, Sequence[Item]], None],
        touched: Callable[[], None],
        tell: Callable[[Collection, Trouble], None],
        kinds: Iterable[str] = (),
    ) -> None:
        self._client = client
        self._kinds = frozenset(kinds)
        self._namespaces = tuple(namespaces) or ("",)
        self._changed = changed
        self._touched = touched
        self._tell = tell
        self._resources: set[Resource] = set()
        self._watchers: dict[Place, tuple[Watcher, asyncio.Task[None]]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._discovered = asyncio.Event()
        self._etag = ""
        self._missing: dict[Resource, float] = {}  # kinds that have objects and are not named any more, since when

    async def run(self) -> None:
        """Until it is cancelled. A mistake of ours is told of."""
        try:
            while True:
                pause = _DISCOVER_S
                try:
                    await self._discover()
                except (Refused, Unreachable, msgspec.DecodeError, KeyError, TypeError) as error:
                    # What is served is not asked in vain for long: watches say better whether the server is there.
                    self._tell(Collection("/apis"), Trouble(str(error)))
                    pause = _DISCOVER_S if self._discovered.is_set() else _RETRY_S
                except Exception as error:
                    told = {"message": "while kinds were discovered", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(told)
                else:
                    self._tell(Collection("/apis"), Trouble(""))
                await asyncio.sleep(pause * (0.75 + 0.5 * random()))
        finally:
            tasks = [*(task for _, task in self._watchers.values()), *self._retiring]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def synced(self) -> None:
        """Wait until everything there is was read once."""
        await self._discovered.wait()
        for watcher, _ in list(self._watchers.values()):
            await watcher.synced.wait()

    def objects(self) -> list[Held]:
        """All there are, in the order of their kinds and names: those that count of two with one name come first."""
        found = [
            Held(resource, item.key, item.value, item.beside)
            for (resource, _), (watcher, _) in sorted(self._watchers.items(), key=lambda one: _rank(*one[0]))
            for item in watcher.items.values()
        ]
        return sorted(found, key=lambda held: held.resource.kind)  # stable: the groups stay in their order

    def readable(self, kind: str) -> bool:
        """Whether the cluster has this kind, and we may read it."""
        watchers = [watcher for (resource, _), (watcher, _) in self._watchers.items() if resource.kind == kind]
        return any(not watcher.barred for watcher in watchers)

    async def _discover(self) -> None:
        answer = await self._client.ask(
            "GET", "/apis", accept=ACCEPT, headers={"if-none-match": self._etag} if self._etag else None
        )
        if answer.status == 304:
            return
        found = listed(msgspec.json.decode(answer.body))
        there, unknown = set(found.resources), set(found.unknown)
        for path in found.to_ask:
            try:
                version = await self._client.ask("GET", path)
            except (Refused, Unreachable):
                unknown.add(path.split("/")[2])
            else:
                there |= of_version(msgspec.json.decode(version.body))
        self._etag = "" if unknown or found.to_ask else answer.headers.get("etag", "")
        best = chosen(there, self._resources, unknown)
        if kept := self._kept(best, monotonic()):
            self._etag = ""
        self._use({one for one in best | kept if not self._kinds or one.kind in self._kinds})
        self._discovered.set()

    def _kept(self, best: set[Resource], now: float) -> set[Resource]:
        """Kinds that are not named, and are followed on for a while since there are objects of them."""
        named = {(one.group, one.kind) for one in best}
        held = {resource for (resource, _), (watcher, _) in self._watchers.items() if watcher.items}
        missing = {one for one in self._resources & held if (one.group, one.kind) not in named}
        self._missing = {one: self._missing.get(one, now) for one in missing}
        return {one for one in missing if now - self._missing[one] < _GONE_S}

    def _use(self, resources: set[Resource]) -> None:
        """Follow these kinds. One that comes in another version is followed in the old one until the new is known."""
        before, self._resources = self._resources, resources
        for resource in sorted(resources - before):
            for namespace in self._namespaces if resource.namespaced else ("",):
                self._follow((resource, namespace))
        for resource in before - resources:
            heir = next((one for one in resources if (one.group, one.kind) == (resource.group, resource.kind)), None)
            for namespace in self._namespaces if resource.namespaced else ("",):
                successor = self._watchers[heir, namespace][0] if heir is not None else None
                task = asyncio.get_running_loop().create_task(self._retire((resource, namespace), successor))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    def _follow(self, place: Place) -> None:
        resource, namespace = place
        left_out = LEFT_OUT.get(resource.kind)
        collection = Collection(resource.path(namespace), (("fieldSelector", left_out),) if left_out else ())
        make = object_item if resource.kind in STATUSES else _without_status
        changed = partial(self._changed, resource.kind)
        watcher = Watcher(self._client, collection, make, changed, self._tell, self._touched)
        task = asyncio.get_running_loop().create_task(watcher.run(), name=str(collection))
        self._watchers[place] = (watcher, task)

    async def _retire(self, place: Place, successor: Watcher | None) -> None:
        watcher, task = retired = self._watchers[place]
        if successor is not None:
            await successor.synced.wait()
        task.cancel()
        if self._watchers.get(place) is not retired:
            return  # it came back meanwhile
        del self._watchers[place]
        self._tell(watcher.collection, Trouble(""))
        self._changed(place[0].kind, ())


def _rank(resource: Resource, namespace: str) -> tuple[bool, str, str, str]:
    """Of two groups with a kind of one name the one that is no longer experimental comes first."""
    return (resource.group.startswith("inference.networking.x-"), resource.group, resource.version, namespace)


def by_kind(objects: Iterable[Held]) -> dict[tuple[str, str], Held]:
    """Of each kind and name the one that counts."""
    found: dict[tuple[str, str], Held] = {}
    for held in objects:
        found.setdefault((held.resource.kind, held.key), held)
    return found
