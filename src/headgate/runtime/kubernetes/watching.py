"""Following one collection of objects: what happened → what to do. No socket, no clock; chance is a parameter.

A list gives all objects and a version; a watch from that version on gives what changes, and ends now and then, to be
begun again where it ended. Where the server has forgotten that version (410 Gone) everything is listed again. Whatever
is lost, the objects that were known last stay until others are known. (Kubernetes API Concepts: "Efficient detection
of changes", "Watch bookmarks", "Retrieving large results sets in chunks".)
"""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

PAGE = 500  # objects that are asked for at once
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
_REFUSED_PAUSE_S = 20.0  # nobody grants us a right, or a kind, within a second
_STEADY_S = 5.0  # a watch that lasted so long was one
_WATCH_S = 300.0  # and up to twice as long, by chance: so that not all are begun again at once

_GONE, _TIMEOUT = 410, 504
_FORBIDDEN = (401, 403, 404, 405)

Dice = Callable[[], float]


class Item(Struct, frozen=True):
    """One object. `value` is what was made of it; `beside`, what may change and changes nothing."""

    key: str  # namespace/name
    version: str  # resourceVersion: it is another one after each write
    value: Any = None
    beside: Any = None


# What happened.


class Page(Struct, frozen=True):
    """An answer to List. `more` continues it, "" at the end."""

    items: tuple[Item, ...]
    version: str
    more: str = ""


class Event(Struct, frozen=True):
    """From a watch. A BOOKMARK's item has nothing but a version."""

    kind: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    item: Item


class Ended(Struct, frozen=True):
    """The watch, by the server's will, after so many seconds."""

    lasted: float


class Failed(Struct, frozen=True):
    """A list or a watch; `status` is 0 where there was no answer. `lasted`: a watch, until then."""

    status: int
    why: str
    retry_after: float | None = None
    lasted: float = 0.0


class Rested(Struct, frozen=True):
    """The pause is over."""


Happened = Page | Event | Ended | Failed | Rested


# What to do.


class List(Struct, frozen=True):
    more: str = ""


class Watch(Struct, frozen=True):
    version: str
    seconds: int


class Rest(Struct, frozen=True):
    seconds: float


class Replace(Struct, frozen=True):
    """These are all the objects there are."""

    items: tuple[Item, ...]


class Put(Struct, frozen=True):
    item: Item


class Drop(Struct, frozen=True):
    key: str


class Trouble(Struct, frozen=True):
    """What is told of it: it does not work for now, with the server's status (0 none); `why` "" once it does."""

    why: str
    status: int = 0


Do = List | Watch | Rest | Replace | Put | Drop | Trouble


class State(Struct, frozen=True):
    """`version` is where a watch goes on, "" where everything is to be listed. `items` are those of a list so far."""

    version: str = ""
    items: tuple[Item, ...] = ()
    failures: int = 0  # in a row
    relists: int = 0  # that 410 asked for, in a row
    troubled: bool = False


def begin() -> tuple[State, tuple[Do, ...]]:
    return State(), (List(),)


def advance(state: State, happened: Happened, dice: Dice) -> tuple[State, tuple[Do, ...]]:
    """The last of what to do is a List, a Watch or a Rest; nothing of the kind after an Event: the watch goes on."""
    match happened:
        case Page(items, version, more):
            return _page(state, items, version, more, dice)
        case Event(kind, item):
            return _event(state, kind, item)
        case Ended(lasted) if lasted >= _STEADY_S:
            state, told = _well(state)
            return state, (*told, _watch(state, dice))
        case Ended():
            return _pause(state, Failed(0, "the watch was ended at once"), dice)
        case Failed() as failed:
            return _failed(state, failed, dice)
        case Rested():
            return state, (_watch(state, dice) if state.version else List(),)


def _page(state: State, items: tuple[Item, ...], version: str, more: str, dice: Dice) -> tuple[State, tuple[Do, ...]]:
    together = (*state.items, *items)
    if more:
        return replace(state, items=together), (List(more),)
    state = replace(state, version=version, items=())
    # That it can be listed does not yet mean that it can be watched: the failures are not forgotten.
    return replace(state, troubled=False), (
        Replace(together),
        *((Trouble(""),) if state.troubled else ()),
        _watch(state, dice),
    )


def _event(state: State, kind: str, item: Item) -> tuple[State, tuple[Do, ...]]:
    state, told = _well(replace(state, version=item.version or state.version))
    match kind:
        case "BOOKMARK":
            return state, told
        case "DELETED":
            return state, (*told, Drop(item.key))
        case _:
            return state, (*told, Put(item))


def _well(state: State) -> tuple[State, tuple[Do, ...]]:
    told = (Trouble(""),) if state.troubled else ()
    return replace(state, failures=0, relists=0, troubled=False), told


def _failed(state: State, failed: Failed, dice: Dice) -> tuple[State, tuple[Do, ...]]:
    if failed.lasted >= _STEADY_S and state.failures:
        state = replace(state, failures=0, relists=0)
    gone = failed.status == _GONE
    if gone or (failed.status == _TIMEOUT and state.version and "resource version" in failed.why.lower()):
        # Also a version that the server has never had: its store was restored from a backup.
        state = replace(state, version="", items=(), relists=state.relists + 1)
        if gone and state.relists == 1:
            return state, (List(),)
    return _pause(replace(state, items=()), failed, dice)


def _pause(state: State, failed: Failed, dice: Dice) -> tuple[State, tuple[Do, ...]]:
    """Twice as long each time, and not as long as the others wait who lost the same server."""
    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(state.failures, 16)) * (0.5 + 0.5 * dice())
    if failed.status in _FORBIDDEN and not state.version:
        # One that let us see it before may only have started a moment ago: it does not know its own roles yet.
        pause = max(pause, _REFUSED_PAUSE_S * (0.5 + 0.5 * dice()))
    pause = max(pause, failed.retry_after or 0.0)
    state = replace(state, failures=state.failures + 1, troubled=True)
    return state, (Trouble(failed.why, failed.status), Rest(pause))


def _watch(state: State, dice: Dice) -> Watch:
    return Watch(state.version, int(_WATCH_S * (1.0 + dice())))
