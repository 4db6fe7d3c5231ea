"""`read`: an endpoint's metrics page → Load; `read_models`: its list of models → Served."""

from collections.abc import Iterable, Sequence

import msgspec

from headgate.fleet.endpoint import Load, Served
from headgate.fleet.engines import DEFAULT_ENGINE, ENGINES, Family
from headgate.fleet.scan import Sample, labels, samples


def read(page: bytes, engine: str, before: Load, now: float) -> Load:
    """What the endpoint reports now. About 20 µs for a vLLM page of 58 KB.

    An engine that ENGINES does not know is read as vllm, the protocol's default. A gauge that the page does not have
    (or has only as NaN) is None: an old value would look like news. `before` passes on what comes from elsewhere,
    its model list. Data-parallel engines behind one address are one endpoint, since a request sent there may reach
    any of them: their requests and blocks add up, their KV usage is the mean. Several series of one engine: the one
    with the newest timestamp counts, the first among equals (Model Server Protocol).
    """
    names = ENGINES.get(engine, ENGINES[DEFAULT_ENGINE])
    shard = names.shard
    running, at = _gauge(page, names.running, shard, 0) if names.running else ([], 0)
    waiting, at = _gauge(page, names.waiting, shard, at)
    usage: list[float] = []
    for family in names.kv_usage:
        usage, at = _gauge(page, family, shard, at)
        if usage:
            break
    max_adapters, active, queued, at = _adapters(page, names.lora, at) if names.lora else (*_NO_ADAPTERS, at)
    block_size = blocks = None
    if names.cache_info:
        found, at = samples(page, names.cache_info[0], at)
        block_size, blocks = _cache(found, names.cache_info[1], names.cache_info[2])
    elif names.block_size and names.blocks:
        sizes, at = _gauge(page, names.block_size, shard, at)
        counts, at = _gauge(page, names.blocks, shard, at)
        block_size, blocks = int(sizes[0]) if sizes else None, _count(counts)
    return Load(
        waiting=_count(waiting),
        running=_count(running),
        kv_usage=min(1.0, max(0.0, sum(usage) / len(usage))) if usage else None,
        adapters_running=active,
        adapters_waiting=queued,
        max_adapters=max_adapters,
        block_size=block_size,
        blocks=blocks,
        models=before.models,
        at=now,
    )


_NO_ADAPTERS: tuple[int | None, frozenset[str], frozenset[str]] = (None, frozenset(), frozenset())


def _gauge(page: bytes, family: Family, shard: str, start: int) -> tuple[list[float], int]:
    """One value for each shard, and where the family stands."""
    found, at = samples(page, family.name, start)
    if family.labels:
        wanted = set(family.labels)
        found = [sample for sample in found if wanted <= labels(sample.labels).items()]
    if len(found) < 2:
        return [sample.value for sample in found], at
    newest: dict[str, Sample] = {}
    for sample in found:
        key = labels(sample.labels).get(shard, "")
        if key not in newest or (sample.timestamp or 0) > (newest[key].timestamp or 0):
            newest[key] = sample
    return [sample.value for sample in newest.values()], at


def _count(values: list[float]) -> int | None:
    return max(0, int(sum(values))) if values else None


def _cache(found: Sequence[Sample], size_label: str, blocks_label: str) -> tuple[int | None, int | None]:
    """Tokens per block of the first engine that says so, blocks of all of them."""
    told = [labels(sample.labels) for sample in found]
    sizes = [int(text) for one in told if (text := one.get(size_label, "")).isdecimal()]
    counts = [int(text) for one in told if (text := one.get(blocks_label, "")).isdecimal()]
    return (sizes[0] if sizes else None), (sum(counts) if counts else None)


def _adapters(page: bytes, name: bytes, start: int) -> tuple[int | None, frozenset[str], frozenset[str], int]:
    """Slots, active and waiting adapters, and where the family stands.

    vllm:lora_requests_info has a series for each combination it ever saw; its value is the unix time it last did.
    """
    found, at = samples(page, name, start)
    if not found:
        return *_NO_ADAPTERS, at
    told = labels(max(found, key=lambda sample: sample.value).labels)
    limit = told.get("max_lora", "")
    return (
        int(limit) if limit.isdecimal() else None,
        _names(told.get("running_lora_adapters", "").split(",")),
        _names(told.get("waiting_lora_adapters", "").split(",")),
        at,
    )


def _names(parts: Iterable[str]) -> frozenset[str]:
    return frozenset(name for part in parts if (name := part.strip()))


class _Entry(msgspec.Struct):
    id: str
    parent: object = None
    root: object = None
    max_model_len: object = None


class _List(msgspec.Struct):
    data: list[_Entry]


def read_models(body: bytes) -> tuple[Served, ...]:
    """The answer to GET /v1/models, in its order; of entries with one id the first.

    Engines differ in what they say beside `id`: a field of another type than expected counts as absent.
    Raises ValueError when the body is not a list of models.
    """
    entries: dict[str, Served] = {}
    for entry in msgspec.json.decode(body, type=_List).data:
        if entry.id not in entries:
            entries[entry.id] = Served(
                id=entry.id,
                parent=entry.parent if isinstance(entry.parent, str) and entry.parent else None,
                root=entry.root if isinstance(entry.root, str) else None,
                max_model_len=entry.max_model_len if type(entry.max_model_len) is int else None,
            )
    return tuple(entries.values())
