"""Predicted latencies in the metrics: what was expected, what came, how far off it is, and who was served too late."""

from collections.abc import Mapping
from operator import itemgetter

from msgspec import Struct, field

from headgate.exchange.record import Record
from headgate.fleet.latency import Latency
from headgate.fleet.regression import Regression
from headgate.pick.expectation import Expectation
from headgate.runtime.exposition import Labels, Page
from headgate.runtime.histogram import Histogram

# The bounds are those that the field's pickers publish for these.
_TTFT = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120)
_TPOT = (0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 2)
_OTHER = "other"
_KINDS = ("ttft", "tpot")


class _Series(Struct):
    """`late`, `asked`: those that asked for a time and did not get it, and all that asked; by kind."""

    predicted: Mapping[str, Histogram]
    observed: Mapping[str, Histogram]
    late: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))


class Predictions:
    """`count` costs 1 µs a request, of pools that predict alone. Beyond `limit` label sets models count as `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: dict[tuple[str, str], _Series] = {}
        self._latencies: dict[str, Latency] = {}  # by pool

    def count(self, record: Record, expected: Expectation) -> None:
        """A request has ended that was sent somewhere."""
        key = (record.pool, record.target)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self._limit:
                key = (record.pool, _OTHER)
            series = self._series.setdefault(key, _Series(_histograms(), _histograms()))
        self._latencies[record.pool] = expected.latency
        if expected.seen_ttft:
            series.observed["ttft"].observe(expected.seen_ttft)
            if expected.sure:
                series.predicted["ttft"].observe(expected.ttft)
        if expected.seen_tpot:
            series.observed["tpot"].observe(expected.seen_tpot)
            if expected.sure and expected.tpot:
                series.predicted["tpot"].observe(expected.tpot)
        # What the client waited for counts from when it asked, not from when the request was sent.
        waited = expected.seen_ttft + record.sent_at - record.asked_at if expected.seen_ttft else 0.0
        for kind, bound, seen in (
            ("ttft", expected.ttft_slo, waited),
            ("tpot", expected.tpot_slo, expected.seen_tpot),
        ):
            if bound and seen:
                series.asked[kind] += 1
                series.late[kind] += seen > bound

    def write(self, page: Page) -> None:
        in_order = sorted(self._series.items(), key=itemgetter(0))
        for kind, what in zip(_KINDS, ("the first token", "each further token"), strict=True):
            for name, text in (("predicted", f"Time to {what}, as predicted when it counted."),
                               ("observed", f"Time to {what}, in answers that predictions learn from.")):  # fmt: skip
                family = f"headgate_{name}_{kind}_seconds"
                page.family(family, "histogram", text)
                for key, series in in_order:
                    (series.predicted if name == "predicted" else series.observed)[kind].write(
                        page, family, _labels(key)
                    )
        for name, text in (
            ("slo_requests", "Requests that asked for a time, and were answered."),
            ("slo_violations", "Those of them that got it later."),
        ):
            page.family(f"headgate_{name}_total", "counter", text)
            for key, series in in_order:
                counts = series.asked if name == "slo_requests" else series.late
                for kind in _KINDS:
                    page.sample(f"headgate_{name}_total", (*_labels(key), ("kind", kind)), counts[kind])
        self._of_models(page)

    def _of_models(self, page: Page) -> None:
        """`peak`: where several processes learn, the one that is off by most."""
        page.family("headgate_prediction_error", "gauge", "Mean relative error of the last predictions.", peak=True)
        for name, kind, model in self._models():
            labels = (("pool", name), ("kind", kind))
            page.sample("headgate_prediction_error", labels, round(model.error, 4))
        page.family("headgate_prediction_observations_total", "counter", "Answers that predictions learned from.")
        for name, kind, model in self._models():
            labels = (("pool", name), ("kind", kind))
            page.sample("headgate_prediction_observations_total", labels, model.observations)

    def _models(self) -> list[tuple[str, str, Regression]]:
        found = []
        for name, latency in sorted(self._latencies.items()):
            found += [(name, "ttft", latency.ttft), (name, "tpot", latency.tpot)]
        return found


def _histograms() -> Mapping[str, Histogram]:
    return {"ttft": Histogram(_TTFT), "tpot": Histogram(_TPOT)}


def _labels(key: tuple[str, str]) -> Labels:
    return ("pool", key[0]), ("target_model", key[1])
