"""One collection followed over a socket, as `watching` says."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from random import random
from time import monotonic

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.runtime.kubernetes import watching
from headgate.runtime.kubernetes.client import Client, Refused, Unreachable
from headgate.runtime.kubernetes.watching import Do, Drop, Event, Happened, Item, Put, Replace, Trouble

_NOT_OURS = (403, 404)
_SILENCE_S = 30.0  # beyond the time that a watch was asked for

Make = Callable[[msgspec.Raw], Item]  # what to keep of an object
Changed = Callable[[Sequence[Item]], None]


class Collection(Struct, frozen=True):
    """`path` as in /api/v1/namespaces/prod/pods; `query` has selectors of labels and fields."""

    path: str
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.path


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Envelope(Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Status(Struct, frozen=True):
    code: int = 0
    message: str = ""


class _ObjectMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Bare(Struct, frozen=True):
    metadata: _ObjectMeta = _ObjectMeta()


def _nothing() -> None:
    pass


class Watcher:
    """Keeps what there is in one collection, as `make` makes it.

    `changed` is called with the items whose values are others than they were (those that are gone too), `touched` when
    only what is beside them is. `tell` hears of troubles, and of their end. `synced` is set once everything was listed,
    or may not be.
    """

    def __init__(
        self,
        client: Client,
        collection: Collection,
        make: Make,
        changed: Changed,
        tell: Callable[[Collection, Trouble], None],
        touched: Callable[[], None] = _nothing,
        dice: Callable[[], float] = random,
    ) -> None:
        self.items: dict[str, Item] = {}
        self.synced = asyncio.Event()
        self.barred = False  # we may not see it
        self.collection = collection
        self._client = client
        self._make = make
        self._changed = changed
        self._touched = touched
        self._tell = tell
        self._dice = dice

    async def run(self) -> None:
        """Until it is cancelled. A mistake of ours is told of, and everything begun again."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._run()
            except Exception as error:
                loop.call_exception_handler({"message": f"while {self.collection} was followed", "exception": error})
                await asyncio.sleep(watching.LONGEST_PAUSE_S)

    async def _run(self) -> None:
        state, todo = watching.begin()
        while True:
            for one in todo[:-1]:
                self._do(one)
            async with aclosing(self._ask(todo[-1])) as all_that_happens:
                async for happened in all_that_happens:
                    state, todo = watching.advance(state, happened, self._dice)
                    if not isinstance(happened, Event):
                        break
                    for one in todo:
                        self._do(one)

    def _do(self, do: Do) -> None:
        match do:
            case Put(item):
                before = self.items.get(item.key)
                self.items[item.key] = item = _kept(before, item)
                if before is None or before.value is not item.value:
                    self._changed((item,))
                else:
                    self._touched()
            case Drop(key):
                if (gone := self.items.pop(key, None)) is not None:
                    self._changed((gone,))
            case Replace(items):
                before_all = self.items
                self.items = {item.key: _kept(before_all.get(item.key), item) for item in items}
                different = tuple(_different(before_all, self.items))
                if different or not self.synced.is_set():
                    self._changed(different)
                else:
                    self._touched()
                self.synced.set()
                self.barred = False
            case Trouble(why, status) as trouble:
                self.barred = bool(why) and (self.barred or status == 403)
                if why and status in _NOT_OURS and not self.synced.is_set():
                    self.synced.set()  # we may not see it, or there is none: nobody need wait for it
                    self._changed(())
                self._tell(self.collection, trouble)

    async def _ask(self, do: Do) -> AsyncGenerator[Happened]:
        """What comes of it; of a watch its events, and then how it came to its end."""
        match do:
            case watching.List(more):
                yield await self._list(more)
            case watching.Rest(seconds):
                await asyncio.sleep(seconds)
                yield watching.Rested()
            case watching.Watch(version, seconds):
                async with aclosing(self._watch(version, seconds)) as events:
                    async for happened in events:
                        yield happened

    async def _list(self, more: str) -> Happened:
        query = {**dict(self.collection.query), "limit": str(watching.PAGE)}
        if more:
            query["continue"] = more
        try:
            answer = await self._client.ask("GET", self.collection.path, query)
            page = msgspec.json.decode(answer.body, type=_List)
            items = tuple(map(self._make, page.items or ()))
        except (Refused, Unreachable, msgspec.DecodeError) as error:
            return _failure(error, 0.0)
        return watching.Page(items, page.metadata.resource_version, page.metadata.continue_)

    async def _watch(self, version: str, seconds: int) -> AsyncGenerator[Happened]:
        query = {
            **dict(self.collection.query),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        began = monotonic()
        try:
            async with aclosing(self._client.lines(self.collection.path, query, silence=seconds + _SILENCE_S)) as lines:
                async for line in lines:
                    happened = self._event(line)
                    yield happened
                    if isinstance(happened, watching.Failed):
                        return
        except (Refused, Unreachable, msgspec.DecodeError) as error:
            yield _failure(error, monotonic() - began)
        else:
            yield watching.Ended(monotonic() - began)

    def _event(self, line: bytes) -> Happened:
        envelope = msgspec.json.decode(line, type=_Envelope)
        match envelope.type:
            case "ERROR":
                told = msgspec.json.decode(envelope.object, type=_Status)
                return watching.Failed(told.code, told.message)
            case "BOOKMARK":
                bare = msgspec.json.decode(envelope.object, type=_Bare)
                return Event("BOOKMARK", Item("", bare.metadata.resource_version))
            case "ADDED" | "MODIFIED" | "DELETED" as kind:
                return Event(kind, self._make(envelope.object))
        raise msgspec.DecodeError(f"an event of type {envelope.type}")


def _kept(before: Item | None, item: Item) -> Item:
    """The item, with the very value that was there where it is no other."""
    return item if before is None or before.value != item.value else replace(item, value=before.value)


def _different(before: Mapping[str, Item], now: Mapping[str, Item]) -> Iterator[Item]:
    """Those that are new, have another value, or are gone."""
    for key, item in now.items():
        if key not in before or before[key].value is not item.value:
            yield item
    for key, item in before.items():
        if key not in now:
            yield item


def _failure(error: Exception, lasted: float) -> watching.Failed:
    if isinstance(error, Refused):
        return watching.Failed(error.status, str(error), error.retry_after, lasted)
    return watching.Failed(0, str(error), None, lasted)


class Identified(Struct, frozen=True):
    """ObjectMeta, as far as it says which object it is."""

    name: str
    namespace: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
