"""Metrics under the names that dashboards of the field's pickers ask for: `llm_d_epp_…`, and the older `inference_…`.

Names, labels and buckets are theirs (llm-d-router docs/metrics.md; Inference Extension v1.5, pkg/epp/metrics).
What has no meaning here is not there: docs/ext-proc.md says what.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from statistics import fmean, pstdev

from headgate import __version__
from headgate.exchange.record import Record
from headgate.exchange.site import PoolView
from headgate.fleet.ledger import Ledger
from headgate.runtime.epp.families import (
    FLOW_CONTROL,
    HISTOGRAMS,
    LEGACY,
    LEGACY_POOL,
    OF_REQUESTS,
    SCHEDULING,
    STREAMS,
)
from headgate.runtime.exposition import Labels, Page
from headgate.runtime.histogram import Histogram

NEW = "llm_d_epp_"
_OLD, _OLD_POOL, _OLD_OTHER = "inference_objective_", "inference_pool_", "inference_extension_"
_DEFAULT_FLOW = "default-flow"
_OTHER = "other"
_CODES = {0: "OK", 1: "Canceled", 3: "InvalidArgument", 13: "Internal", 14: "Unavailable"}
_SERIES = 1000  # label sets kept: clients choose model names

_Key = tuple[str, str, str, int]  # model, target, flow, priority


class _Series:
    """Requests of one label set."""

    __slots__ = ("errors", "histograms", "total")

    def __init__(self) -> None:
        self.total = 0
        self.errors: dict[int, int] = {}
        self.histograms = {name: Histogram(bounds) for name, bounds in OF_REQUESTS.items()}


class Published:
    """`count` costs 5 µs a request. `views` are the pools; `running` the requests that are under way."""

    def __init__(
        self,
        views: Callable[[], Iterable[PoolView]],
        ledger: Ledger,
        running: Callable[[], Iterable[Record]],
        streams: "Streams",
    ) -> None:
        self._views = views
        self._ledger = ledger
        self._running = running
        self._streams = streams
        self._series: dict[_Key, _Series] = {}
        self._ttft: dict[tuple[_Key, bool], Histogram] = {}
        self._attempts: dict[tuple[str, str, str, str, str], int] = {}
        self._rewrites: dict[tuple[str, str, str], int] = {}

    def count(self, record: Record) -> None:
        """A request has ended."""
        key = _key(record)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= _SERIES:
                key = (_OTHER, _OTHER, _OTHER, key[3])
            series = self._series.setdefault(key, _Series())
        series.total += 1
        if record.status >= 400:
            series.errors[record.status] = series.errors.get(record.status, 0) + 1
        of = series.histograms
        took, sent = record.ended_at - record.asked_at, record.completion_tokens
        of["request_duration_seconds"].observe(took)
        of["request_size_bytes"].observe(record.bytes_in)
        of["response_size_bytes"].observe(record.bytes_out)
        if record.prompt_tokens is not None:
            of["request_input_tokens"].observe(record.prompt_tokens)
            of["request_cached_tokens"].observe(record.cached_tokens or 0)
        if sent:
            of["request_output_tokens"].observe(sent)
            of["request_ntpot_seconds"].observe(took / sent)
            if record.streamed and sent > 1:
                of["request_streaming_tpot_seconds"].observe((record.ended_at - record.answered_at) / (sent - 1))
        if record.answered_at:
            first = (key, record.streamed)
            histogram = self._ttft.get(first)
            if histogram is None:
                histogram = self._ttft[first] = Histogram(HISTOGRAMS["request_ttft_seconds"])
            histogram.observe(record.answered_at - record.asked_at)
        if record.decisions:
            self._attempted(record)

    def _attempted(self, record: Record) -> None:
        endpoint = record.decisions[-1].endpoint
        namespace, _, name = record.endpoint.partition("/") if endpoint is not None else ("", "", "")
        port = str(endpoint.port) if endpoint is not None else ""
        status = "success" if endpoint is not None else "failure"
        attempt = (status, record.target, name, namespace, port)
        if len(self._attempts) < _SERIES or attempt in self._attempts:
            self._attempts[attempt] = self._attempts.get(attempt, 0) + 1
        kind, _, rule = record.resolved_by.partition(" ")
        if kind == "InferenceModelRewrite" and (len(self._rewrites) < _SERIES):
            rewrite = (rule.rpartition("/")[2], record.model, record.target)
            self._rewrites[rewrite] = self._rewrites.get(rewrite, 0) + 1

    # Written out.

    def describe(self, page: Page) -> None:
        for name in (f"{NEW}info", f"{_OLD_OTHER}info"):
            labels = (("commit", __version__), ("build_ref", "headgate"))
            page.one(name, "gauge", "The version that runs.", 1, labels, alike=True)
        self._of_requests(page)
        self._of_running(page)
        self._of_pools(page)
        self._of_scheduling(page)
        self._streams.describe(page)
        _alias_flow_control(page)

    def _of_requests(self, page: Page) -> None:
        in_order = sorted(self._series.items(), key=itemgetter(0))
        page.family(f"{NEW}request_total", "counter", "Requests that have ended.")
        for key, series in in_order:
            page.sample(f"{NEW}request_total", _labels(key), series.total)
        page.family(f"{NEW}request_error_total", "counter", "Those that ended with an error.")
        for key, series in in_order:
            for status, count in sorted(series.errors.items()):
                page.sample(f"{NEW}request_error_total", (*_labels(key), ("error_code", str(status))), count)
        self._histograms(page, NEW, {name: name for name in OF_REQUESTS}, in_order, _labels)
        page.family(f"{NEW}request_ttft_seconds", "histogram", "From the request to the beginning of the answer.")
        for (key, streaming), histogram in sorted(self._ttft.items()):
            labels = (*_labels(key), ("streaming", str(streaming).lower()))
            histogram.write(page, f"{NEW}request_ttft_seconds", labels)
        self._of_requests_by_old_names(page)

    def _of_requests_by_old_names(self, page: Page) -> None:
        """Fewer labels: what they do not tell apart is one."""
        totals: dict[Labels, int] = {}
        errors: dict[Labels, int] = {}
        for key, series in sorted(self._series.items(), key=itemgetter(0)):
            labels = (*_old_labels(key), ("priority", str(key[3])))
            totals[labels] = totals.get(labels, 0) + series.total
            for status, count in sorted(series.errors.items()):
                wrong = (*_old_labels(key), ("error_code", str(status)))
                errors[wrong] = errors.get(wrong, 0) + count
        for name, found in (("request_total", totals), ("request_error_total", errors)):
            page.family(f"{_OLD}{name}", "counter", f"As {NEW}{name}.")
            for labels, count in found.items():
                page.sample(f"{_OLD}{name}", labels, count)
        joined: dict[Labels, _Series] = {}
        first: dict[Labels, Histogram] = {}
        for key, series in self._series.items():
            into = joined.setdefault(_old_labels(key), _Series())
            for name, histogram in series.histograms.items():
                into.histograms[name].add(histogram)
        for (key, _), histogram in self._ttft.items():
            first.setdefault(_old_labels(key), Histogram(HISTOGRAMS["request_ttft_seconds"])).add(histogram)
        self._histograms(page, _OLD, LEGACY, sorted(joined.items()), lambda labels: labels)
        page.family(f"{_OLD}request_ttft_seconds", "histogram", f"As {NEW}request_ttft_seconds.")
        for labels, histogram in sorted(first.items()):
            histogram.write(page, f"{_OLD}request_ttft_seconds", labels)

    def _histograms(
        self,
        page: Page,
        prefix: str,
        names: Mapping[str, str],
        in_order: Iterable[tuple[object, _Series]],
        labels: Callable[..., Labels],
    ) -> None:
        found = list(in_order)
        for name, called in names.items():
            page.family(f"{prefix}{called}", "histogram", f"{called.replace('_', ' ').capitalize()} of requests.")
            for key, series in found:
                series.histograms[name].write(page, f"{prefix}{called}", labels(key))

    def _of_running(self, page: Page) -> None:
        counts: dict[_Key, int] = {}
        for record in self._running():
            key = _key(record)
            counts[key] = counts.get(key, 0) + 1
        page.family(f"{NEW}request_running", "gauge", "Requests that are under way.")
        old: dict[str, int] = {}
        for key, count in sorted(counts.items())[:_SERIES]:
            page.sample(f"{NEW}request_running", _labels(key), count)
            old[key[0]] = old.get(key[0], 0) + count
        page.family(f"{_OLD}running_requests", "gauge", f"As {NEW}request_running.")
        for model, count in old.items():
            page.sample(f"{_OLD}running_requests", (("model_name", model),), count)

    def _of_pools(self, page: Page) -> None:
        rows = [(view, _gauges(view)) for view in self._views()]
        averages = [name.removeprefix("average_") for name in LEGACY_POOL if name.startswith("average_")]
        for name in (*LEGACY_POOL, *[f"std_dev_{one}" for one in averages]):
            page.family(f"{NEW}{name}", "gauge", "Of the endpoints of a pool, as they report.")
            for view, gauges in rows:
                page.sample(f"{NEW}{name}", (("name", _short(view)),), gauges[name])
        for name, called in LEGACY_POOL.items():
            page.family(f"{_OLD_POOL}{called}", "gauge", f"As {NEW}{name}.")
            for view, gauges in rows:
                page.sample(f"{_OLD_POOL}{called}", (("name", _short(view)),), gauges[name])
        for name, label in (
            (f"{NEW}per_endpoint_queue_size", "model_server_endpoint"),
            (f"{_OLD_POOL}per_pod_queue_size", "model_server_pod"),
        ):
            page.family(name, "gauge", "Requests that wait in an endpoint, as it reports.")
            for view, _ in rows:
                for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True):
                    labels = (("name", _short(view)), (label, endpoint.name.partition("/")[2]))
                    page.sample(name, labels, load.waiting or 0)
        page.family(f"{NEW}inflight_requests", "gauge", "Requests of this picker that an endpoint is serving.")
        for view, _ in rows:
            for endpoint in view.standing.endpoints:
                namespace, _, name = endpoint.name.partition("/")
                labels = (("endpoint_name", name), ("namespace", namespace))
                page.sample(f"{NEW}inflight_requests", labels, self._ledger.count(endpoint.name))

    def _of_scheduling(self, page: Page) -> None:
        for prefix, label in ((NEW, "endpoint_name"), (_OLD_OTHER, "pod_name")):
            name = f"{prefix}scheduler_attempts_total"
            page.family(name, "counter", "Choices of an endpoint.")
            for (status, target, endpoint, namespace, port), count in sorted(self._attempts.items()):
                labels = (("status", status), ("target_model_name", target), (label, endpoint))
                page.sample(name, (*labels, ("namespace", namespace), ("port", port)), count)
            name = f"{prefix}model_rewrite_decisions_total"
            page.family(name, "counter", "Models that an InferenceModelRewrite has changed.")
            for (rule, model, target), count in sorted(self._rewrites.items()):
                told = (("model_rewrite_name", rule), ("model_name", model), ("target_model", target))
                page.sample(name, told, count)
            name = f"{prefix}scheduler_e2e_duration_seconds"
            page.family(name, "histogram", "From a request that is whole to the choice of its endpoint.")
            self._streams.scheduling.write(page, name, ())


class Streams:
    """Calls of ext_proc, each one HTTP request: how many, how they ended, how long they took."""

    def __init__(self, under_way: Callable[[], int]) -> None:
        self._under_way = under_way
        self._durations: dict[int, Histogram] = {}
        self.scheduling = Histogram(SCHEDULING)
        self.decided = self.scheduling.observe

    def ended(self, status: int, seconds: float) -> None:
        histogram = self._durations.get(status)
        if histogram is None:
            histogram = self._durations[status] = Histogram(STREAMS)
        histogram.observe(seconds)

    def describe(self, page: Page) -> None:
        page.one(f"{NEW}extproc_streams_inflight", "gauge", "Calls that are under way.", self._under_way())
        page.family(f"{NEW}extproc_streams_total", "counter", "Calls that have ended, by gRPC status.")
        in_order = [(_CODES.get(status, str(status)), one) for status, one in sorted(self._durations.items())]
        for code, histogram in in_order:
            page.sample(f"{NEW}extproc_streams_total", (("code", code),), sum(histogram.buckets))
        page.family(f"{NEW}extproc_stream_duration_seconds", "histogram", "How long calls took.")
        for code, histogram in in_order:
            histogram.write(page, f"{NEW}extproc_stream_duration_seconds", (("code", code),))


def _key(record: Record) -> _Key:
    flow = record.stay.flow if record.stay is not None else _DEFAULT_FLOW
    if record.status == 404 or not record.target:
        return "", "", flow, record.priority  # the client's invention gets no series of its own
    return record.model, record.target, flow, record.priority


def _labels(key: _Key) -> Labels:
    model, target, flow, priority = key
    return (
        ("model_name", model),
        ("target_model_name", target),
        ("fairness_id", flow),
        ("priority", str(priority)),
    )


def _old_labels(key: _Key) -> Labels:
    return ("model_name", key[0]), ("target_model_name", key[1])


def _short(view: PoolView) -> str:
    return view.pool.name.rpartition("/")[2]


def _gauges(view: PoolView) -> dict[str, float]:
    pairs = zip(view.standing.endpoints, view.standing.loads, strict=True)
    loads = [load for endpoint, load in pairs if endpoint.ready]
    found: dict[str, float] = {"ready_endpoints": len(loads)}
    for name, values in (
        ("kv_cache_utilization", [load.kv_usage or 0.0 for load in loads]),
        ("queue_size", [float(load.waiting or 0) for load in loads]),
        ("running_requests", [float(load.running or 0) for load in loads]),
    ):
        found[f"average_{name}"] = round(fmean(values), 6) if values else 0.0
        found[f"std_dev_{name}"] = round(pstdev(values), 6) if values else 0.0
    return found


def _alias_flow_control(page: Page) -> None:
    """Where the pool has queues: the same families, by the published names."""
    for family in page.families:
        name = family.name.removeprefix("headgate_")
        if name == family.name or not name.startswith("flow_control_"):
            continue
        prefixes = (NEW, _OLD_OTHER) if name in FLOW_CONTROL else (NEW,)
        for prefix in prefixes:
            page.family(f"{prefix}{name}", family.kind, family.text, peak=family.peak)
            for series, value in family.samples.items():
                whole, brace, inside = series.partition("{")
                labels = inside.removesuffix("}").replace('pool="', 'inference_pool="', 1) if brace else ""
                page.series(prefix + whole.removeprefix("headgate_"), labels, value)
