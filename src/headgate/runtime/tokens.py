"""Tokens in the metrics: what servers told of answers, and how much went by untold."""

from operator import itemgetter

from headgate.exchange.record import Record
from headgate.runtime.exposition import Page

_NAMES = ("pool", "model", "target_model", "base_model", "client", "objective")
_OTHER = "other"
_FAMILIES = (
    ("prompt", "prompt_tokens_total", "Tokens of prompts, as servers told."),
    ("cached", "cached_prompt_tokens_total", "Those of them that servers had computed before."),
    ("completion", "completion_tokens_total", "Tokens that were generated, as servers told."),
    ("untold", "untold_requests_total", "Streams that ended before their server told what they cost."),
    ("chunks", "untold_chunks_total", "Chunks of those streams, at least one token each but for the first and last."),
)


class Tokens:
    """`count` costs 0.4 µs a request. Beyond `limit` label sets further models are counted as `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: dict[tuple[str, ...], _Series] = {}

    def count(self, record: Record) -> None:
        """A request has ended that has tokens, or chunks."""
        model, target, base = record.model, record.target, record.base
        key = (record.pool, model, target, base, record.client, record.objective)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self._limit:
                key = (record.pool, _OTHER, _OTHER, _OTHER, record.client, record.objective)
            series = self._series.setdefault(key, _Series())
        if record.prompt_tokens is None and record.completion_tokens is None:
            series.untold += 1
            series.chunks += record.chunks
            return
        series.prompt += record.prompt_tokens or 0
        series.cached += record.cached_tokens or 0
        series.completion += record.completion_tokens or 0

    def write(self, page: Page) -> None:
        in_order = sorted(self._series.items(), key=itemgetter(0))
        for field, name, text in _FAMILIES:
            page.family(f"headgate_{name}", "counter", text)
            for key, series in in_order:
                page.sample(f"headgate_{name}", tuple(zip(_NAMES, key, strict=True)), getattr(series, field))


class _Series:
    __slots__ = ("cached", "chunks", "completion", "prompt", "untold")

    def __init__(self) -> None:
        self.prompt = self.cached = self.completion = self.untold = self.chunks = 0
