"""The HTTPRoute tests of the Gateway API's conformance suite: the same routes, requests and outcomes, without sockets.

A directory has the suite's name of the test: its routes in in.yaml, what they do in cases.yaml. docs/conformance.md
lists them all. `cases.yaml` holds

    test:      the suite's ShortName          feature: what has to be supported, `core` for all gateways
    statuses:  HTTPRoute → parent → the conditions that are not True
    attached:  Gateway → listener → routes
    requests:  each with `ask`, its `gateway`, `port`, `host` and `headers`, what servers do (`server`, `answer`), and
               what comes of it: `to` a backend, or `status`; what the server `sees`, what the client `gets`, where
               a `redirect` leads, how many `tries`, and the `shares` and `mirrored` parts of many requests
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from conformance_envoy import EnvoyGateway
from conformance_gateway import Gateway, Outcome

HERE = Path(__file__).parent
BASE = (HERE / "base.yaml").read_text()
CASES = sorted(path.parent for path in HERE.glob("*/cases.yaml"))
MANY = 500  # requests whose distribution is looked at, as in the suite
FEWER = 200  # where they are real


def read(case: Path) -> tuple[Gateway, dict[str, Any]]:
    return Gateway(BASE, (case / "in.yaml").read_text()), yaml.safe_load((case / "cases.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_routes_have_the_conditions_that_the_suite_expects(case: Path) -> None:
    gateway, table = read(case)
    wanted = table.get("statuses", {})
    found = {status.name: status for status in gateway.statuses if status.kind == "HTTPRoute"}
    assert wanted.keys() <= found.keys()
    for name, status in found.items():
        assert status.parents
        for parent in status.parents:
            unmet = wanted.get(name, {}).get(parent.parent, {})
            by_type = {condition.type: condition for condition in parent.conditions}
            for kind in ("Accepted", "ResolvedRefs"):
                condition = by_type[kind]
                got = "True" if condition.status == "True" else condition.reason
                assert got == unmet.get(kind, "True"), (name, parent.parent, condition)
    counts = {
        status.name: {listener.name: listener.attached_routes for listener in status.listeners}
        for status in gateway.statuses
        if status.kind == "Gateway"
    }
    for name, listeners in table.get("attached", {}).items():
        assert counts[name] == listeners, name


REQUESTS = [
    pytest.param(case, number, id=f"{case.name}: {number} {request.get('name') or request['ask']}")
    for case in CASES
    for number, request in enumerate(yaml.safe_load((case / "cases.yaml").read_text()).get("requests", ()))
]
_GIVEN = ("gateway", "port", "host", "headers", "scheme", "server", "answer")


@pytest.mark.parametrize(("case", "number"), REQUESTS)
def test_requests_have_the_outcomes_that_the_suite_expects(case: Path, number: int) -> None:
    gateway, table = read(case)
    request = table["requests"][number]
    given = {key: request[key] for key in _GIVEN if key in request}
    has_the_outcome([gateway.ask(request["ask"], **given) for _ in range(times(request))], request)


def plainly_asked(case: Path) -> list[dict[str, Any]]:
    """Requests over plain HTTP, but for Services that have the same servers, which don't know for whom they answer."""
    if case.name == "httproute-service-types":
        return []
    requests = yaml.safe_load((case / "cases.yaml").read_text()).get("requests", ())
    return [request for request in requests if request.get("scheme", "http") == "http"]


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvoyGateway]:
    with EnvoyGateway(tmp_path_factory.mktemp("envoy")) as gateway:
        yield gateway


@pytest.mark.parametrize("case", [case for case in CASES if plainly_asked(case)], ids=lambda case: case.name)
def test_with_envoy_requests_have_the_same_outcomes(envoy: EnvoyGateway, case: Path) -> None:
    """One test for a case: all its requests go to Envoy, which was told the case's routes while it ran."""
    envoy.serve(BASE, (case / "in.yaml").read_text())
    for request in plainly_asked(case):
        given = {key: request[key] for key in _GIVEN if key in request}
        has_the_outcome(envoy.ask(request["ask"], times=times(request, FEWER), **given), request)


def times(request: dict[str, Any], many: int = MANY) -> int:
    return many if "shares" in request or "mirrored" in request else 1


def has_the_outcome(outcomes: list[Outcome], request: dict[str, Any]) -> None:
    distribution(outcomes, request)
    status = request.get("status", 200)
    for outcome in outcomes:
        assert outcome.status in (status if isinstance(status, list) else [status]), outcome
        assert request.get("tries", outcome.tries) == outcome.tries
        if "redirect" in request:
            redirected(outcome, request)
        if outcome.backend or "to" in request:
            reached(outcome, request)
        got(outcome.headers, request.get("gets", {}))


def reached(outcome: Outcome, request: dict[str, Any]) -> None:
    """The backend, and the request as it saw it: as it was sent, where the table says nothing else."""
    seen, sees = outcome.seen, request.get("sees", {})
    assert seen is not None, f"it was to go to {request['to']}, and went nowhere"
    assert "to" in request or "shares" in request, f"it was to go nowhere, and went to {outcome.backend}"
    assert request.get("to", outcome.backend) == outcome.backend
    method, target = request["ask"].split(" ", 1)
    assert (seen.method, seen.target) == (method, sees.get("target", target))
    if "host" in sees:
        assert seen.headers["host"] == sees["host"]
    headers = {name.lower(): value for name, value in sees.get("headers", request.get("headers", {})).items()}
    headers = {name: value.replace("$backend", outcome.backend) for name, value in headers.items()}
    assert {name: seen.headers.get(name) for name in headers} == headers
    assert not [name for name in sees.get("absent", ()) if name.lower() in seen.headers]


def redirected(outcome: Outcome, request: dict[str, Any]) -> None:
    """Where nothing is said of a part, it is that of the request; a port that is the scheme's own need not be there."""
    where, wanted = urlsplit(outcome.headers["location"]), request["redirect"]
    assert where.scheme == wanted.get("scheme", request.get("scheme", "http"))
    assert where.hostname == wanted.get("host", request.get("host", "gateway.test").partition(":")[0])
    assert where.path == wanted.get("path", request["ask"].split(" ", 1)[1])
    usual = {"http": (None, 80), "https": (None, 443)}[where.scheme]
    assert where.port in ((wanted["port"],) if "port" in wanted else usual)


def got(headers: dict[str, str], wanted: dict[str, Any]) -> None:
    """Blanks do not count; of a list of values one is right."""
    for name, values in wanted.get("headers", {}).items():
        allowed = [value.replace(" ", "") for value in (values if isinstance(values, list) else [values])]
        assert headers.get(name.lower(), "").replace(" ", "") in allowed, name
    assert not [name for name in wanted.get("absent", ()) if name.lower() in headers]


def distribution(outcomes: list[Outcome], request: dict[str, Any]) -> None:
    """Every share within 4.5 standard deviations of what is wanted (chance fails one in 150,000); none and all are none
    and all.
    """
    many = len(outcomes)
    for key, found in (
        ("shares", [outcome.backend for outcome in outcomes]),
        ("mirrored", [mirror for outcome in outcomes for mirror in outcome.mirrors]),
    ):
        for backend, share in request.get(key, {}).items():
            margin = 4.5 * math.sqrt(many * share * (1 - share))
            assert abs(found.count(backend) - many * share) <= margin, (key, backend, found.count(backend))
        if key in request:
            assert set(found) <= request[key].keys()


def test_every_test_of_the_suite_is_listed_and_every_case_is_in_the_list() -> None:
    listed = (HERE.parents[1] / "docs" / "conformance.md").read_text()
    for case in CASES:
        table = yaml.safe_load((case / "cases.yaml").read_text())
        assert f"| {table['test']} |" in listed, case.name
        assert f"`{case.name}`" in listed, case.name
