"""What manifests can't say, because `load` refuses it: a Snapshot may hold it all the same, and translate must live."""

from headgate.api.gateway import Gateway, HTTPRoute, Listener, ParentRef
from headgate.api.inference import InferenceModel, InferenceObjective, InferencePool, PoolRef, TargetModel
from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.plan import Plan, translate
from headgate.plan.plan import Target

POOL = InferencePool(Meta("llama"), "inference.networking.k8s.io", "v1", {"app": "llama"}, (8000,))


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


def test_of_two_objectives_of_one_name_the_older_counts() -> None:
    old = InferenceObjective(
        Meta("o", created="2025-01-01T00:00:00Z"), "inference.networking.x-k8s.io", PoolRef("llama"), 1
    )
    new = InferenceObjective(Meta("o", created="2025-01-02T00:00:00Z"), "llm-d.ai", PoolRef("llama"), 2)
    plan, statuses = translate(Snapshot(pools=(POOL,), objectives=(new, old)))
    assert plan.pools["default/llama"].objectives == {"o": 1}
    assert [status.conditions[0].reason for status in statuses[:2]] == ["Accepted", "Conflicted"]
