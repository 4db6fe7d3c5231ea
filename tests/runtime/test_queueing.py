"""What there is to see of the queues, and what flows are charged."""

from headgate.exchange.record import Record
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.flow.control import Control
from headgate.flow.discipline import Discipline, Rule
from headgate.flow.gauge import Gauge
from headgate.flow.ticket import DISPATCHED, EXPIRED, Stay, Ticket
from headgate.pick.detector import Detector
from headgate.runtime.exposition import Page
from headgate.runtime.queueing import Queueing, QueueRow, charge, joined, queue_rows


def _control(**limits: int) -> Control:
    """One endpoint, which takes one request, and has it."""
    ledger = Ledger()
    control = Control(Discipline(**limits, negative=Rule(max_requests=4)), Gauge(Detector(concurrency=1), ledger))  # type: ignore[arg-type]
    control.priorities((1, 0, -1))
    control.watch([Endpoint("a", "", 1)], [Load()], 0.0)
    ledger.take("a")
    return control


def _wait(control: Control, priority: int, flow: str, size: int, at: float) -> None:
    assert control.admit(Ticket(priority, flow, size, at), at) == "queued"


def _samples(control: Control, *stays: tuple[int, Stay]) -> dict[str, float]:
    queueing = Queueing({"ns/p": control})
    for priority, stay in stays:
        queueing.count(Record(pool="ns/p", priority=priority), stay)
    page = Page()
    queueing.describe(page)
    found = {}
    for line in page.text().splitlines():
        if not line.startswith("#"):
            name, _, value = line.removeprefix("headgate_flow_control_").rpartition(" ")
            found[name.replace('pool="ns/p",', "").replace('pool="ns/p"', "")] = float(value)
    return found


def test_rows_are_by_band_and_flow() -> None:
    control = _control()
    _wait(control, 0, "b", 10, 1.0)
    _wait(control, 0, "a", 20, 2.0)
    _wait(control, 0, "a", 30, 3.0)
    assert queue_rows({"ns/p": control}, 5.0) == [
        QueueRow("ns/p", 1, "", 0, 0, 0.0, 1.0, 1.0),
        QueueRow("ns/p", 0, "a", 2, 50, 3.0, 1.0, 1.0),
        QueueRow("ns/p", 0, "b", 1, 10, 4.0, 1.0, 1.0),
        QueueRow("ns/p", -1, "", 0, 0, 0.0, 1.0, 1.0),
    ]


def test_rows_of_several_processes_are_as_if_there_were_one() -> None:
    here, there = _control(), _control()
    _wait(here, 0, "a", 10, 1.0)
    _wait(there, 0, "a", 20, 2.0)
    _wait(there, 1, "b", 5, 4.0)
    rows = joined([queue_rows({"ns/p": here}, 5.0), queue_rows({"ns/p": there}, 5.0)])
    assert [(row.priority, row.flow, row.waiting, row.bytes, row.oldest_s) for row in rows] == [
        (1, "b", 1, 5, 1.0),
        (0, "a", 2, 30, 4.0),
        (-1, "", 0, 0, 0.0),
    ]
    assert joined([]) == []


def test_metrics_tell_what_waits_and_how_it_went() -> None:
    control = _control(max_requests=10)
    _wait(control, -1, "a", 30, 0.0)
    _wait(control, 0, "b", 10, 0.0)
    found = _samples(
        control, (0, Stay("b", DISPATCHED, 0.2)), (0, Stay("b", DISPATCHED)), (-1, Stay("a", EXPIRED, 5.0))
    )
    assert found['requests_total{priority="0",outcome="dispatched"}'] == 2
    assert found['requests_total{priority="-1",outcome="rejected-ttl-expired"}'] == 1
    assert found['request_queue_duration_seconds_sum{priority="0",outcome="dispatched"}'] == 0.2
    assert found['request_queue_duration_seconds_bucket{priority="0",outcome="dispatched",le="0.0001"}'] == 1
    assert found['queue_size{priority="-1",fairness_id="a"}'] == 1
    assert found['queue_size{priority="1",fairness_id=""}'] == 0
    assert found['queue_bytes{priority="-1",fairness_id="a"}'] == 30
    assert found["pool_saturation{}"] == 1.0
    assert found['capacity_utilization_requests{priority="-1"}'] == 0.25
    assert found["global_capacity_utilization_requests{}"] == 0.2
    assert "global_capacity_utilization_bytes{}" not in found


def test_where_no_pool_queues_there_is_nothing_to_see() -> None:
    page = Page()
    Queueing({}).describe(page)
    assert page.families == []


def _ended(flow: str, **cost: int | None) -> Record:
    return Record(pool="ns/p", stay=Stay(flow, DISPATCHED), answered_at=1.0, **cost)  # type: ignore[arg-type]


def test_flows_are_charged_for_what_they_cost() -> None:
    control = _control()
    charge(
        {"ns/p": control},
        [
            _ended("told", prompt_tokens=100, completion_tokens=10),
            _ended("untold", bytes_in=400, chunks=10),
            Record(pool="ns/p", stay=Stay("refused", EXPIRED, 5.0), bytes_in=400),
            Record(pool="ns/p", bytes_in=400, answered_at=1.0),
            Record(pool="ns/gone", stay=Stay("gone", DISPATCHED), answered_at=1.0),
        ],
    )
    service = control._service
    at = service._flows["told"][1]
    assert {flow: round(service.of(flow, at)) for flow in ("told", "untold", "refused", "gone")} == {
        "told": 120,
        "untold": 120,
        "refused": 0,
        "gone": 0,
    }
