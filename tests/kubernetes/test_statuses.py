"""Statuses in their specification's form: what is ours, what is others', and what need not be written."""

from typing import Any

import applied as written

from headgate.plan.plan import Condition, ListenerStatus, ParentStatus, Status
from headgate.runtime.kubernetes.holdings import Beside, Held
from headgate.runtime.kubernetes.resources import Resource
from headgate.runtime.kubernetes.statuses import Facts, leftovers, said, told_already

GATEWAY = Resource("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
ROUTE = Resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
POOL = Resource("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools")
OLD_POOL = Resource("inference.networking.x-k8s.io", "v1alpha2", "InferencePool", "inferencepools")
OURS = "headgate.dev/gateway-controller"
YES, NO = Condition("Accepted", "True", "Accepted"), Condition("Accepted", "False", "NotAllowedByListeners", "because")


def facts(**more: Any) -> Facts:
    usual: dict[str, Any] = {
        "now": "NOW",
        "addresses": {"default/gate": ("10.0.0.1",)},
        "unserved": {},
        "gateways": frozenset({"default/gate"}),
        "pools": frozenset({"default/pool"}),
        "generations": {},
    }
    return Facts(**usual | more)


def held(resource: Resource, value: dict[str, Any], status: Any = None) -> Held:
    metadata = {**value["metadata"], "generation": 3}
    return Held(resource, f"default/{metadata['name']}", {**value, "metadata": metadata}, Beside("u", "7", status))


def test_a_gateway_says_its_address_its_listeners_and_whether_it_is_served() -> None:
    programmed = Condition("Programmed", "True", "Programmed")
    status = Status(
        "Gateway", "default/gate", (YES, programmed), (ListenerStatus("http", 2, ("HTTPRoute",), (YES, programmed)),)
    )
    found = said(held(GATEWAY, written.gateway()), status, facts())
    assert found is not None
    assert found["addresses"] == [{"type": "IPAddress", "value": "10.0.0.1"}]
    assert found["conditions"][1] == {
        "type": "Programmed",
        "status": "True",
        "reason": "Programmed",
        "message": "",
        "observedGeneration": 3,
        "lastTransitionTime": "NOW",
    }
    listener = found["listeners"][0]
    assert (listener["name"], listener["attachedRoutes"]) == ("http", 2)
    assert listener["supportedKinds"] == [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]

    without = said(held(GATEWAY, written.gateway()), status, facts(addresses={}))
    assert without is not None
    assert [(c["status"], c["reason"]) for c in without["conditions"]] == [
        ("True", "Accepted"),
        ("False", "AddressNotAssigned"),
    ]
    barred = said(held(GATEWAY, written.gateway()), status, facts(unserved={"default/gate": "port 80: taken"}))
    assert barred is not None
    assert barred["conditions"][1]["message"] == "port 80: taken"
    assert barred["listeners"][0]["conditions"][1]["status"] == "False"


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    status = Status("Gateway", "default/gate", (YES,))
    before = {"conditions": [{"type": "Accepted", "status": "True", "lastTransitionTime": "THEN", "reason": "x"}]}
    same = said(held(GATEWAY, written.gateway(), before), status, facts())
    other = said(held(GATEWAY, written.gateway(), before), Status("Gateway", "default/gate", (NO,)), facts())
    assert same is not None
    assert other is not None
    assert same["conditions"][0]["lastTransitionTime"] == "THEN"
    assert other["conditions"][0]["lastTransitionTime"] == "NOW"


def _route(*entries: dict[str, Any]) -> Held:
    return held(ROUTE, written.route(), {"parents": list(entries)})


THEIRS = {"parentRef": {"name": "other"}, "controllerName": "example.com/other", "conditions": [{"type": "X"}]}


def test_of_a_route_s_parents_ours_are_written_and_others_stay() -> None:
    status = Status("HTTPRoute", "default/route", parents=(ParentStatus("Gateway default/gate", (YES,)),))
    found = said(_route(THEIRS), status, facts())
    assert found is not None
    assert found["parents"][0] == THEIRS
    ours = found["parents"][1]
    assert ours["controllerName"] == OURS
    assert ours["parentRef"] == written.route()["spec"]["parentRefs"][0]
    # What is there already need not be written; neither when it stands first.
    again = said(_route(ours, THEIRS), status, facts(now="LATER"))
    assert again == {"parents": [ours, THEIRS]}
    assert told_already({"parents": [ours, THEIRS]}, again)
    # We let go: only theirs stay.
    assert said(_route(ours, THEIRS), None, facts()) == {"parents": [THEIRS]}
    assert said(_route(ours), None, facts()) == {"parents": []}
    # Others' routes are none of our business.
    assert told_already({"parents": [THEIRS]}, said(_route(THEIRS), None, facts()))
    assert said(held(ROUTE, written.route()), None, facts()) is None


def test_parents_are_told_apart_by_section_and_port() -> None:
    value = written.route()
    ref = value["spec"]["parentRefs"][0]
    value["spec"]["parentRefs"] = [{**ref, "sectionName": "a"}, {**ref, "port": 80}]
    status = Status(
        "HTTPRoute",
        "default/route",
        parents=(ParentStatus("Gateway default/gate a", (YES,)), ParentStatus("Gateway default/gate:80", (NO,))),
    )
    found = said(held(ROUTE, value), status, facts())
    assert found is not None
    assert [(p["parentRef"].get("sectionName"), p["conditions"][0]["status"]) for p in found["parents"]] == [
        ("a", "True"),
        (None, "False"),
    ]


def test_a_pool_names_the_gateways_that_lead_to_it() -> None:
    status = Status("InferencePool", "default/pool", parents=(ParentStatus("Gateway default/gate", (YES,)),))
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "gate"}
    found = said(held(POOL, written.pool()), status, facts())
    assert found is not None
    assert [entry["parentRef"] for entry in found["parents"]] == [ref]
    default = {"parent": [{"parentRef": {"kind": "Status", "name": "default"}, "conditions": []}]}
    old = said(held(OLD_POOL, written.pool(), default), status, facts())
    assert old is not None
    assert [entry["parentRef"]["name"] for entry in old["parent"]] == ["gate"]
    assert said(held(OLD_POOL, written.pool(), default), None, facts()) is None
    assert said(held(OLD_POOL, written.pool(), old), None, facts()) == {"parent": []}


def test_what_belongs_to_a_pool_of_others_and_their_classes_are_left_alone() -> None:
    objective = Resource("llm-d.ai", "v1alpha2", "InferenceObjective", "inferenceobjectives")
    value = {"metadata": {"name": "o"}, "spec": {"poolRef": {"name": "pool"}}}
    status = Status("InferenceObjective", "default/o", (YES,))
    assert said(held(objective, value), status, facts()) is not None
    assert said(held(objective, value), status, facts(pools=frozenset())) is None
    classes = Resource("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", False)
    of_class = Status("GatewayClass", "x", (YES,))
    assert said(held(classes, written.gateway_class()), of_class, facts()) is not None
    assert said(held(classes, written.gateway_class("x", "example.com/other")), of_class, facts()) is None


def test_conditions_of_ours_that_hold_no_more_are_seen() -> None:
    now = {"conditions": [{"type": "Accepted", "status": "True"}, {"type": "PartiallyInvalid", "status": "True"}]}
    assert leftovers(now, {"conditions": [{"type": "Accepted", "status": "True"}]})
    assert not leftovers(now, now)
