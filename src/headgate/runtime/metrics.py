"""Prometheus metrics of the gateway: counted as requests end, written out when somebody asks."""

import resource
from bisect import bisect_left
from collections.abc import Callable, Iterable

from headgate import __version__
from headgate.exchange.record import Record
from headgate.exchange.site import PoolView
from headgate.fleet.ledger import Ledger

_SECONDS = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    45,
    60,
    120,
    300,
    600,
)
_SERIES = 1000  # label sets kept of one family: clients choose model names, memory is ours
_OTHER = "other"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """`count` costs about 1.5 µs a request."""

    def __init__(self, ledger: Ledger, pools: Callable[[], Iterable[PoolView]], connections: Callable[[], int]) -> None:
        self._ledger = ledger
        self._pools = pools
        self._connections = connections
        self._requests: dict[tuple[str, str, str, str, int], list[int]] = {}  # → requests, retries, bytes in, bytes out
        self._durations: dict[tuple[str, str], _Histogram] = {}
        self._first_bytes: dict[tuple[str, str], _Histogram] = {}

    def count(self, record: Record) -> None:
        # A model that nobody serves is the client's invention: it gets no series of its own.
        model = record.model if record.target else ""
        key = (record.route, record.pool, model, record.target, record.status)
        counts = self._requests.get(key)
        if counts is None:
            if len(self._requests) >= _SERIES:
                key = (record.route, record.pool, _OTHER, _OTHER, record.status)
            counts = self._requests.setdefault(key, [0, 0, 0, 0])
        counts[0] += 1
        if record.tries > 1:
            counts[1] += record.tries - 1
        counts[2] += record.bytes_in
        counts[3] += record.bytes_out
        if record.pool:
            series = (record.pool, record.target)
            _observe(self._durations, series, record.ended_at - record.asked_at)
            if record.answered_at:
                _observe(self._first_bytes, series, record.answered_at - record.asked_at)

    def page(self) -> str:
        """The text exposition format, version 0.0.4."""
        out = _Page()
        out.family("headgate_build_info", "gauge", "The version that runs.")
        out.sample("headgate_build_info", (("version", __version__),), 1)
        families = (
            ("headgate_requests_total", "Requests by route, pool, model and status."),
            ("headgate_retries_total", "Times that a request was sent again, to another endpoint."),
            ("headgate_request_bytes_total", "Bytes of request bodies."),
            ("headgate_response_bytes_total", "Bytes of answers' bodies."),
        )
        for index, (name, text) in enumerate(families):
            out.family(name, "counter", text)
            for (route, pool, model, target, status), counts in self._requests.items():
                labels = (
                    ("route", route),
                    ("pool", pool),
                    ("model", model),
                    ("target_model", target),
                    ("code", str(status)),
                )
                out.sample(name, labels, counts[index])
        out.histograms(
            "headgate_request_duration_seconds", "From the request's last byte to the answer's.", self._durations
        )
        out.histograms(
            "headgate_first_byte_seconds", "From the request's last byte to the answer's head.", self._first_bytes
        )
        out.family("headgate_connections", "gauge", "Client connections that are open.")
        out.sample("headgate_connections", (), self._connections())
        self._fleet(out)
        _process(out)
        return out.text()

    def _fleet(self, out: "_Page") -> None:
        families = {
            "headgate_endpoint_ready": "Whether the endpoint takes requests.",
            "headgate_endpoint_in_flight": "Requests of this gateway that the endpoint is serving.",
            "headgate_endpoint_waiting": "Requests waiting in the endpoint, as it reports.",
            "headgate_endpoint_running": "Requests running in the endpoint, as it reports.",
            "headgate_endpoint_kv_cache_usage": "Share of the endpoint's KV cache in use, as it reports.",
        }
        rows = [
            (view.pool.name, endpoint, load)
            for view in self._pools()
            for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True)
        ]
        for name, text in families.items():
            out.family(name, "gauge", text)
            for pool, endpoint, load in rows:
                value = {
                    "headgate_endpoint_ready": int(endpoint.ready and not endpoint.draining),
                    "headgate_endpoint_in_flight": self._ledger.counts.get(endpoint.name, 0),
                    "headgate_endpoint_waiting": load.waiting,
                    "headgate_endpoint_running": load.running,
                    "headgate_endpoint_kv_cache_usage": load.kv_usage,
                }[name]
                if value is not None:
                    out.sample(
                        name, (("pool", pool), ("endpoint", endpoint.name), ("address", endpoint.hostport)), value
                    )


class _Histogram:
    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_SECONDS) + 1)
        self.total = 0.0


def _observe(family: dict[tuple[str, str], _Histogram], series: tuple[str, str], seconds: float) -> None:
    histogram = family.get(series)
    if histogram is None:
        if len(family) >= _SERIES:
            series = (series[0], _OTHER)
        histogram = family.setdefault(series, _Histogram())
    histogram.buckets[bisect_left(_SECONDS, seconds)] += 1
    histogram.total += seconds


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str) -> None:
        self._lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")

    def sample(self, name: str, labels: Labels, value: float) -> None:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
        self._lines.append(f"{name}{{{inside}}} {value}" if inside else f"{name} {value}")

    def histograms(self, name: str, text: str, family: dict[tuple[str, str], _Histogram]) -> None:
        self.family(name, "histogram", text)
        for (pool, model), histogram in family.items():
            labels = (("pool", pool), ("target_model", model))
            below = 0
            for bound, count in zip((*_SECONDS, "+Inf"), histogram.buckets, strict=True):
                below += count
                self.sample(f"{name}_bucket", (*labels, ("le", str(bound))), below)
            self.sample(f"{name}_sum", labels, round(histogram.total, 6))
            self.sample(f"{name}_count", labels, below)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _process(out: _Page) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    out.family("process_cpu_seconds_total", "counter", "CPU time of this process, user and system.")
    out.sample("process_cpu_seconds_total", (), round(usage.ru_utime + usage.ru_stime, 3))
