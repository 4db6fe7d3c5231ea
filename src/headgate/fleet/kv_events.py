"""`read`: a message of a model server about its KV cache → what was stored, what was removed.

Two encodings are had: events as maps with their kind as `type` (vLLM 0.32), and as arrays
that begin with it (vLLM before, SGLang). Fields that are appended later are passed over, unknown kinds are a mistake.
Source: vllm/distributed/kv_events.py.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

Hash = int | bytes
Token = Annotated[int, Meta(ge=0, lt=1 << 32)]


class Stored(Struct, frozen=True, gc=False, tag="BlockStored", tag_field="type"):
    """Full blocks, one after the other, of one sequence. `parent` is the block before the first, None at the start.

    `extra_keys` is for each block what beside tokens tells it apart: its adapter, a salt, images.
    """

    block_hashes: list[Hash]
    parent_block_hash: Hash | None
    token_ids: list[Token]
    block_size: Annotated[int, Meta(ge=1)]
    lora_id: int | None = None
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: list[Any] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None
    kv_cache_spec_sliding_window: int | None = None


class Removed(Struct, frozen=True, gc=False, tag="BlockRemoved", tag_field="type"):
    """One copy of each."""

    block_hashes: list[Hash]
    medium: str | None = None
    group_idx: int | None = None


class Cleared(Struct, frozen=True, gc=False, tag="AllBlocksCleared", tag_field="type"):
    """Nothing is cached any more."""


def parts(event: "Event", most: int) -> "list[Event]":
    """The same in several, none of them of more than so many blocks, to be taken one after the other."""
    if len(event.block_hashes if not isinstance(event, Cleared) else ()) <= most:
        return [event]
    assert not isinstance(event, Cleared)
    names = event.block_hashes
    starts = range(0, len(names), most)
    if isinstance(event, Removed):
        return [replace(event, block_hashes=names[start : start + most]) for start in starts]
    size, extra = event.block_size, event.extra_keys
    return [
        replace(
            event,
            block_hashes=names[start : start + most],
            parent_block_hash=names[start - 1] if start else event.parent_block_hash,
            token_ids=event.token_ids[start * size : (start + most) * size],
            extra_keys=extra and extra[start : start + most],
        )
        for start in starts
    ]


class _StoredArray(Stored, frozen=True, gc=False, tag="BlockStored", array_like=True):
    pass


class _RemovedArray(Removed, frozen=True, gc=False, tag="BlockRemoved", array_like=True):
    pass


class _ClearedArray(Cleared, frozen=True, gc=False, tag="AllBlocksCleared", array_like=True):
    pass


Event = Stored | Removed | Cleared


class Batch(Struct, frozen=True, gc=False, array_like=True):
    """`ts` is the server's unix time."""

    ts: float
    events: list[Event]


class _Arrays(Struct, frozen=True, gc=False, array_like=True):
    ts: float
    events: list[_StoredArray | _RemovedArray | _ClearedArray]


_maps = msgspec.msgpack.Decoder(Batch)
_arrays = msgspec.msgpack.Decoder(_Arrays)


def read(payload: bytes) -> Batch:
    """Raises ValueError for what is no batch of events."""
    try:
        return _maps.decode(payload)
    except msgspec.ValidationError as first:
        try:
            found = _arrays.decode(payload)
        except msgspec.ValidationError:
            raise first from None
        return Batch(found.ts, list(found.events))
