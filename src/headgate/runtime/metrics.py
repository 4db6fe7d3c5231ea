"""Prometheus metrics of the gateway: counted as requests end, written out when somebody asks."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from time import monotonic
from types import MappingProxyType

from headgate import __version__
from headgate.exchange.record import Record
from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.plan.tls import Certificate
from headgate.runtime.exposition import Page, labelled
from headgate.runtime.histogram import Histogram
from headgate.runtime.predictions import Predictions
from headgate.runtime.process import describe
from headgate.runtime.tokens import Tokens

SECONDS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8),
    *(1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 300, 600),
)
_SERIES = 1000  # label sets kept of one family: clients choose model names, memory is ours
_OTHER = "other"
_REASONS = {
    400: "malformed",
    401: "unauthorized",
    404: "not_found",
    408: "slow_request",
    413: "too_large",
    421: "misdirected",
    429: "saturated",
    431: "too_large",
    499: "client_gone",
    500: "no_backend",
    502: "endpoint_failed",
    503: "no_endpoint",
    504: "timeout",
}


class Metrics:
    """`count` costs about 1 µs a request. Whoever reads the manifests tells `reloaded` how that went."""

    def __init__(
        self,
        ledger: Ledger,
        pools: Callable[[], Iterable[PoolView]],
        connections: Callable[[], int],
        parked: Mapping[str, Collection[object]],
        dropped: Callable[[], int],
        tasks: Callable[[], int],
        mirrored: Mapping[str, int] = MappingProxyType({}),
        handshake_failures: Mapping[str, int] = MappingProxyType({}),
        certificates: Callable[[], Iterable[Certificate]] = tuple,
        also: Sequence[Callable[[Page], None]] = (),
    ) -> None:
        """`parked`: the requests that wait, by pool. `dropped`: lines that the access log has lost. `tasks`: those of
        the event loop. `mirrored`: how many copies of requests came to which end. `handshake_failures`: of clients, by
        reason. `certificates`: those that are shown to clients. `also` write families of their own.
        """
        self._ledger = ledger
        self._pools = pools
        self._connections = connections
        self._parked = parked
        self._dropped = dropped
        self._tasks = tasks
        self._mirrored = mirrored
        self._handshake_failures = handshake_failures
        self._certificates = certificates
        self._also = list(also)
        self._requests: dict[tuple[str, str, str, str, int], _Series] = {}
        self._refused: dict[str, int] = {}
        self._traffic: dict[tuple[str, str], _Traffic] = {}
        self._tokens = Tokens(_SERIES)
        self._predictions = Predictions(_SERIES)
        self._reloads = {"ok": 0, "errors": 0}
        self._reloaded_at = 0.0
        self._errors = 0
        self._ejections: dict[str, int] = {}

    def add(self, describe_it: Callable[[Page], None]) -> None:
        """It writes families of its own."""
        self._also.append(describe_it)

    def ejected(self, pools: Iterable[str]) -> None:
        """An endpoint of these pools was ejected."""
        for pool in pools:
            self._ejections[pool] = self._ejections.get(pool, 0) + 1

    def reloaded(self, errors: int, at: float) -> None:
        """The manifests were read, with so many errors, at this Unix time."""
        self._errors = errors
        self._reloads["errors" if errors else "ok"] += 1
        if not errors:
            self._reloaded_at = at

    def count(self, record: Record) -> None:
        """A request has ended."""
        pool, model, target, status = record.pool, record.model, record.target, record.status
        if status == 404 or not target:
            model = target = ""  # nobody serves it: the client's invention gets no series of its own
        key = (record.route, pool, model, target, status)
        series = self._requests.get(key)
        if series is None:
            series = self._new_series(key)
        series.count += 1
        traffic = series.traffic
        asked, answered = record.asked_at, record.answered_at
        traffic.bytes_in += record.bytes_in
        traffic.bytes_out += record.bytes_out
        if record.tries > 1:
            traffic.retries += record.tries - 1
        if record.waited:
            traffic.waited += 1
        if answered:
            traffic.first_bytes.observe(answered - asked)
        elif status >= 400:
            reason = record.refused or _REASONS.get(status, str(status))
            self._refused[reason] = self._refused.get(reason, 0) + 1
        traffic.durations.observe(record.ended_at - asked)
        if record.prompt_tokens is not None or record.completion_tokens is not None or record.chunks:
            self._tokens.count(record)
        if record.expected is not None:
            self._predictions.count(record, record.expected)

    def _new_series(self, key: tuple[str, str, str, str, int]) -> "_Series":
        route, pool, _, target, status = key
        if len(self._requests) >= _SERIES:
            target = _OTHER
            key = (route, pool, _OTHER, _OTHER, status)
        if len(self._traffic) >= _SERIES and (pool, target) not in self._traffic:
            target = _OTHER
        traffic = self._traffic.setdefault((pool, target), _Traffic())
        return self._requests.setdefault(key, _Series(traffic))

    def page(self) -> Page:
        page = Page()
        page.one("headgate_build_info", "gauge", "The version that runs.", 1, (("version", __version__),), alike=True)
        self._of_requests(page)
        self._of_pools(page)
        self._of_endpoints(page)
        self._of_itself(page)
        for describe_it in self._also:
            describe_it(page)
        describe(page)
        return page

    def _of_requests(self, page: Page) -> None:
        page.family("headgate_requests_total", "counter", "Requests by route, pool, model and status.")
        names = ("route", "pool", "model", "target_model")
        for (*texts, status), series in sorted(self._requests.items(), key=itemgetter(0)):
            labels = (*zip(names, texts, strict=True), ("code", str(status)))
            page.sample("headgate_requests_total", labels, series.count)
        page.family("headgate_refused_requests_total", "counter", "Requests that no server answered, by reason.")
        for reason, count in sorted(self._refused.items()):
            page.sample("headgate_refused_requests_total", (("reason", reason),), count)
        families = (
            ("retries", "retries_total", "Times that a request was sent again, to another endpoint."),
            ("waited", "waited_requests_total", "Requests that waited for an endpoint or an adapter."),
            ("bytes_in", "request_bytes_total", "Bytes of request bodies."),
            ("bytes_out", "response_bytes_total", "Bytes of answers' bodies."),
        )
        in_order = sorted(self._traffic.items(), key=itemgetter(0))
        for field, name, text in families:
            page.family(f"headgate_{name}", "counter", text)
            for key, traffic in in_order:
                page.sample(f"headgate_{name}", _labels(key), getattr(traffic, field))
        page.family("headgate_request_duration_seconds", "histogram", "From the request's last byte to the answer's.")
        for key, traffic in in_order:
            traffic.durations.write(page, "headgate_request_duration_seconds", _labels(key))
        page.family("headgate_first_byte_seconds", "histogram", "From the request's last byte to the answer's head.")
        for key, traffic in in_order:
            traffic.first_bytes.write(page, "headgate_first_byte_seconds", _labels(key))
        self._tokens.write(page)
        self._predictions.write(page)

    def _of_pools(self, page: Page) -> None:
        pools = [(view.pool.name, view.standing.endpoints) for view in self._pools()]
        page.family("headgate_pool_endpoints", "gauge", "Endpoints of a pool, by state.")
        for pool, endpoints in pools:
            states = [state(endpoint) for endpoint in endpoints]
            for one in ("ready", "not ready", "draining", "ejected"):
                labels = (("pool", pool), ("state", one.replace(" ", "_")))
                page.sample("headgate_pool_endpoints", labels, states.count(one))
        page.family("headgate_waiting_requests", "gauge", "Requests that wait for an endpoint of the pool now.")
        for pool in dict.fromkeys([*(pool for pool, _ in pools), *sorted(self._parked)]):
            page.sample("headgate_waiting_requests", (("pool", pool),), len(self._parked.get(pool, ())))
        page.family("headgate_ejections_total", "counter", "Times that an endpoint was ejected for failing in a row.")
        for pool, _ in pools:
            page.sample("headgate_ejections_total", (("pool", pool),), self._ejections.get(pool, 0))

    def _of_endpoints(self, page: Page) -> None:
        now = monotonic()
        count = self._ledger.count
        families: tuple[tuple[str, str, Callable[[Endpoint, Load], float | None]], ...] = (
            ("ready", "Whether the endpoint takes requests.", lambda e, _: int(state(e) == "ready")),
            ("in_flight", "Requests of this gateway that it is serving.", lambda e, _: count(e.name)),
            ("waiting", "Requests waiting in the endpoint, as it reports.", lambda _, load: load.waiting),
            ("running", "Requests running in the endpoint, as it reports.", lambda _, load: load.running),
            ("kv_cache_usage", "Share of its KV cache in use, as it reports.", lambda _, load: load.kv_usage),
            (
                "load_age_seconds",
                "Time since its metrics were read.",
                lambda _, load: None if load.at is None else round(max(0.0, now - load.at), 3),
            ),
        )
        rows = [
            (
                labelled((("pool", view.pool.name), ("endpoint", endpoint.name), ("address", endpoint.hostport))),
                endpoint,
                load,
            )
            for view in self._pools()
            for endpoint, load in zip(view.standing.endpoints, view.standing.loads, strict=True)
        ]
        for name, text, value in families:
            page.family(f"headgate_endpoint_{name}", "gauge", text)
            for inside, endpoint, load in rows:
                found = value(endpoint, load)
                if found is not None:
                    page.series(f"headgate_endpoint_{name}", inside, found)

    def _of_itself(self, page: Page) -> None:
        page.one("headgate_connections", "gauge", "Client connections that are open.", self._connections())
        self._of_tls(page)
        page.one("headgate_tasks", "gauge", "Tasks of the event loop; if they only grow, some are lost.", self._tasks())
        page.one(
            "headgate_access_log_dropped_total",
            "counter",
            "Lines that the access log has lost.",
            self._dropped(),
        )
        page.family("headgate_mirrored_requests_total", "counter", "Copies of requests for mirrors, by outcome.")
        for outcome, count in self._mirrored.items():
            page.sample("headgate_mirrored_requests_total", (("outcome", outcome),), count)
        page.family("headgate_config_reloads_total", "counter", "Readings of the manifests, by result.")
        for result, count in self._reloads.items():
            page.sample("headgate_config_reloads_total", (("result", result),), count)
        page.one("headgate_config_errors", "gauge", "Errors in the manifests, at the last reading.", self._errors)
        page.one(
            "headgate_config_last_success_timestamp_seconds",
            "gauge",
            "When the manifests were last read without an error.",
            round(self._reloaded_at, 3),
        )

    def _of_tls(self, page: Page) -> None:
        name = "headgate_tls_handshake_failures_total"
        page.family(name, "counter", "Clients that were turned away, or left, before any request, by reason.")
        for reason, count in sorted(self._handshake_failures.items()):
            page.sample(name, (("reason", reason),), count)
        name = "headgate_certificate_expiry_timestamp_seconds"
        page.family(name, "gauge", "When a certificate that is shown to clients stops being valid.")
        ends = {one.name: one.not_after.timestamp() for one in self._certificates()}
        for secret, end in sorted(ends.items()):
            page.sample(name, (("secret", secret),), end)


def state(endpoint: Endpoint) -> str:
    if endpoint.draining:
        return "draining"
    if not endpoint.ready:
        return "not ready"
    return "ejected" if endpoint.ejected else "ready"


class _Series:
    """Requests of one label set, and the traffic that they are a part of."""

    __slots__ = ("count", "traffic")

    def __init__(self, traffic: "_Traffic") -> None:
        self.count = 0
        self.traffic = traffic


class _Traffic:
    """What went to one pool for one model."""

    __slots__ = ("bytes_in", "bytes_out", "durations", "first_bytes", "retries", "waited")

    def __init__(self) -> None:
        self.retries = self.waited = self.bytes_in = self.bytes_out = 0
        self.durations = Histogram(SECONDS)
        self.first_bytes = Histogram(SECONDS)


def _labels(key: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return ("pool", key[0]), ("target_model", key[1])
