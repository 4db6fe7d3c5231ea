"""What manifests can't say, because `load` refuses it: a Snapshot may hold it all the same, and translate must live."""

import pytest
from msgspec import structs

from headgate.api.gateway import (
    FieldMatch,
    Gateway,
    Header,
    HeaderModifier,
    HTTPRoute,
    Listener,
    ParentRef,
    PathMatch,
    PathModifier,
    RouteFilter,
    RouteMatch,
    RouteRule,
    UrlRewrite,
)
from headgate.api.inference import InferenceModel, InferenceObjective, InferencePool, PoolRef, TargetModel
from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import ConfigMap
from headgate.plan import Plan, translate
from headgate.plan.plan import HeaderEdit, Target, TextMatch

POOL = InferencePool(Meta("llama"), "inference.networking.k8s.io", "v1", {"app": "llama"}, (8000,))
GATEWAY = Gateway(Meta("gw"), "any", (Listener("http", 80, "HTTP"),))


def test_an_empty_snapshot_is_an_empty_plan() -> None:
    assert translate(Snapshot()) == (Plan(), ())


def test_listeners_with_one_port_and_hostname_conflict_and_neither_wins() -> None:
    twins = (Listener("a", 80, "HTTP", "x.com"), Listener("b", 80, "HTTP", "X.com"), Listener("c", 80, "HTTP"))
    plan, (gateway, route) = translate(
        Snapshot(
            gateways=(Gateway(Meta("gw"), "any", twins),),
            routes=(HTTPRoute(Meta("r"), (ParentRef("gw", section_name="a"),)),),
        )
    )
    assert [listener.name for listener in plan.listeners] == ["c"]
    conflicted = [
        (one.name, condition.reason)
        for one in gateway.listeners
        for condition in one.conditions
        if condition.type == "Conflicted"
    ]
    assert conflicted == [("a", "HostnameConflict"), ("b", "HostnameConflict"), ("c", "NoConflicts")]
    # What a route may attach to does not depend on whether the listener is served (ListenerStatus.attachedRoutes).
    assert [one.attached_routes for one in gateway.listeners] == [1, 0, 0]
    assert route.parents[0].conditions[0].status == "True"


def test_of_target_models_with_and_without_weights_those_without_are_left_out() -> None:
    model = InferenceModel(
        Meta("m"), "chat", PoolRef("llama"), target_models=(TargetModel("a", 3), TargetModel("b"), TargetModel("c", 1))
    )
    plan, _ = translate(Snapshot(pools=(POOL,), models=(model,)))
    assert plan.pools["default/llama"].models["chat"].targets == (Target("a", 3), Target("c", 1))


def test_of_two_pools_of_one_name_the_newer_group_is_used_and_the_older_told() -> None:
    old = structs.replace(POOL, group="inference.networking.x-k8s.io", version="v1alpha2", target_ports=(8001,))
    for pools in ((old, POOL), (POOL, old)):
        plan, statuses = translate(Snapshot(pools=pools))
        assert plan.pools["default/llama"].ports == (8000,)
        assert [[one.reason for one in status.conditions] for status in statuses] == [[], ["Conflicted"]]


def test_a_regular_expression_that_is_none_drops_its_rule_and_never_reaches_the_plan() -> None:
    bad = RouteRule(matches=(RouteMatch(path=PathMatch("RegularExpression", "/v1/(chat")),))
    odd = RouteRule(matches=(RouteMatch(headers=(FieldMatch("X-User", "[", "RegularExpression"),)), RouteMatch()))
    plan, (_, route) = translate(
        Snapshot(gateways=(GATEWAY,), routes=(HTTPRoute(Meta("r"), (ParentRef("gw"),), rules=(bad, odd, RouteRule())),))
    )
    partial = route.parents[0].conditions[2]
    assert (partial.type, partial.status, partial.reason) == ("PartiallyInvalid", "True", "UnsupportedValue")
    assert partial.message.startswith("Dropped Rule: rules[0].matches[0].path.value: '/v1/(chat' is no regular")
    assert "rules[1].matches[0].headers[0].value: '['" in partial.message
    answers = {one.name: [backend.status for backend in one.backends] for one in plan.listeners[0].routes}
    assert answers == {"default/r/1/1": [500], "default/r/2/0": []}


def test_of_headers_that_differ_by_case_the_first_counts() -> None:
    match = RouteMatch(headers=(FieldMatch("X-A", "first"), FieldMatch("x-a", "second")))
    edit = RouteFilter(
        "RequestHeaderModifier",
        request_header_modifier=HeaderModifier(set=(Header("X-B", "first"), Header("x-b", "second"))),
    )
    rule = RouteRule(matches=(match,), filters=(edit,))
    plan, _ = translate(
        Snapshot(gateways=(GATEWAY,), routes=(HTTPRoute(Meta("r"), (ParentRef("gw"),), rules=(rule,)),))
    )
    (route,) = plan.listeners[0].routes
    assert route.match.headers == (TextMatch("x-a", "first"),)
    assert route.request == HeaderEdit(set=(("x-b", "first"),))


def test_a_prefix_is_replaced_only_where_prefixes_match() -> None:
    rewrite = RouteFilter(
        "URLRewrite", url_rewrite=UrlRewrite(path=PathModifier("ReplacePrefixMatch", replace_prefix_match="/x"))
    )
    rule = RouteRule(matches=(RouteMatch(path=PathMatch("Exact", "/a")),), filters=(rewrite,))
    _, (_, route) = translate(
        Snapshot(gateways=(GATEWAY,), routes=(HTTPRoute(Meta("r"), (ParentRef("gw"),), rules=(rule,)),))
    )
    assert route.parents[0].conditions[0].reason == "UnsupportedValue"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"adapters": "- lora-a"}, "data.baseModel is missing"),
        ({"baseModel": "x", "adapters": "lora-a, lora-b"}, "must be a YAML list"),
        ({"baseModel": "x", "adapters": "[lora-a"}, "must be a YAML list"),
        ({"baseModel": "x", "adapters": "- {name: lora-a}"}, "must be a YAML list"),
        ({"baseModel": "x", "adapters": "[" * 5000}, "must be a YAML list"),
    ],
)
def test_a_base_model_map_that_makes_no_sense_is_told_and_left_out(data: dict[str, str], told: str) -> None:
    labels = {"inference.networking.k8s.io/bbr-managed": "true"}
    plan, (status,) = translate(Snapshot(config_maps=(ConfigMap(Meta("m", labels=labels), data),)))
    assert plan.base_models == {}
    assert (status.conditions[0].status, status.conditions[0].reason) == ("False", "Invalid")
    assert told in status.conditions[0].message


@pytest.mark.parametrize("adapters", ["", "[]", "- 1.0\n- yes\n- 2024-99-99"])
def test_adapters_are_names_whatever_yaml_would_make_of_them(adapters: str) -> None:
    labels = {"inference.networking.k8s.io/bbr-managed": "true"}
    config_map = ConfigMap(Meta("m", labels=labels), {"baseModel": "x", "adapters": adapters})
    plan, _ = translate(Snapshot(config_maps=(config_map,)))
    names = {"1.0", "yes", "2024-99-99"} if "yes" in adapters else set()
    assert set(plan.base_models) == names | {"x"}


def test_of_two_objectives_of_one_name_the_older_counts() -> None:
    old = InferenceObjective(
        Meta("o", created="2025-01-01T00:00:00Z"), "inference.networking.x-k8s.io", PoolRef("llama"), 1
    )
    new = InferenceObjective(Meta("o", created="2025-01-02T00:00:00Z"), "llm-d.ai", PoolRef("llama"), 2)
    plan, statuses = translate(Snapshot(pools=(POOL,), objectives=(new, old)))
    assert plan.pools["default/llama"].objectives == {"o": 1}
    assert [status.conditions[0].reason for status in statuses[:2]] == ["Accepted", "Conflicted"]
