"""Which kinds in which versions: discovery documents of several servers."""

from typing import Any

from headgate.api.kinds import KINDS
from headgate.runtime.kubernetes.resources import BUILT_IN, WANTED, Listed, Resource, chosen, listed, of_version

GATEWAY = "gateway.networking.k8s.io"


def _document(group: str, *versions: str, kind: str = "ReferenceGrant", fresh: str = "Current") -> dict[str, Any]:
    resources = [{"resource": "referencegrants", "responseKind": {"kind": kind}, "scope": "Namespaced"}]
    of = [{"version": version, "freshness": fresh, "resources": resources} for version in versions]
    return {"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": group}, "versions": of}]}


def _versions(found: set[Resource]) -> list[str]:
    return [one.version for one in found if one not in BUILT_IN]


def test_of_several_versions_the_best_is_taken_and_what_nobody_reads_left() -> None:
    there = listed(_document(GATEWAY, "v1", "v1beta1", "v1alpha2")).resources
    assert _versions(chosen(there)) == ["v1beta1"]
    assert _versions(chosen(listed(_document(GATEWAY, "v1alpha2")).resources)) == []
    assert listed(_document("example.com", "v1")) == Listed()
    assert _versions(chosen(listed(_document(GATEWAY, "v1", kind="TCPRoute")).resources)) == []


def test_a_group_that_can_not_be_asked_stays_as_it_was() -> None:
    before = chosen(listed(_document(GATEWAY, "v1")).resources)
    stale = listed({"kind": "APIGroupDiscoveryList", "items": []} | _document(GATEWAY, fresh="Stale"))
    assert chosen(stale.resources, before, [GATEWAY]) == before
    assert chosen([], before) == set(BUILT_IN)


def test_a_server_without_the_aggregated_form_is_asked_group_by_group() -> None:
    groups = [{"name": name, "versions": [{"groupVersion": f"{name}/v1"}]} for name in (GATEWAY, "example.com")]
    assert listed({"kind": "APIGroupList", "groups": groups}).to_ask == (f"/apis/{GATEWAY}/v1",)
    resources = [
        {"name": "gateways", "kind": "Gateway", "namespaced": True},
        {"name": "gateways/status", "kind": "Gateway", "namespaced": True},
        {"name": "gatewayclasses", "kind": "GatewayClass", "namespaced": False},
    ]
    found = of_version({"groupVersion": f"{GATEWAY}/v1", "resources": resources})
    assert sorted((one.kind, one.namespaced) for one in found) == [("Gateway", True), ("GatewayClass", False)]


def test_paths() -> None:
    pods = Resource("", "v1", "Pod", "pods")
    assert pods.path("n", "p") == "/api/v1/namespaces/n/pods/p"
    assert Resource(GATEWAY, "v1", "Gateway", "gateways").path() == f"/apis/{GATEWAY}/v1/gateways"


def test_every_kind_that_files_may_hold_is_followed_but_for_pods_and_configurations() -> None:
    assert {kind for _, kind in WANTED} == KINDS.keys() - {"Pod", "EndpointPickerConfig"}
