"""What a real API server holds of our statuses, and who writes them: by the leader, only ours, and nothing in vain."""

import json
import signal
from pathlib import Path
from typing import Any

from control_plane import ControlPlane
from gate import Traffic, gateway, refusals, status
from kubelet import until
from running import Running
from town import GATE, MODEL, POOL, POOLS, ROUTE, Town

LEASE = ("-n", "headgate-system", "get", "lease", "headgate-gateway", "-o", "jsonpath={.spec.holderIdentity}")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"""


def conditions(entry: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in entry.get("conditions", ())}


def parents(town: Town, *words: str) -> dict[str, dict[str, Any]]:
    """The entries of a status, by the controller that wrote them."""
    found = json.loads(town.kubectl("get", *words, "-o", "json")).get("status", {}).get("parents", ())
    return {one["controllerName"]: one for one in found}


OURS = "headgate.dev/gateway-controller"
POOL_NAME = (f"inferencepools.{POOLS}", "pool")


def test_kubectl_waits_for_them_and_reads_the_address(town: Town, gate: Running) -> None:
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    town.cluster.kubectl("wait", "--for=condition=Accepted", "gatewayclass/headgate", "--timeout=30s")
    town.kubectl("wait", "--for=condition=Programmed", "gateway/gate", "--timeout=30s")
    assert town.address() == gate.address
    assert status(town.address(), MODEL) == 200
    (line,) = town.kubectl("get", "gateways", "--no-headers").splitlines()
    assert line.split()[:4] == ["gate", "headgate", gate.address, "True"]
    until(lambda: OURS in parents(town, "httproute", "llm") and OURS in parents(town, *POOL_NAME))
    both = {"Accepted": "True", "ResolvedRefs": "True"}
    assert conditions(parents(town, "httproute", "llm")[OURS]) == both
    assert conditions(parents(town, *POOL_NAME)[OURS]) == both
    (listener,) = json.loads(town.kubectl("get", "gateway", "gate", "-o", "json"))["status"]["listeners"]
    assert (listener["name"], listener["attachedRoutes"]) == ("http", 1)


def test_they_follow_edits_and_say_of_which_generation_they_are(town: Town, gate: Running) -> None:
    town.apply(POOL, GATE, ROUTE)
    until(lambda: OURS in parents(town, "httproute", "llm"))

    def told() -> dict[str, tuple[str, int]]:
        found = parents(town, "httproute", "llm")[OURS]["conditions"]
        return {one["type"]: (one["reason"], one["observedGeneration"]) for one in found}

    until(lambda: told() == {"Accepted": ("Accepted", 1), "ResolvedRefs": ("ResolvedRefs", 1)})
    town.apply(ROUTE.replace("name: pool}", "name: nowhere}"))
    until(lambda: told() == {"Accepted": ("Accepted", 2), "ResolvedRefs": ("BackendNotFound", 2)})
    town.apply(ROUTE)
    until(lambda: told() == {"Accepted": ("Accepted", 3), "ResolvedRefs": ("ResolvedRefs", 3)})


def test_entries_of_others_stay_and_ours_goes_when_we_let_go(town: Town, gate: Running) -> None:
    town.apply(POOL, GATE, ROUTE)
    until(lambda: OURS in parents(town, *POOL_NAME))
    theirs = {
        "parentRef": {"name": "another"},
        "controllerName": "example.com/gateway",
        "conditions": parents(town, *POOL_NAME)[OURS]["conditions"],
    }
    patch = json.dumps([{"op": "add", "path": "/status/parents/-", "value": theirs}])
    path = f"/apis/{POOLS}/v1/namespaces/{town.namespace}/inferencepools/pool/status"
    town.cluster.request("PATCH", path, json.loads(patch), "application/json-patch+json")
    town.kubectl("delete", "httproute", "llm")
    until(lambda: set(parents(town, *POOL_NAME)) == {"example.com/gateway"})
    town.apply(ROUTE)
    until(lambda: set(parents(town, *POOL_NAME)) == {"example.com/gateway", OURS})


def test_nothing_is_written_where_nothing_has_changed(town: Town, gate: Running) -> None:
    town.apply(POOL, GATE, ROUTE)
    until(lambda: OURS in parents(town, *POOL_NAME))
    until(lambda: OURS in parents(town, "httproute", "llm"))

    def versions() -> str:
        words = ("httproute/llm", "/".join(POOL_NAME), "-o", "jsonpath={.items[*].metadata.resourceVersion}")
        return town.kubectl("get", *words)

    before = versions()
    for one in ("first", "second", "third"):  # what is new makes it look at all there is
        town.apply(POOL.replace("name: pool}", f"name: {one}}}"), ROUTE.replace("name: llm", f"name: {one}"))
        until(lambda one=one: OURS in parents(town, "httproute", one))
        town.kubectl("delete", "httproute", one)
    assert versions() == before


def test_the_address_is_that_of_the_service_in_front(town: Town, account: Path, tmp_path: Path) -> None:
    town.apply(SERVICE, POOL, GATE, ROUTE)
    words = ("--namespace", town.namespace, "--service", f"{town.namespace}/front")
    with gateway(account, tmp_path, *words) as running:
        until(lambda: "has no address yet" in town.kubectl("get", "gateway", "gate", "-o", "jsonpath={.status}"))
        ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}}
        path = f"/api/v1/namespaces/{town.namespace}/services/front/status"
        town.cluster.request("PATCH", path, ingress, "application/merge-patch+json")
        town.kubectl("wait", "--for=condition=Programmed", "gateway/gate", "--timeout=30s")
        assert town.address() == "203.0.113.7"
        assert not refusals(running)


def test_of_two_replicas_one_writes_and_the_other_takes_over(
    cluster: ControlPlane, town: Town, account: Path, tmp_path: Path
) -> None:
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    words = ("--namespace", town.namespace)
    with gateway(account, tmp_path / "a", *words) as first:
        until(lambda: cluster.kubectl(*LEASE) != "")
        holder = cluster.kubectl(*LEASE)
        with gateway(account, tmp_path / "b", *words) as second:
            until(lambda: status(first.address, MODEL) == status(second.address, MODEL) == 200)
            assert cluster.kubectl(*LEASE) == holder
            assert town.address() == first.address
            with Traffic(second.address, MODEL) as traffic:
                first.stop(signal.SIGKILL)  # it can't say that it is gone: its time runs out
                until(lambda: cluster.kubectl(*LEASE) != holder, 40)
                until(lambda: town.address() == second.address)
                town.apply(ROUTE.replace("name: pool}", "name: nowhere}"), POOL.replace("pool}", "nowhere}"))
                until(lambda: parents(town, "httproute", "llm")[OURS]["conditions"][0]["observedGeneration"] == 2)
            assert set(traffic.statuses) == {200}, traffic.statuses
            assert not refusals(second)
            assert second.stop() == 0
    # A leader that ends in order lets go at once.
    assert cluster.kubectl(*LEASE) == ""


def test_without_rights_it_says_which_and_serves_what_it_may(
    cluster: ControlPlane, town: Town, account: Path, tmp_path: Path
) -> None:
    town.pod()
    town.apply(POOL, GATE, ROUTE)
    rules = json.loads(cluster.kubectl("get", "clusterrole", "headgate-gateway", "-o", "json"))["rules"]
    fewer = [one for one in rules if one["verbs"] != ["patch"] and "networking.gke.io" not in one["apiGroups"]]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "fewer"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "fewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fewer"},
        "subjects": [{"kind": "ServiceAccount", "name": "poor", "namespace": town.namespace}],
    }
    cluster.apply({**role, "rules": fewer}, binding)
    town.kubectl("create", "serviceaccount", "poor")
    with gateway(cluster.account(town.namespace, "poor"), tmp_path, "--namespace", town.namespace) as running:
        until(lambda: status(running.address, MODEL) == 200)
        until(lambda: running.said("healthcheckpolicies") and running.said("leases"))
        assert running.stop() == 0
