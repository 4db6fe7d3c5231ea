"""What there is to see of the pools' queues: metrics, rows for `headgate get queues`, and what flows were given.

Names are those that are published (`flow_control_…`), behind this gateway's own prefix.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from time import monotonic

from msgspec import Struct

from headgate.exchange.record import Record
from headgate.flow.band import Band
from headgate.flow.control import Control
from headgate.flow.ticket import Stay
from headgate.runtime.exposition import Labels, Page
from headgate.runtime.histogram import Histogram

SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BYTES_PER_TOKEN = 4
_NAME = "headgate_flow_control"


class QueueRow(Struct, frozen=True):
    """One flow's requests that wait in one band. Where nobody waits in a band, it has a row without a flow."""

    pool: str
    priority: int
    flow: str
    waiting: int
    bytes: int
    oldest_s: float
    saturation: float
    ceiling: float


def queue_rows(controls: Mapping[str, Control], now: float) -> list[QueueRow]:
    found: list[QueueRow] = []
    for pool, control in sorted(controls.items()):
        level = round(control.saturation(now), 3)
        for band, ceiling in control.bands():
            oldest: dict[str, float] = {}
            for ticket in band.tickets.values():
                oldest.setdefault(ticket.flow, ticket.entered)
            limit = round(ceiling, 3)
            found += [
                QueueRow(pool, band.priority, flow, *band.sizes[flow], round(now - since, 3), level, limit)
                for flow, since in sorted(oldest.items())
            ] or [QueueRow(pool, band.priority, "", 0, 0, 0.0, level, limit)]
    return found


def joined(parts: Iterable[Sequence[QueueRow]]) -> list[QueueRow]:
    """Those of several processes as one."""
    found: dict[tuple[str, int, str], QueueRow] = {}
    for row in (row for part in parts for row in part):
        key = (row.pool, row.priority, row.flow)
        before = found.get(key)
        if before is None:
            found[key] = row
            continue
        found[key] = QueueRow(
            *key,
            before.waiting + row.waiting,
            before.bytes + row.bytes,
            max(before.oldest_s, row.oldest_s),
            max(before.saturation, row.saturation),
            row.ceiling,
        )
    busy = {key[:2] for key in found if key[2]}
    kept = [row for key, row in found.items() if key[2] or key[:2] not in busy]
    return sorted(kept, key=lambda row: (row.pool, -row.priority, row.flow))


def charge(controls: Mapping[str, Control], ended: Sequence[Record]) -> None:
    """What requests cost is their flows' service.

    Where a server does not tell, bytes and chunks stand for tokens: who goes away before the end has had something too.
    """
    now = monotonic()
    for record in ended:
        stay, control = record.stay, controls.get(record.pool)
        if stay is None or control is None or not record.answered_at:
            continue
        prompt, generated = record.prompt_tokens, record.completion_tokens
        if prompt is None:
            prompt = record.bytes_in // _BYTES_PER_TOKEN
        control.served(stay.flow, prompt, record.chunks if generated is None else generated, now)


class Queueing:
    """Counts how requests fared in the queues: 0.5 µs each, and nothing where no pool has any."""

    def __init__(self, controls: Mapping[str, Control]) -> None:
        self._controls = controls
        self._stays: dict[tuple[str, int, str], Histogram] = {}

    def count(self, record: Record, stay: Stay) -> None:
        key = (record.pool, record.priority, stay.outcome)
        histogram = self._stays.get(key)
        if histogram is None:
            histogram = self._stays[key] = Histogram(SECONDS)
        histogram.observe(stay.waited_s)

    def describe(self, page: Page) -> None:
        if not (self._controls or self._stays):
            return
        name = f"{_NAME}_requests_total"
        page.family(name, "counter", "Requests that came to the queues of a pool, by what came of it there.")
        stays = sorted(self._stays.items(), key=itemgetter(0))
        for (pool, priority, outcome), histogram in stays:
            page.sample(name, (*_of(pool, priority), ("outcome", outcome)), sum(histogram.buckets))
        name = f"{_NAME}_request_queue_duration_seconds"
        page.family(name, "histogram", "How long requests stood in the queues of their pool.")
        for (pool, priority, outcome), histogram in stays:
            histogram.write(page, name, (*_of(pool, priority), ("outcome", outcome)))
        bands = [
            (pool, control, band) for pool, control in sorted(self._controls.items()) for band, _ in control.bands()
        ]
        self._of_queues(page, bands)
        self._of_capacity(page, bands)
        now, name = monotonic(), f"{_NAME}_pool_saturation"
        page.family(name, "gauge", "How full a pool is; from 1 on its requests queue.", peak=True)
        for pool, control in sorted(self._controls.items()):
            page.sample(name, (("pool", pool),), round(control.saturation(now), 4))

    def _of_queues(self, page: Page, bands: Sequence[tuple[str, Control, Band]]) -> None:
        sizes = [
            ((*_of(pool, band.priority), ("fairness_id", flow)), size)
            for pool, _, band in bands
            for flow, size in sorted(band.sizes.items()) or [("", (0, 0))]
        ]
        for place, name, text in (
            (0, f"{_NAME}_queue_size", "Requests that wait in the queues of a pool."),
            (1, f"{_NAME}_queue_bytes", "Bytes of the bodies of requests that wait there."),
        ):
            page.family(name, "gauge", text)
            for labels, size in sizes:
                page.sample(name, labels, size[place])

    def _of_capacity(self, page: Page, bands: Sequence[tuple[str, Control, Band]]) -> None:
        for unit in ("requests", "bytes"):
            name = f"{_NAME}_capacity_utilization_{unit}"
            page.family(name, "gauge", f"Share of the {unit} of one priority that may wait that do.", peak=True)
            for pool, _, band in bands:
                used = band.count / band.rule.max_requests if unit == "requests" else band.bytes / band.rule.max_bytes
                page.sample(name, _of(pool, band.priority), round(used, 6))
            name = f"{_NAME}_global_capacity_utilization_{unit}"
            page.family(name, "gauge", f"The same of all {unit}, where there is a limit.", peak=True)
            for pool, control in sorted(self._controls.items()):
                limits = control.discipline
                limit = limits.max_requests if unit == "requests" else limits.max_bytes
                if limit:
                    waiting = control.queued if unit == "requests" else control.bytes
                    page.sample(name, (("pool", pool),), round(waiting / limit, 6))


def _of(pool: str, priority: int) -> Labels:
    return ("pool", pool), ("priority", str(priority))
