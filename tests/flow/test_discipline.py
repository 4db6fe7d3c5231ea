"""What a `flowControl:` comes to."""

import pytest

from headgate.api import Text, load
from headgate.flow.discipline import DEFAULT, Discipline, Rule, configure
from headgate.flow.fairness import FAIR, STRICT
from headgate.flow.ordering import ORDERS


def discipline(flow: str = "", plugins: str = "", gates: str = "[flowControl]") -> Discipline | None:
    text = (
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
        f"featureGates: {gates}\nplugins: [{{type: queue-scorer}}{plugins}]\n"
    )
    if flow:
        text += f"flowControl: {flow}\n"
    snapshot, problems = load([Text("in.yaml", text)])
    assert not [one for one in problems if one.severity == "error"], problems
    control = snapshot.picker_configs[0].picking.flow
    return None if control is None else configure(control)


@pytest.mark.parametrize("gates", ["[]", '["flowControl=false"]', "[flowControl, flowControl=false]"])
def test_without_its_gate_nothing_queues(gates: str) -> None:
    assert discipline("{maxRequests: 5}", gates=gates) is None


@pytest.mark.parametrize("gates", ["[flowControl]", '["flowControl=true"]'])
def test_with_its_gate_alone_it_has_the_published_defaults(gates: str) -> None:
    made = discipline(gates=gates)
    assert made == Discipline()
    assert (made.max_requests, made.max_bytes, made.ttl_s, made.no_endpoint_ttl_s) == (0, 0, 60.0, 60.0)
    assert made.rule(7) == made.rule(-7) == Rule(5000, 1_000_000_000, None, STRICT, ORDERS["fcfs-ordering-policy"])
    assert made.usage.compute(0.0, [1, 0], 0) == [1.0, 1.0]


def test_limits_are_quantities() -> None:
    made = discipline(
        '{maxBytes: "10Gi", maxRequests: "1k", priorityBands: [{priority: 0, maxBytes: 1G, maxRequests: 7}]}'
    )
    assert made is not None
    assert (made.max_bytes, made.max_requests) == (10 << 30, 1000)
    assert (made.rule(0).max_bytes, made.rule(0).max_requests) == (1_000_000_000, 7)


def test_a_limit_of_a_band_that_is_0_is_the_default_and_one_of_all_is_none() -> None:
    made = discipline('{maxBytes: "0", defaultPriorityBand: {maxRequests: "0", maxBytes: "0"}}')
    assert made == Discipline()


def test_the_time_without_endpoints_follows_the_other_one() -> None:
    assert discipline("{defaultRequestTTL: 1m30s}") == Discipline(ttl_s=90.0, no_endpoint_ttl_s=90.0)
    assert discipline("{noEndpointRequestTTL: 5m}") == Discipline(ttl_s=60.0, no_endpoint_ttl_s=300.0)
    assert discipline("{defaultRequestTTL: 0s}") == Discipline(ttl_s=0.0, no_endpoint_ttl_s=0.0)
    assert discipline("{defaultRequestTTL: 0s, noEndpointRequestTTL: 2s}") == Discipline(
        ttl_s=0.0, no_endpoint_ttl_s=2.0
    )


def test_bands_have_templates() -> None:
    made = discipline(
        "{defaultPriorityBand: {maxRequests: 3}, defaultNegativePriorityBand: {maxRequests: 2},"
        " priorityBands: [{priority: -1, maxRequests: 1}]}"
    )
    assert made is not None
    assert [made.rule(priority).max_requests for priority in (9, 0, -1, -2)] == [3, 3, 1, 2]
    made = discipline("{defaultPriorityBand: {maxRequests: 3}}")
    assert made is not None
    assert made.rule(-1).max_requests == 3


def test_policies_are_named() -> None:
    made = discipline(
        "{defaultPriorityBand: {fairnessPolicyRef: turns, orderingPolicyRef: edf-ordering-policy},"
        " usageLimitPolicyPluginRef: back, enableEviction: true,"
        " priorityBands: [{priority: 1, fairnessPolicyRef: least, orderingPolicyRef: fcfs-ordering-policy},"
        " {priority: 2, fairnessPolicyRef: global-strict-fairness-policy, orderingPolicyRef: slo}]}",
        ", {name: turns, type: round-robin-fairness-policy}, {type: edf-ordering-policy},"
        " {name: back, type: priority-holdback-policy, parameters: {minCeiling: 0.5}},"
        " {name: least, type: program-aware-fairness, parameters: {lasHalfLifeSeconds: 5, evictionTtlSeconds: 7}},"
        " {name: slo, type: slo-deadline-ordering-policy}",
    )
    assert made is not None
    assert made.evicts
    assert made.rule(0).fairness is FAIR["round-robin-fairness-policy"]
    assert made.rule(0).order is ORDERS["edf-ordering-policy"]
    assert made.rule(1).fairness.choose is not None
    assert made.rule(2).fairness is STRICT
    assert made.rule(2).order is ORDERS["slo-deadline-ordering-policy"]
    assert made.usage.compute(0.0, [1, 0], 0) == [1.0, 0.5]
    assert (made.half_life_s, made.forget_s, made.sweep_s) == (5.0, 7.0, 300.0)


@pytest.mark.parametrize(
    ("plugin", "ceilings"),
    [
        ("{type: static-usage-limit-policy, parameters: {threshold: 0.6}}", [0.6, 0.6, 0.6]),
        ("{type: priority-holdback-policy, parameters: {minCeiling: 0.4, maxCeiling: 0.8}}", [0.8, 0.6, 0.4]),
        ("{type: priority-holdback-policy, parameters: {minCeiling: 0, domain: value}}", [1.0, 0.25, 0.0]),
        ("{type: soft-reflective-ceiling-policy}", [1.0, 0.0, 0.0]),
    ],
)
def test_usage_policies_make_ceilings(plugin: str, ceilings: list[float]) -> None:
    name = plugin.split("type: ")[1].split(",")[0].rstrip("}")
    made = discipline(f"{{usageLimitPolicyPluginRef: {name}}}", f", {plugin}")
    assert made is not None
    assert made.usage.compute(0.9, [6, 0, -2], 1) == pytest.approx(ceilings)


def test_the_default_keeps_what_may_be_shed_for_a_short_time() -> None:
    assert DEFAULT.rule(-1).ttl_s == 5.0
    assert DEFAULT.rule(-1).max_requests < DEFAULT.rule(0).max_requests
    assert DEFAULT.rule(0).fairness.choose is not None
    assert not DEFAULT.evicts
