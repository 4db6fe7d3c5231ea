"""KV cache events as vLLM publishes them: what the engine noted → the msgpack of a KVEventBatch.

A batch is an array (time, events); an event is a map with its kind as `type`, fields that have their default left out.
A block is known by a number of 64 bits, its hash. Source: vllm/distributed/kv_events.py and
vllm/v1/core/block_pool.py of 0.32.
"""

from array import array
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from headgate.sim.blocks import Cleared, Note, Removed
from headgate.sim.engine import Stored, Work
from headgate.sim.tokens import WIDTH

_MEDIUM = "GPU"
_GROUP = 0  # there is one: full attention
_ATTENTION = "full_attention"


class KvEventsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """`--kv-events-config`, with vLLM's defaults. `publisher` None: zmq where events are enabled."""

    enable_kv_cache_events: bool = False
    publisher: str | None = None
    endpoint: str = "tcp://*:5557"
    replay_endpoint: str | None = None
    buffer_steps: int = 10_000
    hwm: int = 100_000
    max_queue_size: int = 100_000
    topic: str = ""

    @property
    def publishes(self) -> bool:
        return self.enable_kv_cache_events and self.publisher != "null"


class _BlockStored(Struct, frozen=True, tag="BlockStored", tag_field="type", omit_defaults=True):
    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None
    medium: str | None
    lora_name: str | None
    extra_keys: list[tuple[str, ...] | None] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None


class _BlockRemoved(Struct, frozen=True, tag="BlockRemoved", tag_field="type", omit_defaults=True):
    block_hashes: list[int]
    medium: str | None
    group_idx: int | None = None


class _AllBlocksCleared(Struct, frozen=True, tag="AllBlocksCleared", tag_field="type"):
    pass


class _Batch(Struct, frozen=True, array_like=True):
    ts: float
    events: list[_BlockStored | _BlockRemoved | _AllBlocksCleared]
    data_parallel_rank: int


_encode = msgspec.msgpack.Encoder().encode


def batch(notes: Sequence[Note], block_size: int, lora_id: Callable[[str], int], now: float) -> bytes:
    """All that happened since the last batch, as one message; `now` is unix seconds."""
    return _encode(_Batch(now, [_event(note, block_size, lora_id) for note in notes], 0))


def _event(
    note: Note, block_size: int, lora_id: Callable[[str], int]
) -> _BlockStored | _BlockRemoved | _AllBlocksCleared:
    if isinstance(note, Stored):
        return _stored(note, block_size, lora_id)
    if isinstance(note, Removed):
        return _BlockRemoved([note.key], _MEDIUM, _GROUP)
    assert isinstance(note, Cleared)
    return _AllBlocksCleared()


def _stored(note: Stored, block_size: int, lora_id: Callable[[str], int]) -> _BlockStored:
    work, width = note.work, block_size * WIDTH
    extra = [_extra(work, place) for place in range(note.first, note.past)]
    return _BlockStored(
        block_hashes=list(work.keys[note.first : note.past]),
        parent_block_hash=work.keys[note.first - 1] if note.first else None,
        token_ids=array("I", work.content[note.first * width : note.past * width]).tolist(),
        block_size=block_size,
        lora_id=lora_id(work.adapter) if work.adapter else None,
        medium=_MEDIUM,
        lora_name=work.adapter or None,
        extra_keys=extra,
        group_idx=_GROUP,
        kv_cache_spec_kind=_ATTENTION,
    )


def _extra(work: Work, place: int) -> tuple[str, ...] | None:
    """What beside tokens went into a block's hash: the adapter in each, the salt in the first."""
    salt = work.salt if not place else ""
    return tuple(part for part in (work.adapter, salt) if part) or None
