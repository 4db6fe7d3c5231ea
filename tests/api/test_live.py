"""Objects as an API server has them: what it knows and we don't is no mistake."""

from typing import Any

from headgate.api.load import gather
from headgate.api.objects import live

SERVICE: dict[str, Any] = {
    "metadata": {"name": "a", "namespace": "n", "uid": "1", "selfLink": None, "tomorrow": 1},
    "spec": {"ports": [{"port": 80, "nodePort": 80, "tomorrow": {}}], "type": "NodePort", "tomorrow": True},
    "status": {"loadBalancer": {}},
}


V1, ALPHA = "inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2"
SPEC = {"selector": {"matchLabels": {"a": "b"}}, "targetPorts": [{"number": 1}]}
OLD_SPEC = {"selector": {"a": "b"}, "targetPortNumber": 2, "extensionRef": {"name": "x"}}


def _pool(group: str, spec: dict[str, Any], generation: int = 3) -> Any:
    value = {"metadata": {"name": "p", "namespace": "n", "generation": generation}, "spec": spec}
    return live(value, "InferencePool", group, "InferencePool n/p")


def test_fields_of_tomorrow_and_other_rules_are_no_mistakes() -> None:
    found = live(SERVICE, "Service", "v1", "Service n/a")
    assert found.problems == ()
    assert found.identity == ("Service", "n/a")
    assert found.value.ports[0].node_port == 80


def test_what_can_not_be_read_is_a_problem_with_its_object_in_place_of_a_line() -> None:
    found = _pool(V1, {"selector": {"matchLabels": {"a": "b"}}})
    assert found.value is None
    assert str(found.problems[0]).startswith("InferencePool n/p: spec.targetPorts: missing")


def test_of_two_groups_with_a_pool_of_one_name_the_first_counts() -> None:
    snapshot, problems = gather([_pool(V1, SPEC), _pool(ALPHA, OLD_SPEC)])
    assert [pool.target_ports for pool in snapshot.pools] == [(1,)]
    assert [problem.severity for problem in problems] == ["note"]


def test_an_object_that_went_bad_stays_as_it_was() -> None:
    before, _ = gather([_pool(V1, SPEC)])
    after, problems = gather([_pool(V1, {}, 4)], before)
    assert after == before
    assert problems
    assert gather([], before)[0].pools == ()
