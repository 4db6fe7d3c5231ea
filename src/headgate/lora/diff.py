"""`diff`: what to load and what to unload, so that a server has the adapters it should have."""

from collections.abc import Mapping

from msgspec import Struct

from headgate.lora.config import Desired


class Load(Struct, frozen=True):
    """`replace`: the server has an adapter of this name from another source; take the new one in its place."""

    name: str
    source: str
    base: str = ""
    replace: bool = False


class Unload(Struct, frozen=True):
    name: str


Step = Load | Unload


def diff(desired: Desired, observed: Mapping[str, str | None]) -> tuple[Step, ...]:
    """The steps from `observed` to `desired`, at most one for each adapter; unloading comes first, it makes room.

    `observed` maps the adapters that a server has to the source that each was loaded from, None where that is not
    known: an adapter of unknown source is taken for the right one. What `desired` does not name is left alone.
    """
    unload = tuple(Unload(name) for name in desired.absent if name in observed)
    load = tuple(
        Load(adapter.id, adapter.source, adapter.base, replace=adapter.id in observed)
        for adapter in desired.exist
        if adapter.id not in observed or observed[adapter.id] not in (None, adapter.source)
    )
    return unload + load


def pause(failures: int) -> float:
    """How many seconds to wait before a step that failed `failures` times (1 or more) is tried again: 1, 2, 4, … 60."""
    return min(60.0, 2.0 ** min(failures - 1, 6))
