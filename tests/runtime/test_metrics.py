"""The metrics page: valid to the letter, bounded, and true."""

import asyncio
import math
import re
import time
import timeit
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.exchange.record import Record
from headgate.exchange.site import PoolView
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.held_blocks import HeldBlocks
from headgate.fleet.latency import Foresight, Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.control import Control
from headgate.flow.discipline import Discipline
from headgate.flow.gauge import Gauge
from headgate.pick.detector import Detector
from headgate.pick.expectation import Expectation
from headgate.pick.profile import DEFAULT
from headgate.pick.shadow import Tally
from headgate.pick.standing import Standing
from headgate.plan.plan import Pool
from headgate.proxy.plane import Plane
from headgate.runtime import metrics
from headgate.runtime.alarm import Alarm
from headgate.runtime.client import Client
from headgate.runtime.exposition import Page
from headgate.runtime.front import describe_load
from headgate.runtime.kubernetes.cluster import describe as describe_cluster
from headgate.runtime.kv_events import Follower
from headgate.runtime.learner import Learner
from headgate.runtime.metrics import Metrics
from headgate.runtime.policies import describe as describe_policies
from headgate.runtime.policy import Policy
from headgate.runtime.queueing import Queueing
from headgate.runtime.shadows import describe
from headgate.runtime.watchdog import Watchdog

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)')

Sample = tuple[str, tuple[tuple[str, str], ...]]


def read(page: str) -> dict[Sample, float]:
    """Every sample of a page; AssertionError for what Prometheus, or a strict reader, would not take."""
    assert page.endswith("\n")
    families: dict[str, str] = {}
    helped: set[str] = set()
    samples: dict[Sample, float] = {}
    current = ""
    for text in page.removesuffix("\n").split("\n"):
        if text.startswith("# HELP "):
            name, _, told = text[7:].partition(" ")
            assert _NAME.fullmatch(name)
            assert told
            assert name not in helped, f"{name} is told of twice"
            helped.add(name)
        elif text.startswith("# TYPE "):
            current, kind = text[7:].split(" ")
            assert current in helped, f"{current} has no HELP before its TYPE"
            assert current not in families, f"{current} is not in one piece"
            assert kind in ("counter", "gauge", "histogram")
            assert (kind == "counter") == current.endswith("_total"), f"{current} is a {kind}"
            families[current] = kind
        else:
            found = _SAMPLE.fullmatch(text)
            assert found, text
            name, inside, value = found.groups()
            suffixes = ("_bucket", "_sum", "_count") if families[current] == "histogram" else ("",)
            assert name in [current + suffix for suffix in suffixes], f"{name} stands below {current}"
            labels = tuple(_LABEL.findall(inside or ""))
            assert len(dict(labels)) == len(labels)
            assert (name, labels) not in samples, f"{text} comes twice"
            samples[name, labels] = float(value)
    for name, kind in families.items():
        if kind == "histogram":
            _check_histogram(name, samples)
    return samples


def _check_histogram(name: str, samples: dict[Sample, float]) -> None:
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for (sample, labels), value in samples.items():
        if sample == f"{name}_bucket":
            assert labels[-1][0] == "le"
            series.setdefault(labels[:-1], []).append((float(labels[-1][1]), value))
    for labels, buckets in series.items():
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1] == (math.inf, samples[f"{name}_count", labels])
        assert (f"{name}_sum", labels) in samples


def total(samples: dict[Sample, float], name: str, **labels: str) -> float:
    return sum(
        value for (sample, has), value in samples.items() if sample == name and labels.items() <= dict(has).items()
    )


class _World:
    def __init__(self) -> None:
        self.ledger = Ledger()
        endpoints = (
            Endpoint("default/a-rank-0", "10.0.0.1", 8000),
            Endpoint("default/b-rank-0", "10.0.0.2", 8000, ready=False),
            Endpoint("default/c-rank-0", "::1", 8000, draining=True),
        )
        loads = {"default/a-rank-0": Load(waiting=2, running=3, kv_usage=0.25, at=1.0)}
        standing = Standing("default/pool", endpoints, loads, self.ledger, PrefixIndex())
        view = PoolView(Pool("default/pool", "default", {}, (8000,)), standing, DEFAULT)
        self.parked = {"default/pool": [1, 2, 3]}
        self.plane = Plane(self.ledger, PrefixIndex(), lambda record: None)
        control = Control(Discipline(max_requests=9, max_bytes=9), Gauge(Detector(), self.ledger))
        self.queueing = Queueing({"default/pool": control})
        also = (partial(describe_load, self.plane), Watchdog(None).describe, self.queueing.describe)
        self.metrics = Metrics(self.ledger, lambda: [view], lambda: 5, self.parked, lambda: 7, lambda: 9, also=also)

    def read(self) -> dict[Sample, float]:
        return read(self.metrics.page().text())

    def of(self, name: str, **labels: str) -> float:
        """The sum over the samples that have these labels."""
        return total(self.read(), name, **labels)


def _record(**fields: object) -> Record:
    given = {"route": "r", "pool": "default/pool", "model": "m", "target": "t", "status": 200, "tries": 1}
    times = {"asked_at": 10.0, "answered_at": 10.3, "ended_at": 11.2}
    return Record(**(given | times | fields))  # type: ignore[arg-type]


_texts = st.text(max_size=8)
_records = st.builds(
    Record,
    route=_texts,
    pool=_texts,
    model=_texts,
    target=_texts,
    status=st.integers(100, 599),
    tries=st.integers(0, 3),
    waited=st.booleans(),
    client=_texts,
    prompt_tokens=st.none() | st.integers(0, 99),
    cached_tokens=st.none() | st.integers(0, 9),
    completion_tokens=st.none() | st.integers(0, 99),
    chunks=st.integers(0, 9),
    asked_at=st.just(10.0),
    answered_at=st.sampled_from([0.0, 10.5]),
    ended_at=st.floats(10.5, 2000.0),
    bytes_in=st.integers(0, 1000),
    bytes_out=st.integers(0, 1000),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(_records, max_size=20))
def test_whatever_is_counted_the_page_is_valid_and_nothing_is_counted_twice(records: list[Record]) -> None:
    world = _World()
    for record in records:
        world.metrics.count(record)
    samples = world.read()
    assert total(samples, "headgate_requests_total") == len(records)
    assert total(samples, "headgate_request_duration_seconds_count") == len(records)
    assert total(samples, "headgate_first_byte_seconds_count") == sum(record.answered_at > 0 for record in records)
    assert total(samples, "headgate_request_bytes_total") == sum(record.bytes_in for record in records)
    assert total(samples, "headgate_retries_total") == sum(max(0, record.tries - 1) for record in records)
    assert total(samples, "headgate_waited_requests_total") == sum(record.waited for record in records)
    assert total(samples, "headgate_prompt_tokens_total") == sum(record.prompt_tokens or 0 for record in records)
    completion = sum(record.completion_tokens or 0 for record in records)
    assert total(samples, "headgate_completion_tokens_total") == completion
    untold = [r for r in records if r.prompt_tokens is r.completion_tokens is None and r.chunks]
    assert total(samples, "headgate_untold_requests_total") == len(untold)
    assert total(samples, "headgate_untold_chunks_total") == sum(record.chunks for record in untold)


def test_a_request_is_counted_under_its_labels() -> None:
    world = _World()
    world.metrics.count(_record(tries=3, waited=True, bytes_in=5, bytes_out=6))
    labels = {"pool": "default/pool", "target_model": "t"}
    assert world.of("headgate_requests_total", route="r", model="m", code="200", **labels) == 1
    assert world.of("headgate_retries_total", **labels) == 2
    assert world.of("headgate_waited_requests_total", **labels) == 1
    assert world.of("headgate_request_duration_seconds_bucket", le="1", **labels) == 0
    assert world.of("headgate_request_duration_seconds_bucket", le="1.5", **labels) == 1
    assert world.of("headgate_first_byte_seconds_bucket", le="0.4", **labels) == 1


def test_tokens_are_counted_by_model_adapter_client_and_objective() -> None:
    world = _World()
    names = {"model": "food", "target": "food-v2", "base": "llama", "client": "alice", "objective": "batch"}
    for _ in range(2):
        world.metrics.count(_record(**names, prompt_tokens=50, cached_tokens=32, completion_tokens=7, chunks=9))
    world.metrics.count(_record(**names | {"client": "bob"}, chunks=9, answered_at=10.3))
    labels = {"pool": "default/pool", "target_model": "food-v2", "base_model": "llama", "objective": "batch"}
    mine = labels | {"model": "food", "client": "alice"}
    assert world.of("headgate_prompt_tokens_total", **mine) == 100
    assert world.of("headgate_cached_prompt_tokens_total", **mine) == 64
    assert world.of("headgate_completion_tokens_total", **mine) == 14
    assert world.of("headgate_untold_requests_total", **mine) == 0
    assert world.of("headgate_untold_requests_total", client="bob", **labels) == 1
    assert world.of("headgate_untold_chunks_total", client="bob", **labels) == 9


def test_series_are_in_order_whatever_came_first() -> None:
    one, other = _World(), _World()
    records = [_record(model=model, target=model, status=status) for model in "ba" for status in (503, 200)]
    for record in records:
        one.metrics.count(record)
    for record in reversed(records):
        other.metrics.count(record)

    def names(world: _World) -> list[Sample]:
        return [sample for sample in world.read() if sample[0].startswith("headgate_request")]

    assert names(one) == names(other)


def test_what_no_server_answered_is_counted_by_reason() -> None:
    world = _World()
    for status in (404, 404, 429, 503, 502, 451):
        world.metrics.count(_record(status=status, answered_at=0.0))
    world.metrics.count(_record(status=404))  # the server's own
    world.metrics.count(_record(status=302, answered_at=0.0))  # a redirect is no refusal
    found = {dict(labels)["reason"]: n for (name, labels), n in world.read().items() if "refused" in name}
    assert found == {
        "not_found": 2,
        "saturated": 1,
        "no_endpoint": 1,
        "endpoint_failed": 1,
        "451": 1,
    }


def test_names_that_clients_invent_get_no_series_and_those_that_servers_take_get_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_SERIES", 100)
    world = _World()
    for number in range(300):
        world.metrics.count(_record(model=f"invented-{number}", target="", status=404))
        world.metrics.count(_record(model=f"invented-{number}", target=f"invented-{number}", status=404))
    assert len([labels for name, labels in world.read() if name == "headgate_requests_total"]) == 1
    for number in range(300):
        world.metrics.count(_record(model=f"m{number}", target=f"m{number}", prompt_tokens=1))
    samples = world.read()
    tokens = "headgate_prompt_tokens_total"
    for name in ("headgate_requests_total", "headgate_retries_total", "headgate_first_byte_seconds_count", tokens):
        assert len([labels for sample, labels in samples if sample == name]) <= 101
    assert total(samples, tokens) == 300
    assert world.of("headgate_requests_total") == 900
    assert world.of("headgate_requests_total", model="other") > 0


def test_pools_and_endpoints_are_shown_as_they_are() -> None:
    world = _World()
    world.ledger.take("default/a-rank-0")
    assert [world.of("headgate_pool_endpoints", state=state) for state in ("ready", "not_ready", "draining")] == [
        1,
        1,
        1,
    ]
    assert world.of("headgate_waiting_requests", pool="default/pool") == 3
    own = {"endpoint": "default/a-rank-0", "address": "10.0.0.1:8000"}
    assert world.of("headgate_endpoint_ready", **own) == 1
    assert world.of("headgate_endpoint_in_flight", **own) == 1
    assert world.of("headgate_endpoint_waiting", **own) == 2
    assert world.of("headgate_endpoint_kv_cache_usage", **own) == 0.25
    assert world.of("headgate_endpoint_load_age_seconds", **own) > 0
    assert world.of("headgate_endpoint_ready", address="[::1]:8000") == 0
    # What was not reported is absent, not zero.
    assert not [
        labels for name, labels in world.read() if name == "headgate_endpoint_waiting" and labels != tuple(own)
    ][1:]


def test_readings_of_the_manifests_are_counted() -> None:
    world = _World()
    world.metrics.reloaded(0, 1700000000.5)
    world.metrics.reloaded(3, 1700000001.5)
    assert world.of("headgate_config_reloads_total", result="ok") == 1
    assert world.of("headgate_config_reloads_total", result="errors") == 1
    assert world.of("headgate_config_errors") == 3
    assert world.of("headgate_config_last_success_timestamp_seconds") == 1700000000.5


def test_the_process_tells_of_itself() -> None:
    samples = {name: value for (name, _), value in _World().read().items()}
    assert samples["process_resident_memory_bytes"] > 1 << 20
    assert 3 <= samples["process_open_fds"] <= samples["process_max_fds"]
    assert samples["process_cpu_seconds_total"] > 0
    assert samples["headgate_connections"] == 5
    assert samples["headgate_tasks"] == 9
    assert samples["headgate_access_log_dropped_total"] == 7


def test_a_refusal_may_say_itself_why() -> None:
    world = _World()
    world.metrics.count(_record(status=503, answered_at=0.0))
    world.metrics.count(_record(status=503, answered_at=0.0, refused="overloaded"))
    assert world.of("headgate_refused_requests_total", reason="no_endpoint") == 1
    assert world.of("headgate_refused_requests_total", reason="overloaded") == 1


def test_ejections_are_counted_by_pool_and_ejected_endpoints_are_a_state_of_their_own() -> None:
    world = _World()
    world.metrics.ejected(["default/pool"])
    assert world.of("headgate_ejections_total", pool="default/pool") == 1
    assert world.of("headgate_pool_endpoints", state="ejected") == 0


def test_what_is_held_and_turned_away_is_told() -> None:
    world = _World()
    world.plane.held.change(70_000)
    world.plane.turned_away = 3
    assert world.of("headgate_held_bytes") == 70_000
    assert world.of("headgate_turned_away_connections_total") == 3


def _expected(latency: Latency, **fields: float) -> Expectation:
    given = {
        "ttft": 0.2,
        "tpot": 0.01,
        "ttft_slo": 0.0,
        "tpot_slo": 0.0,
        "seen_ttft": 0.3,
        "seen_tpot": 0.02,
        "sure": True,
    }
    return Expectation(latency=latency, rule=Foresight(), endpoint="a", columns=(0.0,) * 7, **(given | fields))  # type: ignore[arg-type]


def test_what_was_predicted_stands_beside_what_came() -> None:
    world, latency = _World(), Latency()
    for _ in range(3):
        latency.ttft.learn((1.0,) * 7, 0.5)
    latency.ttft.error = 0.25
    at = {"asked_at": 10.0, "sent_at": 10.1}
    world.metrics.count(_record(**at, expected=_expected(latency, ttft_slo=0.35, tpot_slo=0.02)))
    world.metrics.count(_record(**at, expected=_expected(latency, ttft_slo=0.5, sure=False)))
    world.metrics.count(_record(**at, expected=_expected(latency, ttft_slo=0.5, seen_ttft=0.0, seen_tpot=0.0)))
    world.metrics.count(_record())
    label = {"pool": "default/pool", "target_model": "t"}
    assert world.of("headgate_observed_ttft_seconds_count", **label) == 2
    assert world.of("headgate_observed_ttft_seconds_sum", **label) == 0.6
    assert world.of("headgate_predicted_ttft_seconds_count", **label) == 1
    assert world.of("headgate_predicted_ttft_seconds_sum", **label) == 0.2
    assert world.of("headgate_observed_tpot_seconds_count", **label) == 2
    assert world.of("headgate_predicted_tpot_seconds_sum", **label) == 0.01
    # The client waited 0.1 s longer than the server took.
    assert world.of("headgate_slo_requests_total", kind="ttft", **label) == 2
    assert world.of("headgate_slo_violations_total", kind="ttft", **label) == 1
    assert world.of("headgate_slo_requests_total", kind="tpot", **label) == 1
    assert world.of("headgate_slo_violations_total", kind="tpot", **label) == 0
    assert world.of("headgate_prediction_error", pool="default/pool", kind="ttft") == 0.25
    assert world.of("headgate_prediction_observations_total", pool="default/pool", kind="ttft") == 3


def test_predictions_of_models_that_clients_invent_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_SERIES", 100)  # a thousand take seconds to read
    world, latency = _World(), Latency()
    for number in range(200):
        world.metrics.count(_record(target=f"t{number}", expected=_expected(latency)))
    families = [name for name, _ in world.read() if name == "headgate_observed_ttft_seconds_count"]
    assert len(families) == 101
    assert world.of("headgate_observed_ttft_seconds_count", target_model="other") == 100


async def _of_kv_events() -> list[str]:
    """The families that are there where a pool goes by KV events."""
    page, held = Page(), HeldBlocks()
    follower = Follower(held, lambda endpoint: None)
    follower.describe(page)
    Learner(Client(), held, lambda endpoint: None).describe(page)
    follower.close()
    return [family.name for family in page.families]


def test_every_family_is_documented() -> None:
    world = _World()
    world.metrics.count(_record())
    page = world.metrics.page()
    describe({"ns/pool": Tally("other", 1, 0, 1, 0.1, 0.1, {"queue-scorer": 1})}, page)
    describe_policies({"mine": [Policy("mine", "f", min, str, 1.0, Alarm(), time.monotonic, print)]}, page)
    describe_cluster(page, away=0, leads=True, writes=1)
    families = re.findall(r"# TYPE (\S+)", page.text()) + asyncio.run(_of_kv_events())
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert [name for name in families if f"`{name}`" not in text] == []
    documented = set(re.findall(r"`((?:headgate|process)_\w+)`", text))
    assert documented - set(families) == set()


def test_counting_costs_little() -> None:
    count, record = _World().metrics.count, _record()
    took = min(timeit.repeat(lambda: count(record), number=10_000, repeat=5)) / 10_000
    assert took < 10e-6  # 0.9 µs on a machine that is not shared
